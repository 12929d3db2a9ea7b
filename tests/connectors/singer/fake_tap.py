"""A tap whose config says what it does, wrong things too. Only the standard library.

config: streams {name: {"count", "keys", "method", "parent", "old"}}, state_every, fault, ran (a file
that gets a line for each run: its process id and arguments), token (checked), slow_every, child.
"""

# mypy: ignore-errors
import json
import os
import subprocess
import sys
import time
from pathlib import Path

arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
config = json.loads(Path(arguments["--config"]).read_text())
fault = config.get("fault")
if fault and Path(fault).is_file():
    fault = Path(fault).read_text() or None


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")


def record(number):
    return {"id": number, "name": f"record {number}", "nested": {"a": [number]}}


def schema(stream):
    properties = {
        "id": {"type": "integer"},
        "name": {"type": ["null", "string"]},
        "nested": {"type": "object"},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
    }
    return {"type": "object", "properties": properties}


def discover():
    streams = []
    for name, stream in config["streams"].items():
        entry = {"stream": name, "tap_stream_id": name, "schema": schema(stream)}
        if not stream.get("old"):
            marks = {
                "inclusion": "available",
                "replication-method": stream.get("method", "INCREMENTAL"),
            }
            if "parent" in stream:
                marks["parent-tap-stream-id"] = stream["parent"]
            if "selected" in stream:
                marks["selected"] = stream["selected"]
            marks["table-key-properties"] = stream.get("keys", ["id"])
            entry["metadata"] = [
                {"breadcrumb": [], "metadata": marks},
                {"breadcrumb": ["properties", "id"], "metadata": {"inclusion": "automatic"}},
                {"breadcrumb": ["properties", "name"], "metadata": {"inclusion": "available"}},
                {"breadcrumb": ["properties", "nested"], "metadata": {"inclusion": "available"}},
            ]
        else:
            entry["key_properties"] = stream.get("keys", ["id"])
        streams.append(entry)
    # Over several lines, and without an end of line: singer-python writes it so.
    sys.stdout.write(json.dumps({"streams": streams}, indent=2))


def selected(entry):
    for each in entry.get("metadata", ()):
        if not each["breadcrumb"]:
            return each["metadata"].get("selected", False)
    return entry["schema"].get("selected", False)


def fields(entry):
    """The fields that are chosen, as a strict tap would read it."""
    marks = {tuple(each["breadcrumb"]): each["metadata"] for each in entry.get("metadata", ())}
    for name in ("id", "name", "nested"):
        here = marks.get(("properties", name), {})
        old = entry["schema"]["properties"][name].get("selected")
        if here.get("inclusion") == "automatic" or here.get("selected", old):
            yield name


def sync():
    state = json.loads(Path(arguments["--state"]).read_text()) if "--state" in arguments else {}
    bookmarks = state.setdefault("bookmarks", {})
    entries = dict.fromkeys(config["streams"])
    named = arguments.get("--catalog") or arguments.get("--properties")
    if named:
        catalog = json.loads(Path(named).read_text())
        entries = {each["stream"]: each for each in catalog["streams"] if selected(each)}
    for name, entry in entries.items():
        stream = config["streams"][name]
        if "parent" in stream and stream["parent"] not in entries:
            sys.exit(f"select {stream['parent']} too")
        full = stream.get("method") == "FULL_TABLE"
        done = bookmarks.get(name, {}).get("id", 0)
        say(
            type="SCHEMA",
            stream=name,
            schema=schema(stream),
            key_properties=stream.get("keys", ["id"]),
        )
        if full and "version" in stream:
            say(type="ACTIVATE_VERSION", stream=name, version=stream["version"])
        chosen = set(fields(entry)) if entry else {"id", "name", "nested"}
        for number in range(
            1 if full and not config.get("resumes") else done + 1, stream["count"] + 1
        ):
            row = {key: value for key, value in record(number).items() if key in chosen}
            misbehave(name, number)
            if fault == "changed type" and number == 12:
                row["name"] = number
            say(type="RECORD", stream=name, record=row)
            if number % config.get("state_every", 5) == 0:
                bookmarks[name] = {"id": number}
                say(type="STATE", value={**state, "currently_syncing": name})
            if number % config.get("slow_every", 10**9) == 0:
                sys.stdout.flush()
                time.sleep(0.002)
        if config.get("state_every", 5) < 10**9:
            kept = {"version": stream["version"]} if "version" in stream else {}
            bookmarks[name] = kept if full else {"id": max(done, stream["count"])}
            say(type="STATE", value=state)


def misbehave(name, number):
    if fault is None or number != config.get("at", 12):
        return
    sys.stdout.flush()
    match fault:
        case "slow":
            time.sleep(60)
        case "too many requests":
            sys.exit("requests.HTTPError: 429 Client Error: Too Many Requests, Retry-After: 7")
        case "credentials refused":
            if fault != config["fault"]:
                # From now on they are refused at once.
                Path(config["fault"]).write_text("refused at once")
            sys.exit(f"tap: HTTP 401 Unauthorized for token {config.get('token')}")
        case "dies":
            os.kill(os.getpid(), 9)
        case "breaks":
            raise ConnectionResetError("the network is gone")
        case "garbage":
            print("Hello, I am a debugging print")
        case "cut":
            sys.stdout.write('{"type": "RECORD", "stream": "orders", "rec')
            sys.stdout.flush()
            os._exit(0)
        case "repeated page":
            for again in range(number - 5, number):
                say(type="RECORD", stream=name, record=record(again))
        case "duplicate keys":
            say(type="RECORD", stream=name, record={**record(1), "name": "a newer version"})
        case "long line":
            say(type="RECORD", stream=name, record={"id": 0, "text": "x" * 5_000_000})
        case "deaf":
            import signal

            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        case "batch":
            say(type="BATCH", stream=name, manifest=[])
        case "changed type":
            pass
        case other:
            raise AssertionError(other)


if "ran" in config:
    child = subprocess.Popen(["sleep", "300"]) if config.get("child") else None
    with Path(config["ran"]).open("a") as file:
        files = {
            key: oct(Path(value).stat().st_mode)[-3:]
            for key, value in arguments.items()
            if value.startswith("/")
        }
        known = {
            "pid": os.getpid(),
            "child": child and child.pid,
            "arguments": sys.argv[1:],
            "modes": files,
        }
        print(json.dumps({**known, "environment": dict(os.environ)}), file=file)
print(f"INFO running with {config.get('token', 'no token')}", file=sys.stderr, flush=True)
if fault == "refused at once":
    sys.exit("401 Unauthorized")
if fault == "wrong config":
    sys.exit("Exception: Config is missing required keys: ['token']")
if "--discover" in sys.argv:
    discover()
else:
    sync()

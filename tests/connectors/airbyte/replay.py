"""Says what it was told to say, and notes what it was called with; `replay.py FOLDER COMMAND …`."""

import json
import os
import stat
import sys
from pathlib import Path

folder, command, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
files = {}
for option, path in zip(arguments[::2], arguments[1::2], strict=True):
    if path.endswith(".json"):
        file = Path(path)
        mode = stat.S_IMODE(file.stat().st_mode)
        files[option] = {"mode": oct(mode), "holds": json.loads(file.read_text())}
note = {"command": command, "arguments": arguments, "files": files, "environment": dict(os.environ)}
with (folder / "ran.jsonl").open("a") as ran:
    ran.write(json.dumps(note) + "\n")
plan = json.loads((folder / f"{command}.json").read_text())
for line in plan["lines"]:
    print(line)
sys.stdout.flush()
sys.exit(plan["code"])

"""A Singer tap that reads the pages and writes them as fast as it can; needs only Python."""

import http.client
import json
import sys
from urllib.parse import urlsplit

TEXT = {"type": ["null", "string"]}
PROPERTIES = {
    "id": {"type": "integer"}, "name": TEXT, "email": TEXT,
    "amount": {"type": ["null", "number"]}, "currency": TEXT,
    "quantity": {"type": ["null", "integer"]}, "paid": {"type": ["null", "boolean"]},
    "created_at": {**TEXT, "format": "date-time"}, "updated_at": {**TEXT, "format": "date-time"},
    "note": TEXT,
    "address": {"type": ["null", "object"], "properties": {"street": TEXT, "city": TEXT}},
    "tags": {"type": ["null", "array"], "items": TEXT},
}  # fmt: skip


def main(url: str) -> None:
    place = urlsplit(url)
    conn = http.client.HTTPConnection(place.netloc)
    say = sys.stdout.write
    schema = {"type": "object", "properties": PROPERTIES}
    say(json.dumps({"type": "SCHEMA", "stream": "records", "schema": schema,
                    "key_properties": ["id"]}) + "\n")  # fmt: skip
    cursor = "0"
    while cursor is not None:
        conn.request("GET", f"{place.path}?cursor={cursor}")
        page = json.loads(conn.getresponse().read())
        for record in page["data"]:
            say(json.dumps({"type": "RECORD", "stream": "records", "record": record}) + "\n")
        cursor = page["next_cursor"]
        say(json.dumps({"type": "STATE", "value": {"cursor": cursor}}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

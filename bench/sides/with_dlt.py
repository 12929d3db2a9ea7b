"""dlt's side: its rest_api source, merge on the same key.

    with_dlt.py URL INTO FOLDER default|fastest

`fastest` is the upsert strategy with parquet files, where the destination takes them.
"""

import os
import sys
import time
from typing import Any

os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.sources.rest_api import rest_api_source


def main(url: str, into: str, folder: str, how: str) -> None:
    os.environ["DLT_DATA_DIR"] = folder
    fastest = how == "fastest"
    base, _, path = url.rpartition("/")
    source = rest_api_source(
        {
            "client": {
                "base_url": base,
                "paginator": {
                    "type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"
                },
            },
            "resources": [
                {
                    "name": "records",
                    "primary_key": "id",
                    "write_disposition": (
                        {"disposition": "merge", "strategy": "upsert"} if fastest else "merge"
                    ),
                    "max_table_nesting": 0,
                    "endpoint": {"path": path, "data_selector": "data"},
                }
            ],
        }
    )  # fmt: skip
    kind, _, rest = into.partition("://")
    destination: Any
    if kind.startswith("postgresql"):
        destination = dlt.destinations.postgres(f"postgresql://{rest}")
    elif into.endswith(".duckdb"):
        destination = dlt.destinations.duckdb(into)
    else:
        destination = dlt.destinations.sqlalchemy(f"sqlite:///{into}")
    pipeline = dlt.pipeline(
        "bench", destination=destination, dataset_name="main" if kind == into else "bench",
        pipelines_dir=f"{folder}/pipelines",
    )  # fmt: skip
    began, cpu_began = time.perf_counter(), time.process_time()
    options: Any = {"loader_file_format": "parquet"} if fastest else {}
    pipeline.run(source, **options)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    print(pipeline.last_trace.last_normalize_info.row_counts["records"], took, cpu)


if __name__ == "__main__":
    main(*sys.argv[1:])

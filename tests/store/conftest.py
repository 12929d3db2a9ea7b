from tests.store.fixtures import (
    clock,
    database,
    destination,
    destination_url,
    postgres_store_url,
    postgres_template,
    sqlite_store_url,
    sqlite_template,
    store,
    store_url,
)

__all__ = [
    "clock",
    "database",
    "destination",
    "destination_url",
    "postgres_store_url",
    "postgres_template",
    "sqlite_store_url",
    "sqlite_template",
    "store",
    "store_url",
]

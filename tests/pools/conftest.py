from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.pools.rig import Rig, rig
from tests.stores import Stores

Open = Any


@pytest.fixture
def open_rig(stores: Stores, tmp_path: Path) -> Iterator[Open]:
    """Open pools of child processes, by their settings; they are closed at the test's end."""
    opened: list[AbstractContextManager[Rig]] = []

    def open_(**settings: Any) -> Rig:
        made = rig("process", stores.sqlite(tmp_path / f"{len(opened)}.db"), **settings)
        opened.append(made)
        return made.__enter__()

    yield open_
    for made in opened:
        made.__exit__(None, None, None)

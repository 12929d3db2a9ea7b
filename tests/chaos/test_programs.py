"""A program may be a file of any name, a folder or an archive: children find its jobs in each."""

import zipapp
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.client import Client, client
from tests.chaos.programs import APPLICATION, GUARDED, PROGRAM, SHOUT, program, write
from tests.stores import Stores


@pytest.fixture
def store(stores: Stores, tmp_path: Path) -> Iterator[Client]:
    with client(stores.sqlite(tmp_path / "store.db")) as made:
        yield made


def file(folder: Path) -> Path:
    return write(folder, "program", SHOUT, APPLICATION, PROGRAM, GUARDED)


def directory(folder: Path) -> Path:
    made = folder / "shop"
    made.mkdir()
    write(made, "__main__.py", SHOUT, APPLICATION, PROGRAM, GUARDED)
    return made


def archive(folder: Path) -> Path:
    made = folder / "shop.pyz"
    zipapp.create_archive(directory(folder), made)
    return made


@pytest.mark.parametrize("make", [file, directory, archive])
def test_a_program_of_any_shape_runs_its_jobs_in_children(
    store: Client, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with program(store, make(tmp_path)) as started:
        assert started.wait(60) == 0, (tmp_path / "log").read_text()
    shouted, ran_in, main = (tmp_path / "log").read_text().split()
    assert shouted == "['WORKS',"
    assert ran_in.strip("']") != main

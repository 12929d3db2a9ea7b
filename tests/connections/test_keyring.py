"""Where the key is looked for, and which files are refused."""

import os
import stat
import threading
from pathlib import Path

import pytest

from milepost.connections import Keyring, make_key
from milepost.errors import SecretKeyUnfit
from milepost.settings import SecretKeySettings
from milepost.store.database import open_database

NOWHERE = SecretKeySettings()


def keyring(settings: SecretKeySettings, url: str = "milepost.db") -> Keyring:
    database = open_database(url)
    database.close()
    return Keyring(settings, database)


def test_a_file_may_hold_several_keys(key_file: Path) -> None:
    old = keyring(SecretKeySettings(file=str(key_file))).cipher().encrypt("x")
    key_file.write_text(f"{make_key()}\n{key_file.read_text()}\n")
    assert keyring(SecretKeySettings(file=str(key_file))).cipher().decrypt(old, what="it") == "x"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(SecretKeyUnfit, match=f"has mode {mode:04o}, .*: chmod 600 {key_file}$"):
        keyring(SecretKeySettings(file=str(key_file))).cipher()


def test_a_file_of_somebody_else_is_refused(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(SecretKeyUnfit, match=r"belongs to user \d+, and this is user 4711"):
        keyring(SecretKeySettings(file=str(key_file))).cipher()


def test_a_missing_file_or_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SecretKeyUnfit, match="/key cannot be read: No such file"):
        keyring(SecretKeySettings(file=str(tmp_path / "key"))).cipher()
    with pytest.raises(SecretKeyUnfit, match="and there is no milepost.key. If there was a key"):
        keyring(NOWHERE).cipher()
    with pytest.raises(SecretKeyUnfit, match="both set"):
        keyring(SecretKeySettings(keys=make_key(), file="key")).cipher()
    assert "hunter2" not in repr(SecretKeySettings(keys="hunter2"))


def test_a_key_is_made_beside_sqlite_in_the_working_directory_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_file: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    assert keyring(NOWHERE, "below/milepost.db").make_file() is None
    assert keyring(NOWHERE, "postgresql://h/d").make_file() is None
    assert keyring(SecretKeySettings(file=str(key_file))).make_file() is None

    made = keyring(NOWHERE)
    assert not keyring(NOWHERE).given
    assert made.make_file() == Path("milepost.key")
    assert made.given
    assert made.make_file() is None
    assert stat.S_IMODE(Path("milepost.key").stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["below", "key", "milepost.key"]
    assert made.cipher().origin == "milepost.key"


def test_of_two_that_make_a_key_at_once_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ready, made = threading.Barrier(4), []

    def make() -> None:
        one = keyring(NOWHERE)
        ready.wait()
        made.append((one.make_file(), one.cipher().encrypt("x")))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert [path for path, _ in made if path] == [Path("milepost.key")]
    assert {keyring(NOWHERE).cipher().decrypt(each, what="it") for _, each in made} == {"x"}

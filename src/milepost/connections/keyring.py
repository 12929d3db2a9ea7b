"""Where the keys are: in the environment, in a file of its own, or beside the store."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from milepost.connections.cipher import Cipher, make_key
from milepost.errors import SecretKeyUnfit
from milepost.settings import SecretKeySettings
from milepost.store.database import Database

FILE_NAME: Final = "milepost.key"
LARGEST: Final = 64 * 1024


class Keyring:
    """Reads the keys when they are needed, so that a file that has changed counts at once."""

    def __init__(self, settings: SecretKeySettings, database: Database) -> None:
        self._settings = settings
        self._store = _file_of(database)

    @property
    def given(self) -> bool:
        """Whether a key is there, or said to be."""
        beside = self._beside
        named = self._settings.keys or self._settings.file
        return bool(named) or (beside is not None and beside.exists())

    def cipher(self) -> Cipher:
        """Read the keys. Raises SecretKeyUnfit that says what to do."""
        if self._settings.keys and self._settings.file:
            raise SecretKeyUnfit(
                "MILEPOST_SECRET_KEY and MILEPOST_SECRET_KEY_FILE are both set: which of them "
                "holds the key? Unset the other one"
            )
        if self._settings.keys:
            return Cipher(_split(self._settings.keys), origin="MILEPOST_SECRET_KEY")
        if self._settings.file:
            return _from_file(Path(self._settings.file).expanduser())
        if self._beside is not None and self._beside.exists():
            return _from_file(self._beside)
        looked = "" if self._beside is None else f", and there is no {self._beside}"
        raise SecretKeyUnfit(
            "there is no key for stored credentials: neither MILEPOST_SECRET_KEY nor "
            f"MILEPOST_SECRET_KEY_FILE is set{looked}. If there was a key, put it back; if not, "
            "`milepost connections key` makes one"
        )

    def make_file(self) -> Path | None:
        """Make a key beside a SQLite store in the working directory.

        None where none is wanted: a key is there, or it would not be found by the workers.
        """
        beside = self._beside
        if self.given or beside is None or beside.parent.resolve() != Path.cwd():
            return None
        # Whole or not at all: another command may make one at the same moment, or read this one.
        handle, draft = tempfile.mkstemp(prefix=f".{FILE_NAME}-", dir=beside.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(make_key() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, beside)
                return beside
        finally:
            Path(draft).unlink()
        return None

    @property
    def _beside(self) -> Path | None:
        return None if self._store is None else self._store.parent / FILE_NAME


def _from_file(path: Path) -> Cipher:
    try:
        with path.open("rb") as file:
            # Of the file that is open, not of what has that name by now.
            about = os.fstat(file.fileno())
            text = file.read(LARGEST).decode("ascii", "replace")
    except OSError as error:
        raise SecretKeyUnfit(
            f"the key file {path} cannot be read: {error.strerror or error}"
        ) from None
    if about.st_uid != os.geteuid():
        raise SecretKeyUnfit(
            f"the key file {path} belongs to user {about.st_uid}, and this is user "
            f"{os.geteuid()}: whoever owns it can change it. Give it to this user (chown)"
        )
    mode = stat.S_IMODE(about.st_mode)
    if mode & 0o077:
        raise SecretKeyUnfit(
            f"the key file {path} has mode {mode:04o}, so others may read it or write to it: "
            f"chmod 600 {path}"
        )
    return Cipher(_split(text), origin=str(path))


def _split(text: str) -> list[str]:
    """Take keys apart at commas and line breaks."""
    return [key for key in text.replace(",", " ").split() if key] or [""]


def _file_of(database: Database) -> Path | None:
    name = database.engine.url.database
    return Path(name) if database.is_sqlite and name else None

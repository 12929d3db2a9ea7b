"""A declarative manifest of Airbyte as data that may stand in a job's args."""

from dataclasses import dataclass
from typing import Final, Literal

from milepost.connectors.programs.source import ProgramSource

PACKAGE: Final = "airbyte-cdk==7.39.1"
"""What is installed where the source does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AirbyteSource(ProgramSource):
    """The streams of a manifest, read by airbyte-cdk where the worker runs."""

    manifest: str
    """The path of the manifest, a YAML file, where the job runs."""
    kind: Literal["airbyte"] = "airbyte"
    components: str | None = None
    """The path of the Python file with the classes that the manifest names, if it names any."""
    tables: tuple[str, ...] = ()
    """Which streams. Empty: all."""

    def __post_init__(self) -> None:
        """Refuse what can never work, and secrets that stand in plain text."""
        if not self.manifest:
            raise ValueError("manifest must be the path of a YAML file")
        self.check()

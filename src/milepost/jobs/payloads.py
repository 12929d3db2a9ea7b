"""Args, checkpoints and results: JSON in the store, typed values in the code."""

import json
from dataclasses import is_dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from typing_extensions import is_typeddict  # knows its own TypedDict and typing's

from milepost.errors import DefinitionInvalid, PayloadInvalid

T = TypeVar("T")


class Payload(Generic[T]):
    """One declared type and its way to JSON and back; `what` names it in errors."""

    def __init__(self, what: str, declared: Any) -> None:
        self.what = what
        self.declared = declared
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(declared)
        except PydanticUserError as error:
            raise DefinitionInvalid(
                f"{what} cannot be {_name(declared)}: {error.message}"
            ) from None
        # A dataclass or TypedDict ignores unknown fields unless told otherwise, and a misspelt
        # option would vanish in silence; a pydantic model has said itself what it wants.
        plain = is_dataclass(declared) or is_typeddict(declared)
        self._extra: Literal["forbid"] | None = "forbid" if plain else None

    def dump(self, value: T) -> str:
        """Turn a value into JSON, checked as the handler's side will check it.

        Raises PayloadInvalid.
        """
        checkable = isinstance(self.declared, type) and not is_typeddict(self.declared)
        if checkable and not isinstance(value, self.declared):
            raise PayloadInvalid(
                f"{self.what} must be {_name(self.declared)}, not {_name(type(value))}"
            )
        try:
            plain = self._adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
            text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            if not text.isascii():
                text.encode()
        except PydanticSerializationError as error:
            raise PayloadInvalid(f"{self.what}: {error}") from None
        except UnicodeEncodeError:
            raise PayloadInvalid(f"{self.what} holds text that is not valid Unicode") from None
        except ValueError:
            raise PayloadInvalid(f"{self.what} holds NaN or infinity, which JSON lacks") from None
        # A dataclass does not check its own fields, so a wrong one shows only here.
        self.load(text)
        return text

    def load(self, text: str, *, exact: bool = False) -> T:
        """Turn stored JSON into a value. Raises PayloadInvalid.

        `exact` where a field that the type does not have may be an order that it would not obey.
        """
        try:
            return self._adapter.validate_json(
                text, strict=True, extra=self._extra if exact else None
            )
        except ValidationError as error:
            raise self._invalid(error) from None

    def parse(self, text: str) -> str:
        """Check JSON that a person typed, unknown fields too, and return it in normal form.

        Raises PayloadInvalid.
        """
        return self.dump(self.load(text, exact=True))

    def check_initial(self) -> None:
        """Check that a job can begin: that the type can be called without arguments.

        Raises DefinitionInvalid.
        """
        try:
            self.dump(self.initial())
        except (TypeError, ValueError, PayloadInvalid) as error:
            raise DefinitionInvalid(
                f"{self.what}: every field of {_name(self.declared)} needs a default, "
                f"because a job begins with {_name(self.declared)}(): {error}"
            ) from None

    def initial(self) -> T:
        """Make the value to begin with: the type called without arguments."""
        value: Any = None if self.declared in (None, type(None)) else self.declared()
        made: T = value
        return made

    def json_schema(self) -> dict[str, Any]:
        """Describe the type as JSON Schema (draft 2020-12)."""
        return self._adapter.json_schema()

    def _invalid(self, error: ValidationError) -> PayloadInvalid:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'value'}: {problem['msg']}"
            for problem in error.errors(include_url=False)[:5]
        )
        return PayloadInvalid(f"{self.what} does not fit {_name(self.declared)}: {problems}")


def _name(declared: Any) -> str:
    return getattr(declared, "__name__", None) or str(declared)

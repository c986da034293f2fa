"""`Secret`: a key or password that is used, and never shown, written or stored.

| where | a secret given as a value | a secret kept in the environment |
|---|---|---|
| `repr`, `str`, logs, errors | `Secret(hidden)` | `Secret(env:NAME)` |
| JSON | `**********` | `env:NAME` |
| JSON to be read back (an agent's saved state) | refused | `env:NAME` |
| `reveal()` | the value | the value of the variable, at that moment |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema

from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError, ProgramError
from dspex_ray.problems import shown
from dspex_ray.schema.holding import FieldsHolding
from dspex_ray.schema.ml_types.base import worded

MASK = "**********"
_REFERENCE = "env:"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORM = "write the value, or env:NAME to have it read from the environment"


class Secret:
    """A secret. A pickle holds the value, since other processes of a system need it; nothing else does."""

    __slots__ = ("_value", "variable")
    json_form: ClassVar[dict[str, Any]] = {"type": "string", "format": "password", "writeOnly": True}
    variable: str | None
    """The environment variable that holds the value; None for a value given outright."""

    def __init__(self, value: str) -> None:
        """Keep `value`. Raises ProgramError if it is empty or no text."""
        if not _is_text(value):
            raise ProgramError(f"A secret is text that is not empty; {_FORM}.")
        self._value: str | None = value
        self.variable = None

    @classmethod
    def from_env(cls, variable: str) -> Secret:
        """Return the secret in an environment variable, which is read at each use. Raises ProgramError for no name."""
        if not (_is_text(variable) and _NAME.fullmatch(variable)):
            raise ProgramError(f"An environment variable's name is letters, digits and _, got {shown(variable)}.")
        made = cls(MASK)
        made._value, made.variable = None, variable
        return made

    def reveal(self, settings: Settings | None = None) -> str:
        """Return the value itself. Raises ConfigurationError if its environment variable is not set."""
        if self.variable is None:
            return self._value or ""
        found = (settings or Settings.from_env()).secret(self.variable)
        if found is None:
            raise ConfigurationError(f"The environment variable {self.variable}, which holds a secret, is not set.")
        return found

    def __repr__(self) -> str:
        return f"Secret({_REFERENCE}{self.variable})" if self.variable else "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.variable) == (other._value, other.variable)

    def __hash__(self) -> int:
        return hash((self._value, self.variable))

    def __reduce__(self) -> tuple[object, ...]:
        return (Secret.from_env, (self.variable,)) if self.variable else (Secret, (self._value,))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read a Secret or text; write the reference or a mask."""
        return core_schema.no_info_plain_validator_function(
            _read,
            serialization=core_schema.plain_serializer_function_ser_schema(_written, info_arg=True, when_used="json"),
            metadata={"dspex_secret": True},
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe it as text that is given and not read back."""
        return dict(cls.json_form)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _read(value: Any) -> Secret:
    """Return the secret; no message tells what was given."""
    if isinstance(value, Secret):
        return value
    if not _is_text(value):
        raise worded(f"expected a secret, which is text and not empty; {_FORM}")
    if value == MASK:
        raise worded(f"this is the mask of a secret that was written out, its value is gone; {_FORM}")
    if not value.startswith(_REFERENCE):
        return Secret(value)
    variable = value.removeprefix(_REFERENCE)
    if not _NAME.fullmatch(variable):
        raise worded("after env: comes the name of a variable: letters, digits and _")
    return Secret.from_env(variable)


def _written(secret: Secret, info: core_schema.SerializationInfo | None = None) -> str:
    """Return the JSON form; pydantic leaves `info` out where it describes a default."""
    if secret.variable:
        return f"{_REFERENCE}{secret.variable}"
    if info and info.round_trip:
        raise PydanticSerializationError(
            "a secret's value is never stored; use Secret.from_env('NAME'), which stores the variable's name"
        )
    return MASK


secret_fields = FieldsHolding(Secret)
"""Returns the names of a schema's fields that are or hold a secret, however deep."""


def plain_secrets(value: Any, path: str = "") -> tuple[str, ...]:
    """Return the paths, within a schema's instance, of secrets given outright: those that must not be saved."""
    if isinstance(value, Secret):
        return () if value.variable else (path,)
    if isinstance(value, BaseModel):
        inner = [(f"{path}.{name}" if path else name, one) for name, one in value]
    elif isinstance(value, Mapping):
        inner = [(f"{path}.{name}" if path else str(name), one) for name, one in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"{path}[{i}]", one) for i, one in enumerate(value)]
    else:
        return ()
    return tuple(found for where, one in inner for found in plain_secrets(one, where))

"""`Recipe`: how a module without a class of its own was made, as a name to show and as JSON to make it again."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import CoordinationError
from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema

_LONGEST = 160


@dataclass(frozen=True)
class Recipe:
    """The class of the module, what it was made around (a signature, a program, several) and its settings."""

    kind: type[Program]
    label: str
    around: Any
    settings: Mapping[str, Any]
    name: str | None = None

    @property
    def path(self) -> str:
        """The name it goes by in the store: the one given, else such as `ChainOfThought(question -> answer)`."""
        if self.name is not None:
            return self.name
        text = f"{self.kind.__name__}({self.label})"
        return (
            text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...#{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON. Raises ProgramError for a setting that JSON cannot name, such as a lambda."""
        settings = {name: to_json(value, f"{self.path}: {name}") for name, value in self.settings.items()}
        made = {
            "kind": _reference(self.kind, self.path),
            "around": to_json(self.around, self.path),
            "settings": settings,
        }
        return made if self.name is None else {**made, "name": self.name}

    @staticmethod
    def made_again(data: Any) -> Program:
        """Return the module of a `to_json`. Raises ProgramError for other JSON or names that cannot be imported."""
        if not isinstance(data, Mapping) or not {"kind", "around", "settings"} <= set(data):
            raise ProgramError(f"How a module was made is an object with kind, around and settings, got {shown(data)}.")
        kind = imported(data["kind"])
        settings = {name: from_json(value) for name, value in data["settings"].items()}
        if not (isinstance(kind, type) and issubclass(kind, Program)):
            raise ProgramError(f"{data['kind']} is no module.")
        make: Callable[..., Program] = kind
        named = {} if data.get("name") is None else {"name": data["name"]}
        return make(from_json(data["around"]), **settings, **named)


def to_json(value: Any, what: str) -> Any:
    """Return a setting as JSON: variables, programs, functions and classes by what makes or names them."""
    if isinstance(value, Variable):
        try:
            return {"variable": value.to_json()}
        except CoordinationError as error:
            raise ProgramError(f"{what}: {error}") from error
    if isinstance(value, Program):
        return {"program": value.state()}
    if isinstance(value, list | tuple):
        return {"list": [to_json(one, what) for one in value]}
    if isinstance(value, frozenset | set):
        return {"set": sorted(value)}
    if isinstance(value, Mapping):
        return {"object": {key: to_json(one, what) for key, one in value.items()}}
    if hasattr(value, "to_setting"):
        return to_json(value.to_setting(), what)
    if isinstance(value, type) or callable(value):
        return {"name": _reference(value, what)}
    try:
        canonical_json(value)
    except (TypeError, ValueError) as error:
        raise ProgramError(
            f"{what}: {shown(value)} cannot be saved; give a value, a variable or a function."
        ) from error
    return {"value": value}


def from_json(data: Any) -> Any:
    """Return the setting of a `to_json`. Raises ProgramError for anything else."""
    from dspex_ray.programs.program_ref import program_from_state  # noqa: PLC0415 - it makes modules again by this file

    if isinstance(data, Mapping) and len(data) == 1:
        ((form, held),) = data.items()
        match form:
            case "variable":
                return Variable.from_json(held)
            case "program":
                return program_from_state(held)
            case "list":
                return tuple(from_json(one) for one in held)
            case "set":
                return frozenset(held)
            case "object":
                return {key: from_json(one) for key, one in held.items()}
            case "name":
                return imported(held)
            case "value":
                return held
    raise ProgramError(f"This is no setting of a module: {shown(data)}.")


def _reference(value: Any, what: str) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    named = f"{module}:{name}"
    if name is None or "<" in name or not _is_there(named, value):
        raise ProgramError(
            f"{what}: {shown(value)} has no name that another process could import it by, so this cannot be saved; "
            "define it at the top level of a module."
        )
    return named


def _is_there(named: str, value: Any) -> bool:
    try:
        return imported(named) is value
    except ProgramError:
        return isinstance(value, type) and issubclass(value, Schema | Program) and value.__module__ == "__main__"


def imported(named: Any) -> Any:
    """Return what `module:name` names. Raises ProgramError if it is not there."""
    module, colon, attribute = str(named).partition(":")
    try:
        found: Any = importlib.import_module(module) if colon else None
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ProgramError(f"{named} cannot be imported here: {error}.") from error
    return found

"""`Importable`: a function or class that JSON names by its import path, `module:attribute`."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

from dspex_coordination.errors import VariableError

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True, eq=False)
class Importable:
    """A Python object, its import path, or both. Two are equal if their paths are; without a path, if the objects are.

    An object inside a function and a lambda have no path: they work, but cannot be written as JSON.
    """

    path: str | None
    target: Any = None

    @staticmethod
    def of(given: Any, what: str) -> Importable:
        """Return a path or a callable as such. Raises VariableError that begins with `what` for anything else."""
        if isinstance(given, str):
            if not _PATH.fullmatch(given):
                raise VariableError(f"{what}: {given!r} is no import path; write it as 'package.module:name'.")
            return Importable(given)
        if not callable(given):
            raise VariableError(f"{what}: expected a function, a class or an import path, got {given!r}.")
        name = getattr(given, "__qualname__", None)
        return Importable(None if name is None or "<" in name else f"{given.__module__}:{name}", given)

    def resolved(self, what: str) -> Any:
        """Return the object, imported if only its path is known. Raises VariableError if there is no such object."""
        if self.target is not None:
            return self.target
        module, _, attribute = str(self.path).partition(":")
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise VariableError(f"{what}: {self.path!r} cannot be imported here: {error}.") from error
        return found

    def to_json(self, what: str) -> str:
        """Return the path. Raises VariableError if there is none."""
        if self.path is None:
            raise VariableError(
                f"{what}: {self.target!r} has no import path, so it cannot be written as JSON; "
                "give a function or class of a module's top level."
            )
        return self.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Importable):
            return NotImplemented
        return self.target is other.target if self.path is None else self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return repr(self.target if self.path is None else self.path)

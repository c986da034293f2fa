"""`MLType`: the rule of one machine-learning type, as the annotation that carries it.

| member | called when, by whom |
|---|---|
| a subclass's fields | its options; `field(dim=3)` and `options(dim=3)` replace them, by name |
| `checked()` | after options were set; raises ProgramError for a value of an option that makes no sense |
| `core_schema()` | once for a class, by pydantic; the schema that validates, writes and describes the type |

A rule is a frozen dataclass that stands in `Annotated[<what the user gets>, Rule()]`. Faults of a value are raised as
`faults(...)`, all at once, with their paths inside the value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, cast

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from dspex_ray.errors import ProgramError
from dspex_ray.problems import near, one_of

_RULE = "dspex_rule"  # where pydantic's core schema keeps the rule it was made from
_PENDING = "dspex_options"  # and options whose rule comes later

_PLAIN_OPTIONS = (
    "ge", "gt", "le", "lt", "gteq", "lteq", "range", "multiple_of", "min_length", "max_length", "pattern", "regex",
    "choices", "required", "default", "description", "examples",
)  # fmt: skip


class Fault(NamedTuple):
    """One thing wrong inside a value: where, and in words."""

    path: tuple[int | str, ...]
    message: str


def faults(found: Iterable[Fault]) -> ValidationError:
    """Return the faults as the error that pydantic adds to its own, under the path of the value."""
    details = [InitErrorDetails(type=worded(fault.message), loc=fault.path, input=None) for fault in found]
    return ValidationError.from_exception_data("value", details)


def worded(message: str) -> PydanticCustomError:
    """Return a fault of the whole value, told in these words alone: the value itself is not shown."""
    return PydanticCustomError("dspex", "{message}", {"message": message})


@dataclass(frozen=True)
class MLType:
    """A rule without options; see the module's table."""

    kind: ClassVar[str] = "ML type"

    def checked(self) -> None:
        """Raise ProgramError for a value of an option that makes no sense."""

    def core_schema(self) -> CoreSchema:
        """Return the schema that validates, writes and describes the type."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the schema of this rule, with the options and lengths that pydantic applied before it."""
        before: Any = handler(source)
        pending = before.get("metadata", {}).get(_PENDING)
        rule = pending.applied(self) if pending else self
        return cast("CoreSchema", _sized(rule.tagged(), before))

    def tagged(self) -> CoreSchema:
        """Return the checked rule's schema with the rule in it, so that options can replace it."""
        self.checked()
        made: Any = dict(self.core_schema())
        made["metadata"] = {**made.get("metadata", {}), _RULE: self}
        return cast("CoreSchema", made)


def _sized(schema: Any, before: Any) -> Any:
    """Return the schema whose list keeps the lengths that a field set beside the rule."""
    lengths = {key: before[key] for key in ("min_length", "max_length") if before.get(key) is not None}
    if not lengths:
        return schema
    if schema["type"] != "list":
        return {**schema, "schema": _sized(schema["schema"], before)} if "schema" in schema else schema
    return {**schema, **lengths}


@dataclass(frozen=True)
class TypeOptions:
    """Options for the ML type it annotates, also inside `... | None`; `where` names the field in errors.

    pydantic puts the marks of a field before those of its type, so options `of_field` wait for the rule to come.
    """

    options: tuple[tuple[str, Any], ...]
    where: str = "options(...)"
    of_field: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the schema of the rule with these options."""
        return self._with_options(handler(source), source)

    def _with_options(self, schema: Any, source: Any) -> CoreSchema:
        rule = schema.get("metadata", {}).get(_RULE)
        if isinstance(rule, MLType):
            return self.applied(rule).tagged()
        if schema["type"] == "nullable":
            return core_schema.nullable_schema(self._with_options(schema["schema"], source))
        if self.of_field:
            return cast("CoreSchema", {**schema, "metadata": {**schema.get("metadata", {}), _PENDING: self}})
        raise self.unknown(source)

    def unknown(self, kind: Any) -> ProgramError:
        """Return the error that this type, no ML type, has no such options."""
        name = getattr(kind, "__name__", str(kind))
        keys = [key for key, _ in self.options]
        return ProgramError(f"{self.where}: {name} has no option {one_of(keys)}{near(keys[0], _PLAIN_OPTIONS)}.")

    def applied(self, rule: MLType) -> MLType:
        """Return the rule with these options. Raises ProgramError that names the unknown or senseless one."""
        known = [option.name for option in fields(rule)]
        for key, _ in self.options:
            if key not in known:
                has = f"its options are {one_of(known)}" if known else "it has none"
                raise ProgramError(f"{self.where}: {rule.kind} has no option {key!r}{near(key, known)}; {has}.")
        try:
            changed = replace(rule, **dict(self.options))
            changed.checked()
        except ProgramError as error:
            raise ProgramError(f"{self.where}: {error}") from error
        return changed


def options(**named: Any) -> TypeOptions:
    """Give an ML type inside another type its options.

    For a list of vectors: `list[Annotated[Embedding, options(dim=3)]]`.
    """
    return TypeOptions(tuple(named.items()))


def is_count(value: Any) -> bool:
    """Whether the value is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def as_list(value: Any) -> Any:
    """Return a tuple, an array (anything with `tolist`) or a list of arrays as a list; everything else as it is."""
    if type(value) is not list:
        if isinstance(value, tuple):
            value = list(value)
        elif hasattr(value, "tolist"):
            return value.tolist()
    if type(value) is list and value and hasattr(value[0], "tolist"):
        return [item.tolist() if hasattr(item, "tolist") else item for item in value]
    return value

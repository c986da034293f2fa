"""`make_schema`: a schema whose fields are known only when the program runs.

| option of a field | short for | meaning |
|---|---|---|
| `gteq`, `lteq`, `gt`, `lt` | `ge`, `le` | bounds of a number |
| `range` | `ge` and `le` | both bounds, as (low, high) |
| `min_length`, `max_length` | | length of text, of a list or a mapping |
| `regex` | `pattern` | what a text must contain; `^` and `$` for all of it |
| `dimension` | `dim` | length of an embedding; the other options of ML types go by their own names |
| `choices` | | the values allowed: the type becomes their Literal |
| `default` | | the value of an absent field; it is checked too |
| `required` | | False without a default: the field may be absent or null, and is None then |
| `variable`, `description`, ... | | as in `field` |
"""

from __future__ import annotations

import copy
import copyreg
import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from weakref import WeakValueDictionary

from pydantic.fields import FieldInfo

from dspex_ray.errors import ProgramError, UnknownNameError
from dspex_ray.problems import one_of, shown
from dspex_ray.schema.checking import read_defaults
from dspex_ray.schema.field_options import field
from dspex_ray.schema.ml_type_names import ML_TYPES
from dspex_ray.schema.schema import Schema, SchemaMeta

_SHORT = {"gteq": "ge", "lteq": "le", "regex": "pattern", "dimension": "dim"}
_PLAIN: dict[str, Any] = {
    "str": str, "string": str, "int": int, "integer": int, "float": float, "number": float,
    "bool": bool, "boolean": bool, "list": list[Any], "object": dict[str, Any], "any": Any,
}  # fmt: skip
_RECIPE = "__dspex_recipe__"


def make_schema(
    name: str, fields: Mapping[str, Any], *, doc: str | None = None, bases: Sequence[type[Schema]] = (Schema,)
) -> type[Schema]:
    """Return a schema of `fields`: each a type, or a pair (type, options); see the module's table.

    A type is any annotation, or the name of a plain or ML type (`"embedding"`). The class is pickled as what made it,
    so programs with it travel between processes. Raises ProgramError, with every field that is wrong.
    """
    if not _is_name(name):
        raise ProgramError(f"A schema's name is an identifier, got {shown(name)}.")
    if not (_is_mapping(fields) and fields):
        raise ProgramError(f"Schema {name}: fields is a mapping of at least one name to a type, got {shown(fields)}.")
    made: dict[str, tuple[Any, Any]] = {}
    wrong: list[str] = []
    for key, declared in fields.items():
        try:
            made[key] = _declared(key, declared)
            class_of(name, {key: made[key]}, doc, (Schema,))
        except (ProgramError, UnknownNameError) as error:
            named = repr(key) in str(error) or f".{key}" in str(error)
            wrong.append(str(error) if named else f"Field {key!r}: {error}")
    if wrong:
        raise ProgramError(" ".join(wrong) if len(wrong) == 1 else "\n  ".join([f"{len(wrong)} bad fields:", *wrong]))
    schema = class_of(name, made, doc, tuple(bases))
    return with_recipe(schema, _made_again, (name, dict(fields), doc, tuple(bases)))


def _made_again(name: str, fields: Mapping[str, Any], doc: str | None, bases: Sequence[type[Schema]]) -> type[Schema]:
    return make_schema(name, fields, doc=doc, bases=bases)


def with_recipe(schema: type[Schema], maker: Callable[..., type[Schema]], arguments: tuple[Any, ...]) -> type[Schema]:
    """Return the schema, to be pickled as `maker(*arguments)`. Raises ProgramError for a default that is no value."""
    read_defaults(schema, schema.model_fields)
    setattr(schema, _RECIPE, (maker, arguments))
    return schema


def class_of(
    name: str, fields: Mapping[str, tuple[Any, Any]], doc: str | None, bases: tuple[type[Schema], ...]
) -> type[Schema]:
    """Return the class with these fields, as (annotation, field or default). Raises ProgramError."""
    body = {key: _copied(default) for key, (_, default) in fields.items()}
    annotations = {key: annotation for key, (annotation, _) in fields.items()}
    namespace = {**body, "__annotations__": annotations, "__module__": __name__, "__qualname__": name, "__doc__": doc}
    make: Any = SchemaMeta  # type checkers take the call for one that makes an instance
    made: type[Schema] = make(name, bases, namespace)
    return made


def _copied(default: Any) -> Any:
    if not isinstance(default, FieldInfo):
        return default
    twin = copy.copy(default)
    twin.metadata = list(default.metadata)
    return twin


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _declared(key: Any, declared: Any) -> tuple[Any, Any]:
    if not _is_name(key):
        raise ProgramError(f"A field's name is an identifier, got {shown(key)}.")
    kind, given = declared if isinstance(declared, tuple) and len(declared) == 2 else (declared, {})  # noqa: PLR2004 - a pair
    if not isinstance(given, Mapping):
        raise ProgramError(f"Field {key!r}: options are a mapping, got {shown(given)}.")
    if kind is None:
        raise ProgramError(f"Field {key!r} has no type; write {{{key!r}: <type>}}.")
    annotation: Any = named_type(kind) if isinstance(kind, str) else kind
    chosen = _spelled(key, given)
    if "choices" in chosen:
        annotation = _literal(key, chosen.pop("choices"))
    if not chosen.pop("required", "default" not in chosen) and "default" not in chosen:
        annotation, chosen["default"] = annotation | None, None
    return annotation, field(**chosen)


def named_type(name: str) -> Any:
    """Return the plain or ML type of this name. Raises UnknownNameError."""
    known = {**_PLAIN, **ML_TYPES}
    if name not in known:
        raise UnknownNameError("type of a field", name, known)
    return known[name]


def _spelled(key: str, given: Mapping[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for option, value in given.items():
        if option != "range":
            chosen[_SHORT.get(option, option)] = value
        elif isinstance(value, list | tuple) and len(value) == 2:  # noqa: PLR2004 - low and high
            chosen["ge"], chosen["le"] = value
        else:
            raise ProgramError(f"Field {key!r}: range is (low, high), got {shown(value)}.")
    return chosen


def _literal(key: str, choices: Any) -> Any:
    if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
        raise ProgramError(f"Field {key!r}: choices are a list of at least one value, got {shown(choices)}.")
    if bad := [one for one in choices if not isinstance(one, str | int | bool)]:
        raise ProgramError(f"Field {key!r}: choices are texts, whole numbers or truth values, got {one_of(bad)}.")
    return Literal[tuple(choices)]


_MADE: WeakValueDictionary[str, type[Schema]] = WeakValueDictionary()


def _reduced(schema: Any) -> Any:
    """Pickle a schema made here by its recipe, every other one by its name."""
    recipe = vars(schema).get(_RECIPE)
    if recipe is None:
        return schema.__qualname__
    digest = hashlib.sha256(pickle.dumps(recipe)).hexdigest()
    _MADE.setdefault(digest, schema)
    return _rebuilt, (digest, *recipe)


def _rebuilt(digest: str, maker: Callable[..., type[Schema]], arguments: tuple[Any, ...]) -> type[Schema]:
    """Return the schema of a recipe: the same class for the same recipe, as long as the class lives."""
    if (made := _MADE.get(digest)) is None:
        made = _MADE[digest] = maker(*arguments)
    return made


copyreg.pickle(SchemaMeta, _reduced)  # pickle asks here before it looks a class up by its name

"""How a module with several calls makes the parts that do them: schemas around the user's own, settings for each."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError
from dspex_ray.modules.predict import Predict
from dspex_ray.modules.strategy import REQUEST_SETTINGS, Strategy
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema
from dspex_ray.schema.field_options import Tunable
from dspex_ray.schema.runtime_schema import class_of, with_recipe


class InParts(Strategy):
    """Base of the modules that make their parts of the class that declares them: its schemas, settings and tools."""

    tools: ClassVar[Sequence[Any]] = ()
    _bounded_by: ClassVar[str]
    """The name of the setting that bounds its calls."""
    _passed_on: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the parts, unless the class body has its own."""
        schemas = (getattr(cls, "Input", None), getattr(cls, "Output", None))
        if all(isinstance(one, type) and issubclass(one, Schema) for one in schemas):
            checked_bound(cls, cls._bounded_by)
            cls._prepare()
            cls._passed_on = passed_on(cls, cls._passed_on)
            made = cls._calls()
            for name in made.keys() - vars(cls).keys():
                setattr(cls, name, made[name])
        super().__init_subclass__(**kwargs)

    @classmethod
    @abstractmethod
    def _prepare(cls) -> None:
        """Check the settings of the class and put them in their final form. Raises ProgramError."""

    @classmethod
    @abstractmethod
    def _calls(cls) -> dict[str, Program]:
        """Return the parts by name."""


class Extended(Schema):
    """Base of the schemas that `extended` makes."""


PASSED_ON = REQUEST_SETTINGS | {"demos"}
"""What is said of the module and holds for the calls of its parts."""


def passed_on(cls: type[Program], before: Mapping[str, Any]) -> dict[str, Any]:
    """Take the settings of calls from a class's body and return them with those of its bases.

    They are variables and values of the parts then (`step.temperature`), and none of the whole.
    """
    own = {name: value for name, value in vars(cls).items() if name in PASSED_ON}
    instruction = vars(cls).get("instruction")
    if isinstance(instruction, Variable):
        own["instruction"] = instruction
    for name in own:
        delattr(cls, name)
    inherited = {name: value for name, value in before.items() if name != "instruction" or instruction is None}
    return {**inherited, **own}


def instruction_of(cls: type[Program]) -> str:
    """Return the instruction of a class: its text or docstring."""
    bare: Any = object.__new__(cls)  # the property looks at the class alone
    return str(bare.instruction)


def part(
    schemas: tuple[type[Schema], type[Schema]], instruction: str, settings: Mapping[str, Any], **more: Any
) -> Predict:
    """Return one call as a part; an `instruction` among the settings is a variable and takes the text's place."""
    return Predict(schemas, **{"instruction": instruction, **settings, **more})


def extended(schema: type[Schema], extra: type[Schema], name: str) -> type[Schema]:
    """Return a schema of the fields of both, for a part: what is tunable belongs to the whole and is fixed here.

    Its values are made by `extended_value`, from ones that are checked already. Raises ProgramError for a field that
    both have.
    """
    if both := sorted(schema.model_fields.keys() & extra.model_fields.keys()):
        raise ProgramError(
            f"{schema.__qualname__}.{both[0]}: this module has a {both[0]!r} of its own; rename the field."
        )
    fields = {key: (info.annotation, _fixed(info)) for one in (schema, extra) for key, info in one.model_fields.items()}
    return with_recipe(class_of(name, fields, None, (Extended,)), extended, (schema, extra, name))


def _fixed(info: Any) -> Any:
    twin = copy.copy(info)
    twin.metadata = [mark for mark in info.metadata if not isinstance(mark, Tunable)]
    return twin


def extended_value(made: type[Schema], given: Schema, **extra: Any) -> Any:
    """Return the input of a part from a checked value and the fields that are added.

    A part of the user's own is given those fields that it has, to be checked as its schema says.
    """
    values = {name: getattr(given, name) for name in type(given).model_fields} | extra
    if issubclass(made, Extended):
        return made.model_construct(**values)
    return {name: value for name, value in values.items() if name in made.model_fields}


def checked_bound(cls: type[Program], name: str) -> None:
    """Raise ProgramError if a class's bound on its calls is no whole number from 1 on, nor a variable."""
    bound = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
    if not isinstance(bound, Variable) and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 1):
        raise ProgramError(f"{cls.__name__}.{name} is a whole number from 1 on or an Int variable, got {bound!r}.")

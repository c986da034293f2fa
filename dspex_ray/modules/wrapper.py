"""`Wrapper`: a strategy around a whole program, which is its part `program`."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any, ClassVar

from dspex_coordination.space import Space
from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError, UnknownNameError
from dspex_ray.modules.predict import Predict
from dspex_ray.modules.strategy import Strategy
from dspex_ray.problems import shown
from dspex_ray.programs.declaration import INPUT, is_abstract
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema

_TAKEN_OVER = ("Input", "Output", "columns", "unlabelled")


class Wrapper(Strategy):
    """A base for what asks another program: `BestOfN(Route(), n=3)`, or a class with `program = Route()` in its body.

    Input, Output, columns and unlabelled fields are those of `program`, whose variables are found as
    `program.<variable>`. A text such as `question -> answer` stands for a `Predict` of it. Raises ProgramError for
    anything else, and for a setting of model calls: the wrapper makes none.
    """

    program: Any
    _functions: ClassVar[frozenset[str]] = frozenset({"metric"})
    """The attributes that may be functions, which are not to become methods."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the schemas of `program` where the class declares none."""
        own = vars(cls)
        for name in sorted(cls._functions & own.keys()):
            if isinstance(own[name], FunctionType):
                setattr(cls, name, staticmethod(own[name]))
        if "program" in own:
            cls.program = as_program(own["program"], f"{cls.__name__}.program")
            for name in _TAKEN_OVER:
                if name not in own:
                    setattr(cls, name, getattr(cls.program, name))
        if not is_abstract(cls):
            cls._check_declared()
        super().__init_subclass__(**kwargs)

    @classmethod
    def _check_declared(cls) -> None:
        """Raise ProgramError for a class body that cannot work. Called for every class that has its schemas."""
        program: Any = getattr(cls, "program", None)
        if not isinstance(program, Program):
            raise ProgramError(f"{cls.__name__} is made around a program; write in it: program = Route()")
        if not issubclass(cls.Input, program.Input) or not issubclass(program.Output, cls.Output):
            raise ProgramError(
                f"{cls.__name__} has other schemas than its program {program.path}; leave Input and Output out, and it "
                "takes the program's."
            )

    @classmethod
    def _declare(cls) -> None:
        super()._declare()
        cls._space = without_inputs(cls._space)

    @property
    def instruction(self) -> str:
        """The docstring of the class, else the program's instruction."""
        return str(self.program.instruction) if type(self).__doc__ is None else super().instruction

    @classmethod
    def _wants(cls) -> str:
        return f"a program or a signature: {cls.__name__}(Route())"

    @classmethod
    def _body(cls, around: Any) -> tuple[str, dict[str, Any]]:
        program = as_program(around, cls.__name__)
        return program.path, {"program": program}

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        known = {"columns", "constraints", "unlabelled", *cls.settings}
        for name in settings:
            if name not in known:
                told = UnknownNameError(f"setting of {cls.__name__}", name, known | {"lm", "name"})
                raise ProgramError(
                    f"{told} What concerns a model call is given to the program that makes it: "
                    f"{cls.__name__}(Predict('question -> answer', {name}=...))."
                )

    async def _ask(self, given: Schema) -> Any:
        """Return the program's output for an input of this one."""
        filled = self.program.tuned_input
        return await self.program.acall({n: getattr(given, n) for n in given.model_fields_set} if filled else given)


def as_program(given: Any, what: str) -> Program:
    """Return a program: as it is, of its class, or a `Predict` of a signature. Raises ProgramError."""
    if isinstance(given, Program):
        return given
    if isinstance(given, type) and issubclass(given, Program) and not is_abstract(given):
        return given()
    if isinstance(given, str | tuple):
        return Predict(given)
    raise ProgramError(f"{what} takes a program such as Route(), or a signature, got {shown(given)}.")


def without_inputs(space: Space) -> Space:
    """Return the space without tunable input fields: the program within has them too, and fills them in."""
    kept = {name: one for name, one in space.variables.items() if not name.startswith(INPUT)}
    return space if len(kept) == len(space.variables) else Space(kept, space.constraints)


def whole_setting(cls: type[Program], name: str, low: int) -> None:
    """Raise ProgramError if a class's setting is no whole number from `low` on, nor a variable over such."""
    value: Any = getattr(cls, name)
    if isinstance(value, Variable):
        value = getattr(value, "low", value.default)
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ProgramError(f"{cls.__name__}.{name} is a whole number from {low} on, got {shown(value)}.")


def number_setting(cls: type[Program], name: str) -> None:
    """Raise ProgramError if a class's setting is no number, nor a variable over numbers."""
    value: Any = getattr(cls, name)
    if isinstance(value, Variable):
        value = value.default
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:  # noqa: PLR0124 - not a number
        raise ProgramError(f"{cls.__name__}.{name} is a number, got {shown(value)}.")

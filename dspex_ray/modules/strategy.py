"""`Strategy`: a program whose `predict` is a way of asking, to be subclassed or made around a signature."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any, ClassVar, Self

from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError, UnknownNameError
from dspex_ray.modules.recipe import Recipe
from dspex_ray.modules.signature import Signature
from dspex_ray.programs.declaration import is_abstract
from dspex_ray.programs.program import Program
from dspex_ray.prompting.call_parameters import PARAMETERS

REQUEST_SETTINGS = frozenset({*PARAMETERS, "prompt_caching", "answer_format", "model"})
"""What any module passes on to its model call, as a value or as a variable."""
_DECLARATIONS = frozenset({"instruction", "demos", "columns", "constraints", "unlabelled"})
_MADE_ONLY = ("lm", "name")


class Strategy(Program):
    """A base with a `predict` of its own and no schemas yet.

    `class Route(ChainOfThought)` with Input and Output declares a program of it. `ChainOfThought("question ->
    answer", temperature=0.7)` makes such a class on the fly and returns its instance: `settings` become class
    attributes, plain or variables; `lm` is its model and `name` what it is called in the store. Raises ProgramError
    for a setting it does not have.
    """

    Input: type[Any]
    Output: type[Any]
    settings: ClassVar[frozenset[str]] = frozenset()
    """The settings of the strategy itself, beside those of any model call."""

    def __new__(cls, around: Any = None, /, **settings: Any) -> Self:
        """Return an instance of a class that has its schemas; else make that class around what is given first."""
        if not is_abstract(cls):
            if around is not None or settings:
                raise ProgramError(
                    f"{cls.__name__} has its schemas and settings in its class body; call it as {cls.__name__}()."
                )
            return super().__new__(cls)
        if around is None:
            raise ProgramError(f"{cls.__name__} is made around {cls._wants()}.")
        return cls._made(around, settings)

    @classmethod
    def _wants(cls) -> str:
        return f"a signature: {cls.__name__}('question -> answer')"

    @classmethod
    def _body(cls, around: Any) -> tuple[str, dict[str, Any]]:
        """Return how the module is called and the class attributes that follow from what it is made around."""
        signature = Signature.of(around)
        body = {**signature.extra, "Input": signature.input, "Output": signature.output}
        return signature.text, body if signature.instruction is None else {**body, "instruction": signature.instruction}

    @classmethod
    def _made(cls, around: Any, given: Mapping[str, Any]) -> Self:
        settings = {name: value for name, value in given.items() if name not in _MADE_ONLY}
        cls._check(settings)
        label, body = cls._body(around)
        name = given.get("name")
        recipe = Recipe(cls, label, around, settings, name)
        plain = {n: staticmethod(v) if isinstance(v, FunctionType) else v for n, v in settings.items()}
        attributes = {**body, **plain, "_recipe": recipe, "__module__": cls.__module__, "__doc__": None}
        made: Any = type(cls.__name__, (cls,), attributes)
        program: Self = made()
        return program if given.get("lm") is None else program.with_lm(given["lm"])

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        known = REQUEST_SETTINGS | _DECLARATIONS | cls.settings
        for name, value in settings.items():
            if name not in known and not isinstance(value, Variable):
                raise ProgramError(str(UnknownNameError(f"setting of {cls.__name__}", name, known | set(_MADE_ONLY))))

"""`Program`: typed inputs, typed outputs and tunable variables around one model call or any Python."""

from __future__ import annotations

import asyncio
import copy
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic.errors import PydanticUndefinedAnnotation

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import SpaceError
from dspex_coordination.space import Space
from dspex_coordination.variables import Variable
from dspex_ray.configuration import checked_cache, checked_limits
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ProgramError, UsageError
from dspex_ray.lm.base import LM, ChatMessage
from dspex_ray.lm.cache.settings import CacheSettings
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.model_source import ModelSource
from dspex_ray.problems import near, shown
from dspex_ray.schema import Schema, plain_secrets, secret_fields, tunable_fields
from dspex_ray.typed_call import demos_variable, typed_call

if TYPE_CHECKING:
    from dspex_ray.agent_system import AgentSystem
    from dspex_ray.serving.endpoint import Endpoint

_INPUT = "input."  # before the name of a tunable input field


class Program:
    """What an engineer writes: a subclass with nested `Input` and `Output` schemas.

    The class's docstring is the instruction and its class attributes of kind `Variable` are what an optimizer may
    tune. Without an own `predict` it is one typed model call. A program is immutable: `with_values`,
    `with_demo_pool` and `with_lm` return copies that share the rest. Raises ProgramError, when the subclass is
    declared, for a declaration that cannot work.
    """

    Input: ClassVar[type[Schema]]
    Output: ClassVar[type[Schema]]
    columns: ClassVar[Mapping[str, str]] = {}
    """The data column of a field that goes by another name in the usual data; `mapping` or `--map` overrides it."""
    constraints: ClassVar[Sequence[Any]] = ()
    """What must hold between variables: conditions such as `V("max_tokens") <= V("window")`, or `Constraint`s."""

    values: dict[str, Any]
    demo_pool: DemoPool
    tuned_input: dict[str, Any]
    shown_demos: dict[str, tuple[ChatMessage, ...]]
    _source: ModelSource
    _space: ClassVar[Space] = Space({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the declaration and collect the variables."""
        super().__init_subclass__(**kwargs)
        if _is_abstract(cls):
            return  # a base to be completed, or a class that is being unpickled and gets its attributes next
        _check_schemas(cls)
        cls._space = _declared_space(cls)
        if cls.predict is Program.predict:
            demos_variable(cls)
        elif not inspect.iscoroutinefunction(cls.predict):
            raise ProgramError(f"{cls.__name__}.predict must be `async def predict(self, input)`.")

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Give the instance its state here, so that a subclass's `__init__` need not call this class's."""
        if cls is Program:
            raise ProgramError("Program is to be subclassed: write `class MyProgram(Program)` with Input and Output.")
        if _is_abstract(cls):
            _check_schemas(cls)  # says what is missing
        self = super().__new__(cls)
        self.demo_pool = DemoPool()
        self._source = ModelSource()
        vars(self).update(_assignment(cls._space.default()))
        return self

    def _copy(self, **changes: Any) -> Self:
        twin = copy.copy(self)
        vars(twin).update(changes)
        return twin

    @classmethod
    def space(cls) -> Space:
        """Return the variables: those of the class and its bases, then tunable fields as `input.<field>`."""
        return cls._space

    @property
    def instruction(self) -> str:
        """The docstring of the class or of the nearest base that has one; a plain sentence if none has."""
        for base in type(self).__mro__:
            if base is Program:
                break
            if base.__doc__:
                return inspect.cleandoc(base.__doc__)
        return f"Given {', '.join(self.Input.model_fields)}, answer with {', '.join(self.Output.model_fields)}."

    @property
    def path(self) -> str:
        """`module:Class`, as `load_program` takes it."""
        return program_path(type(self))

    @property
    def lm_name(self) -> str | None:
        """The name of the program's own model; None if it uses the process's default."""
        return self._source.name

    @property
    def lm(self) -> LM:
        """The client that answers. Raises UnknownNameError or ConfigurationError if there is none to be had."""
        return self._source.client()

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values of some variables; what is computed from them changes too.

        Raises ProgramError with every value that is wrong, and every constraint that is broken.
        """
        space = self._space
        kept = {name: value for name, value in self.values.items() if name in space.free}
        try:
            candidate = space.complete({**kept, **values})
            space.validate({**candidate.values, **values})
        except SpaceError as error:
            raise ProgramError(f"{self.path}: {error}") from error
        return self._copy(**_assignment(candidate))

    def with_demo_pool(self, pool: DemoPool) -> Self:
        """Return a copy that takes its demonstrations from `pool`."""
        return self._copy(demo_pool=pool, shown_demos={})

    def with_lm(self, lm: str | LM | None) -> Self:
        """Return a copy with a model of its own, by name or as a client; None goes back to the process's default."""
        return self._copy(_source=self._source.but(own=lm))

    def with_cache(self, cache: str | CacheSettings | None) -> Self:
        """Return a copy whose replies are kept so: `memory`, `disk`, a folder's path, `off`, or settings.

        None goes back to the process's default.
        """
        return self._copy(_source=self._source.but(cache=checked_cache(cache)))

    def with_limits(self, limits: LMLimits | None) -> Self:
        """Return a copy whose model is asked no more than so often; None goes back to the process's default.

        The limits hold for each process by itself. A client of your own keeps the limits that it was made with.
        """
        return self._copy(_source=self._source.but(limits=checked_limits(limits)))

    def with_defaults(self) -> Self:
        """Return a copy that depends on no setting of this process, to be sent to another one."""
        return self._copy(_source=self._source.settled())

    def with_state(self, state: Mapping[str, Any]) -> Self:
        """Return this program with the values and demonstrations of a `state()`, and its model if it names one.

        Raises ProgramError if the state is of another program or its values no longer fit.
        """
        other = type(self).from_state(state)
        return other if other.lm_name is not None else other._copy(_source=self._source)  # noqa: SLF001 - of this class

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name a program's author reads best
        """Return the output for a valid input. A subclass may do anything here; this asks the model once.

        Called by `acall` with an instance of `Input`; must return an instance of `Output`. What it raises reaches
        the caller; in an evaluation it scores 0, unless it is the caller's mistake or an unreachable model.
        """
        return await typed_call(self, input)

    async def acall(self, values: Mapping[str, Any] | Schema) -> Any:
        """Return the output for one input, given as a mapping or an `Input`.

        Raises InputError with every bad field, OutputError and LMError of the model call, ProgramError if an own
        `predict` returns anything but an `Output`.
        """
        given = values if isinstance(values, self.Input) else self.Input.parse(self._filled(values))
        result = await self.predict(given)
        if not isinstance(result, self.Output):
            name = type(self).__name__
            raise ProgramError(f"{name}.predict must return {name}.Output(...), got {shown(result)}.")
        return result

    def _filled(self, values: Any) -> Any:
        return {**self.tuned_input, **values} if self.tuned_input and isinstance(values, Mapping) else values

    async def __call__(self, **fields: Any) -> Any:
        """Return the output for one input given by field name; see `acall`."""
        return await self.acall(fields)

    def run(self, **fields: Any) -> Any:
        """Return the output for one input, from code without an event loop; see `acall`.

        Raises UsageError within a running loop, where `await program(...)` is right.
        """
        refuse_running_loop("program.run(...)", "await program(...)")

        async def once() -> Any:
            try:
                return await self.acall(fields)
            finally:
                await self.aclose()

        return asyncio.run(once())

    def to_agent_system(self, **options: Any) -> AgentSystem:
        """Start this program as supervised agents; see `start_agent_system` for the options."""
        from dspex_ray.agent_system import start_agent_system  # noqa: PLC0415 - agents stand above programs

        return start_agent_system(self, **options)

    def deploy(self, **options: Any) -> Endpoint:
        """Serve this program over HTTP; see `dspex_ray.serving.deployment.deploy` for the options."""
        from dspex_ray.serving.deployment import deploy  # noqa: PLC0415 - serving stands above programs and loads ray

        return deploy(self, **options)

    async def aclose(self) -> None:
        """Close the connections of a model made from a name, on the loop that used it. The program stays usable."""
        await self._source.aclose()

    def state(self) -> dict[str, Any]:
        """Return what makes this program, as JSON: path, values, demonstrations and model name; never a secret.

        Raises ProgramError if a demonstration holds a secret that is given outright.
        """
        if secret_fields(self.Input):
            _check_no_secret(self)
        pool = self.demo_pool.to_json() if len(self.demo_pool) else None
        return {"program": self.path, "values": dict(self.values), "demo_pool": pool, "lm": self.lm_name}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the program of a `state()`; call it on the program's own class.

        Raises ProgramError if the state is of another program or its values no longer fit.
        """
        if not isinstance(state, Mapping) or not isinstance(state.get("values"), Mapping) or "program" not in state:
            raise ProgramError(f"A program's state is an object with 'program' and 'values', got {shown(state)}.")
        if cls is Program:
            raise ProgramError(f"Call from_state on the program's class: load_program({state['program']!r}).from_state")
        if str(state["program"]).rpartition(":")[2] != cls.__qualname__:
            raise ProgramError(f"This is the state of {state['program']}, not of {program_path(cls)}.")
        program = cls().with_values(state["values"]).with_lm(state.get("lm"))
        pool = state.get("demo_pool")
        return program if pool is None else program.with_demo_pool(DemoPool.from_json(pool))

    def __repr__(self) -> str:
        return f"<{self.path} {self.values!r}>"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the rendered demonstrations."""
        return {**self.__dict__, "shown_demos": {}}


def _declared_space(cls: type[Program]) -> Space:
    constraints: Any = cls.constraints
    if isinstance(constraints, str | Mapping) or not isinstance(constraints, Sequence):
        raise ProgramError(f"{cls.__name__}.constraints is a list of conditions, got {shown(constraints)}.")
    try:
        return Space(_variables(cls), constraints)
    except SpaceError as error:
        raise ProgramError(f"{cls.__name__}: {error}") from error


def _check_no_secret(program: Program) -> None:
    for example in program.demo_pool.examples:
        if found := plain_secrets(program.Input.parse({**program.tuned_input, **example.input})):
            raise ProgramError(
                f"{program.path}: demonstration {example.id!r} holds a secret in {', '.join(map(repr, found))}, so the "
                "program cannot be saved. Name an environment variable there instead: 'env:NAME'."
            )


_RESERVED = frozenset(name for name in (*vars(Program), *Program.__annotations__) if not name.startswith("__"))


def _assignment(candidate: Candidate) -> dict[str, Any]:
    """Return the attributes of an instance that follow from its values."""
    values = candidate.to_json()
    tuned_input = {n.removeprefix(_INPUT): v for n, v in values.items() if n.startswith(_INPUT)}
    return {"values": values, "tuned_input": tuned_input, "shown_demos": {}}


def program_path(program_class: type[Program]) -> str:
    """Return `module:Class`; a script run directly goes by the name it can be imported under."""
    module = program_class.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec else Path(file).stem if file else module
    return f"{module}:{program_class.__qualname__}"


def refuse_running_loop(call: str, instead: str) -> None:
    """Raise UsageError if an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{call} cannot be used inside a running event loop (async code, a notebook); use `{instead}`.")


def _is_abstract(cls: type[Program]) -> bool:
    return not hasattr(cls, "Input") and not hasattr(cls, "Output")


def _check_schemas(cls: type[Program]) -> None:
    for role, line in (("Input", "message: str"), ("Output", 'label: Literal["a", "b"]')):
        schema = getattr(cls, role, None)
        if schema is None:
            raise ProgramError(f"{cls.__name__} has no {role}; write in it:\n    class {role}(Schema):\n        {line}")
        if not (isinstance(schema, type) and issubclass(schema, Schema)):
            raise ProgramError(
                f"{cls.__name__}.{role} is {shown(schema)}, not a Schema; write `class {role}(Schema): ...` in it."
            )
        try:
            schema.model_rebuild()
        except PydanticUndefinedAnnotation as error:
            raise ProgramError(f"{cls.__name__}.{role}: the type {error.name!r} is not defined above it.") from error
        if not schema.model_fields:
            raise ProgramError(f"{cls.__name__}.{role} has no field; write at least one, such as `{line}`.")
    _check_columns(cls)
    if secret := sorted(secret_fields(cls.Output)):
        raise ProgramError(f"{cls.__name__}.Output.{secret[0]} is a Secret, and no model may be asked for one.")
    if tuned := tunable_fields(cls.Output):
        raise ProgramError(f"{cls.__name__}.Output.{next(iter(tuned))} cannot be tuned; only Input fields can.")


def _check_columns(cls: type[Program]) -> None:
    columns: Any = cls.columns
    if not isinstance(columns, Mapping) or not all(isinstance(column, str) for column in columns.values()):
        raise ProgramError(f"{cls.__name__}.columns is {shown(columns)}; write it as {{'field': 'column'}}.")
    fields = {**cls.Input.model_fields, **cls.Output.model_fields}
    for name in columns:
        if name not in fields:
            raise ProgramError(f"{cls.__name__}.columns: there is no field {name!r}{near(str(name), fields)}.")


def _variables(cls: type[Program]) -> dict[str, Variable[Any]]:
    found: dict[str, Variable[Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Variable):
                if name in _RESERVED:
                    raise ProgramError(f"{cls.__name__}: {name!r} is a name that Program itself uses; rename it.")
                found[name] = value
            else:
                found.pop(name, None)  # a subclass that fixes a variable to a plain value takes it out of the search
    return found | {f"{_INPUT}{name}": variable for name, variable in tunable_fields(cls.Input).items()}

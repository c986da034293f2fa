"""`Program`: typed inputs, typed outputs and tunable variables around one model call or any Python."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from dspex_coordination.errors import SpaceError
from dspex_coordination.space import Space
from dspex_ray.calls import within_program
from dspex_ray.configuration import checked_cache, checked_limits
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ProgramError, UsageError
from dspex_ray.lm.base import LM, ChatMessage
from dspex_ray.lm.cache.settings import CacheSettings
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.problems import near, shown
from dspex_ray.programs.declaration import (
    INPUT,
    DocstringInstruction,
    check_instruction,
    check_schemas,
    declared_space,
    is_abstract,
)
from dspex_ray.programs.model_source import ModelSource
from dspex_ray.programs.program_path import program_path
from dspex_ray.programs.program_state import restored, state_of
from dspex_ray.programs.program_types import Answers, Asked
from dspex_ray.programs.sub_programs import (
    Parts,
    below,
    declared_parts,
    instruction_names,
    rebuilt,
    refuse_circles,
    shows_rows_of,
    walk,
)
from dspex_ray.prompting.answer_formats.names import check_answer_format
from dspex_ray.prompting.call_parameters import check_parameters
from dspex_ray.prompting.labelled import labelled_output
from dspex_ray.prompting.typed_call import demos_variable, typed_call
from dspex_ray.running_loop import refuse_running_loop
from dspex_ray.schema import Schema
from dspex_ray.tracing.spans import program_span

if TYPE_CHECKING:
    from dspex_ray.agent_system import AgentSystem
    from dspex_ray.serving.endpoint import Endpoint
    from dspex_ray.streaming import StreamPiece

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_DEEPEST = 50
_within: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("dspex_programs_within", default=())


class Program:
    """What an engineer writes: a subclass with nested `Input` and `Output` schemas.

    The class's docstring (or `instruction`, a text or a `Text` variable) is the instruction, its class attributes of
    kind `Variable` are what an optimizer may tune, and those that are programs are its parts: `self.<part>` has the
    values found under `<part>.<variable>` and the model of the whole unless it has its own. Without an own `predict`
    it is one typed model call. A variable or text called `model` names the model that is asked. A program is immutable:
    `with_values`, `with_demo_pool` and `with_lm` return copies that share the rest. Raises ProgramError, when the
    subclass is declared, for a declaration that cannot work.
    """

    Input: type[Schema]
    Output: type[Schema]
    columns: ClassVar[Mapping[str, str]] = {}
    """The data column of a field that goes by another name in the usual data; `mapping` or `--map` overrides it."""
    constraints: ClassVar[Sequence[Any]] = ()
    """What must hold between variables: conditions such as `V("max_tokens") <= V("window")`, or `Constraint`s."""
    unlabelled: ClassVar[frozenset[str]] = frozenset()
    """Output fields that data and demonstrations need not have, such as a chain of thought."""

    instruction: Any = DocstringInstruction()
    """What the model is told: the docstring, unless a text or a `Text` variable is declared here."""

    is_model_call: ClassVar[bool] = True
    """Whether it is one typed model call, since it has no `predict` of its own."""

    values: dict[str, Any]
    demo_pool: DemoPool
    part_pools: Mapping[str, DemoPool]
    instructions: Mapping[str, str]
    """What is told instead of the declared instruction, by the path of the part; that of the whole has the path ``."""
    place: str
    """Where it stands in the program it is a part of, such as `draft.answer`; empty for the whole."""
    tuned_input: dict[str, Any]
    shown_demos: dict[str, tuple[ChatMessage, ...]]
    _source: ModelSource
    _space: ClassVar[Space] = Space({})
    _parts: ClassVar[Parts] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the declaration and collect the variables."""
        super().__init_subclass__(**kwargs)
        if is_abstract(cls):
            return  # a base to be completed, or a class that is being unpickled and gets its attributes next
        check_schemas(cls)
        check_instruction(cls)
        check_answer_format(cls)
        check_parameters(cls)
        labelled_output(cls)  # raises for an `unlabelled` name that is no field
        cls._declare()
        cls.is_model_call = cls.predict is Program.predict
        if cls.is_model_call:
            demos_variable(cls)
        elif not inspect.iscoroutinefunction(cls.predict):
            raise ProgramError(f"{cls.__name__}.predict must be `async def predict(self, input)`.")

    @classmethod
    def _declare(cls) -> None:
        refuse_circles(cls, Program)
        cls._parts = declared_parts(cls, Program)
        cls._space = declared_space(cls, cls._parts, _RESERVED)

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Give the instance its state here, so that a subclass's `__init__` need not call this class's."""
        if cls is Program:
            raise ProgramError("Program is to be subclassed: write `class MyProgram(Program)` with Input and Output.")
        if is_abstract(cls):
            check_schemas(cls)  # says what is missing
        if declared_parts(cls, Program) != cls._parts:
            cls._declare()  # a part was assigned to the class after its body
        self = super().__new__(cls)
        start = cls._space.default()
        chosen = {f"{path}.{name}": value for path, child in walk(cls._parts) for name, value in child.values.items()}
        if chosen:
            start = cls._space.complete({name: chosen[name] for name in cls._space.free if name in chosen})
        vars(self).update(
            _assignment(start.to_json()),
            demo_pool=DemoPool(),
            part_pools={},
            instructions={},
            place="",
            _source=ModelSource(),
        )
        return self._bound()

    def _copy(self, **changes: Any) -> Self:
        twin = object.__new__(type(self))  # not `copy.copy`, which would begin with all defaults
        vars(twin).update(vars(self), **changes)
        return twin._bound()

    def _bound(self) -> Self:
        """Give every part the values, demonstrations and model it has within this program."""
        children = dict(walk(self._parts))
        for name, part in self._parts.items():
            vars(self)[name] = rebuilt(part, name, lambda path: children[path]._under(self, path))  # noqa: SLF001 - of this class
        return self

    def _under(self, whole: Program, path: str) -> Self:
        pool = whole.part_pools.get(path) or self.demo_pool
        if not pool and shows_rows_of(self, whole):
            pool = whole.demo_pool
        return self._copy(
            **_assignment({name: whole.values[f"{path}.{name}"] for name in self._space.names}),
            demo_pool=pool,
            part_pools={**self.part_pools, **below(whole.part_pools, path)},
            place=f"{whole.place}.{path}" if whole.place else path,
            _source=whole._source.under(self._source),
            **_told({**self.instructions, **below(whole.instructions, path)}),
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Program):
            raise ProgramError(
                f"{type(self).__name__}.{name}: a sub-program is declared in the class body, `{name} = ...`, where its "
                "variables are found; not assigned to an instance."
            )
        super().__setattr__(name, value)

    @classmethod
    def space(cls) -> Space:
        """Return the variables: those of the class and its bases, tunable fields as `input.<field>`, those of parts."""
        return cls._space

    @property
    def parts(self) -> dict[str, Program]:
        """The programs within this one by path, such as `draft`, `draft.answer` and `experts.0`."""
        found: dict[str, Program] = {}
        for path, child in walk(self._bound_parts()):
            found[path] = child
            found |= {f"{path}.{name}": one for name, one in child.parts.items()}
        return found

    @property
    def demo_pools(self) -> dict[str, DemoPool]:
        """The pool of each `Demos` variable, by the variable's name; those of parts included."""
        own = {name: self.demo_pool for name in self._space.demos if "." not in name}
        return own | {
            f"{path}.{name}": pool
            for path, child in walk(self._bound_parts())
            for name, pool in child.demo_pools.items()
        }

    def _bound_parts(self) -> Parts:
        return {name: vars(self)[name] for name in self._parts}

    @property
    def path(self) -> str:
        """`module:Class`, as `load_program` takes it; how a module was made for one that has no class of its own."""
        return program_path(type(self))

    @property
    def lm_name(self) -> str | None:
        """The name of the program's own model; None if it uses the process's default."""
        return self._model or self._source.name

    @property
    def _model(self) -> str | None:
        named = getattr(self, "model", None)
        return named if isinstance(named, str) else None

    @property
    def lm(self) -> LM:
        """The client that answers. Raises UnknownNameError or ConfigurationError if there is none to be had."""
        return self._source.client() if self._model is None else self._source.named(self._model).client()

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values of some variables; what is computed from them changes too.

        `instruction` and `<part>.instruction` are taken as by `with_instructions` where they are no variables. Raises
        ProgramError with every value that is wrong, and every constraint that is broken.
        """
        space = self._space
        texts = {one: values[one] for one in instruction_names(self) if one in values and one not in space.variables}
        if texts:
            told = self.with_instructions({name.rpartition(".")[0]: text for name, text in texts.items()})
            return told.with_values({name: value for name, value in values.items() if name not in texts})
        kept = {name: value for name, value in self.values.items() if name in space.free}
        try:
            candidate = space.complete({**kept, **values})
            space.validate({**candidate.values, **values})
        except SpaceError as error:
            raise ProgramError(f"{self.path}: {error}") from error
        return self._copy(**_assignment(candidate.to_json()))

    def with_instructions(self, texts: Mapping[str, str]) -> Self:
        """Return a copy that is told these texts instead: by the path of a part, and by `` for the whole.

        Raises ProgramError for a path that is none of a model call, whose instruction is a variable, or no text.
        """
        for path, text in texts.items():
            name = f"{path}.instruction" if path else "instruction"
            if name not in instruction_names(self) or name in self._space.variables:
                raise ProgramError(f"{self.path} has no instruction {name!r} that can be replaced.")
            given: Any = text
            if not isinstance(given, str) or not given.strip():
                raise ProgramError(f"{self.path}: {name} is a text, got {shown(given)}.")
        return self._copy(**_told({**self.instructions, **texts}), shown_demos={})

    def with_demo_pool(self, pool: DemoPool, part: str | None = None) -> Self:
        """Return a copy that takes its demonstrations from `pool`, or whose part at this path does.

        Raises ProgramError for a path that is none of `parts`.
        """
        if part is None:
            return self._copy(demo_pool=pool, shown_demos={})
        if part not in self.parts:
            raise ProgramError(f"{self.path} has no part {part!r}{near(part, self.parts)}.")
        return self._copy(part_pools={**self.part_pools, part: pool}, shown_demos={})

    def with_lm(self, lm: str | LM | None) -> Self:
        """Return a copy with a model of its own, by name or as a client; None goes back to the process's default.

        Raises ProgramError if the program's own `model` says which model it asks.
        """
        if lm is not None and self._model is not None:
            raise ProgramError(
                f"{self.path} says by `model` which model it asks ({self._model}); "
                "use with_values({'model': ...}) if that is a variable."
            )
        return self._copy(_source=self._source.but(own=lm))

    def with_cache(self, cache: str | CacheSettings | None) -> Self:
        """Return a copy whose replies are kept so: `memory`, `disk`, a folder's path, `off`, or settings.

        None goes back to the process's default.
        """
        return self._copy(_source=self._source.but(cache=checked_cache(cache)))

    def with_limits(self, limits: LMLimits | None) -> Self:
        """Return a copy whose model is asked no more than so often; None goes back to the process's default.

        They hold for all workers of a system and all replicas of an endpoint together, elsewhere for each process. A
        client of your own keeps the limits that it was made with.
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
        return other if state.get("lm") is not None else other._copy(_source=self._source)  # noqa: SLF001 - of this class

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name a program's author reads best
        """Return the output for a valid input. A subclass may do anything here; this asks the model once.

        Called by `acall` with an instance of `Input`; must return an instance of `Output`. What it raises reaches
        the caller; in an evaluation it scores 0, unless it is the caller's mistake or an unreachable model.
        """
        return await typed_call(self, input)

    @overload
    async def acall(self: Asked[_In, _Out], values: _In) -> _Out: ...
    @overload
    async def acall(self: Answers[_Out], values: Mapping[str, Any]) -> _Out: ...
    async def acall(self, values: Any) -> Any:
        """Return the output for one input, given as a mapping or an `Input`.

        Raises InputError with every bad field, OutputError and LMError of the model call, ProgramError if an own
        `predict` returns anything but an `Output`, or if programs call each other without an end.
        """
        given = values if isinstance(values, self.Input) else self.Input.parse(self._filled(values))
        outer = _within.get()
        if len(outer) == _DEEPEST:
            raise ProgramError(f"Programs call each other {_DEEPEST} deep, the last ones {' -> '.join(outer[-4:])}.")
        token = _within.set((*outer, type(self).__name__))
        try:
            with within_program(self.path), program_span(self):
                result = await self.predict(given)
        finally:
            _within.reset(token)
        if not isinstance(result, self.Output):
            name = type(self).__name__
            raise ProgramError(f"{name}.predict must return {name}.Output(...), got {shown(result)}.")
        return result

    def _filled(self, values: Any) -> Any:
        return {**self.tuned_input, **values} if self.tuned_input and isinstance(values, Mapping) else values

    @overload
    async def __call__(self: Asked[_In, _Out], values: _In, /) -> _Out: ...
    @overload
    async def __call__(self: Answers[_Out], **fields: Any) -> _Out: ...
    async def __call__(self, *values: Any, **fields: Any) -> Any:
        """Return the output for one input, given by field name or as an `Input`; see `acall`."""
        return await self.acall(self._one(values, fields))

    def _one(self, values: tuple[Any, ...], fields: Mapping[str, Any]) -> Any:
        if values and (fields or len(values) > 1):
            raise UsageError(f"Give {type(self).__name__} one Input, or its fields by name, not both.")
        return values[0] if values else fields

    @overload
    def run(self: Asked[_In, _Out], values: _In, /) -> _Out: ...
    @overload
    def run(self: Answers[_Out], **fields: Any) -> _Out: ...
    def run(self, *values: Any, **fields: Any) -> Any:
        """Return the output for one input, from code without an event loop; see `acall`.

        Raises UsageError within a running loop, where `await program(...)` is right.
        """
        refuse_running_loop("program.run(...)", "await program(...)")

        async def once() -> Any:
            try:
                return await self(*values, **fields)
            finally:
                await self.aclose()

        return asyncio.run(once())

    @overload
    def astream(self: Asked[_In, _Out], values: _In, /) -> AsyncGenerator[StreamPiece[_Out], None]: ...
    @overload
    def astream(self: Answers[_Out], **fields: Any) -> AsyncGenerator[StreamPiece[_Out], None]: ...
    def astream(self, *values: Any, **fields: Any) -> Any:
        """Give the answer to one input piece by piece while it is written; see `dspex_ray.streaming.astream`."""
        from dspex_ray.streaming import astream  # noqa: PLC0415 - streams stand above programs

        return astream(self, self._one(values, fields))

    @overload
    def stream(self: Asked[_In, _Out], values: _In, /) -> Generator[StreamPiece[_Out], None, None]: ...
    @overload
    def stream(self: Answers[_Out], **fields: Any) -> Generator[StreamPiece[_Out], None, None]: ...
    def stream(self, *values: Any, **fields: Any) -> Any:
        """Give the answer piece by piece to code without an event loop; see `dspex_ray.streaming.stream`."""
        from dspex_ray.streaming import stream  # noqa: PLC0415 - streams stand above programs

        return stream(self, self._one(values, fields))

    def to_agent_system(self, **options: Any) -> AgentSystem:
        """Start this program as supervised agents; see `start_agent_system` for the options."""
        from dspex_ray.agent_system import start_agent_system  # noqa: PLC0415 - agents stand above programs

        return start_agent_system(self, **options)

    def deploy(self, **options: Any) -> Endpoint:
        """Serve this program over HTTP; see `dspex_ray.serving.deployment.deploy` for the options."""
        from dspex_ray.serving.deployment import deploy  # noqa: PLC0415 - serving stands above programs and loads ray

        return deploy(self, **options)

    async def aclose(self) -> None:
        """Close the connections of models made from names, on the loop that used them. The program stays usable."""
        await self._source.aclose()
        for _, child in walk(self._bound_parts()):
            await child.aclose()

    def state(self) -> dict[str, Any]:
        """Return what makes this program, as JSON: path, values, demonstrations and model name; never a secret.

        Raises ProgramError if a demonstration holds a secret that is given outright, or if the program was made of
        something that JSON cannot name.
        """
        return state_of(self, self._source.name)

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the program of a `state()`; call it on the program's own class.

        Raises ProgramError if the state is of another program or its values no longer fit.
        """
        return restored(cls, state)

    def __repr__(self) -> str:
        return f"<{self.path} {self.values!r}>"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the rendered demonstrations."""
        return {**self.__dict__, "shown_demos": {}}


_RESERVED = frozenset(name for name in (*vars(Program), *Program.__annotations__) if not name.startswith("__")) - {
    "instruction"
}


def _told(instructions: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of an instance that follow from its instructions."""
    own = {"instruction": instructions[""]} if "" in instructions else {}
    return {"instructions": instructions, **own}


def _assignment(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an instance that follow from its values."""
    tuned_input = {n.removeprefix(INPUT): v for n, v in values.items() if n.startswith(INPUT)}
    return {"values": dict(values), "tuned_input": tuned_input, "shown_demos": {}}

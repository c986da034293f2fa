"""`Parallel`: several programs asked about one input at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from dspex_ray.errors import ProgramError, UsageError
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.modules.strategy import Strategy
from dspex_ray.modules.wrapper import as_program, without_inputs
from dspex_ray.problems import shown
from dspex_ray.programs.declaration import is_abstract
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema, make_schema, merge_schemas


class Parallel(Strategy):
    """Ask all `programs` at once: `Parallel({"tone": Tone(), "topic": "message -> topic"})`.

    The input has the fields of all of them, each asked with its own; a field that two declare differently is an error.
    The output has one field for each program, by its name, with its output. Their variables are found as
    `programs.<name>.<variable>`. A model out of reach stops all at once; of programs that fail by themselves, the first
    one's error is raised when all have ended.
    """

    settings: ClassVar[frozenset[str]] = frozenset()
    programs: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the schemas of the programs."""
        own = vars(cls)
        if "programs" in own:
            cls.programs = _programs(own["programs"], cls.__name__)
            made = cls._schemas(cls.programs)
            for name, value in zip(("Input", "Output", "columns"), (*made, _columns(cls.programs)), strict=True):
                if name not in own:
                    setattr(cls, name, value)
        if not is_abstract(cls) and not hasattr(cls, "programs"):
            raise ProgramError(f"{cls.__name__} has no programs; write in it: programs = {{'name': Route(), ...}}")
        super().__init_subclass__(**kwargs)

    @classmethod
    def _schemas(cls, programs: Mapping[str, Program]) -> tuple[type[Schema], type[Schema]]:
        """Return Input and Output. Raises ProgramError for programs that cannot run together."""
        inputs = list(dict.fromkeys(one.Input for one in programs.values()))
        try:
            merged = inputs[0] if len(inputs) == 1 else merge_schemas(*inputs, name="Input")
            return merged, cls._joined_output(programs)
        except ProgramError as error:
            raise ProgramError(f"{cls.__name__}: {error}") from error

    @classmethod
    def _joined_output(cls, programs: Mapping[str, Program]) -> type[Schema]:
        return make_schema("Output", {name: one.Output for name, one in programs.items()})

    @classmethod
    def _declare(cls) -> None:
        super()._declare()
        cls._space = without_inputs(cls._space)

    @classmethod
    def _wants(cls) -> str:
        return f"programs by name: {cls.__name__}({{'tone': Tone(), 'topic': 'message -> topic'}})"

    @classmethod
    def _body(cls, around: Any) -> tuple[str, dict[str, Any]]:
        programs = _programs(around, cls.__name__)
        return ", ".join(f"{name}={one.path}" for name, one in programs.items()), {"programs": programs}

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name not in {"columns", "constraints"}:
                raise ProgramError(
                    f"{cls.__name__} has no setting {name!r}; what concerns a program is given to that program."
                )

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return all outputs."""
        outputs, failed = await self._asked(input)
        if failed:
            raise next(iter(failed.values()))
        return self.Output.model_construct(**outputs)

    async def _asked(self, given: Schema) -> tuple[dict[str, Any], dict[str, Exception]]:
        """Return the programs' outputs and the errors of those that failed by themselves, in the programs' order."""
        failed: dict[str, Exception] = {}

        async def one(name: str, program: Any) -> Any:
            try:
                return await program.acall(_part_of(given, program))
            except Exception as error:  # a program is the user's code and may raise anything
                if isinstance(error, UsageError) or is_infrastructure(error):
                    raise
                failed[name] = error
                return None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(one(name, program)) for name, program in self.programs.items()}
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__
        outputs = {name: task.result() for name, task in tasks.items() if name not in failed}
        return outputs, {name: failed[name] for name in tasks if name in failed}


def _part_of(given: Schema, program: Program) -> Any:
    if type(given) is program.Input and not program.tuned_input:
        return given
    return {name: getattr(given, name) for name in program.Input.model_fields if name in given.model_fields_set}


def _programs(given: Any, name: str) -> dict[str, Program]:
    if not isinstance(given, Mapping) or not given or not all(isinstance(key, str) for key in given):
        raise ProgramError(
            f"{name} takes at least one program by name, such as {{'tone': Tone()}}, got {shown(given)}."
        )
    return {key: as_program(one, f"{name}: {key}") for key, one in given.items()}


def _columns(programs: Mapping[str, Program]) -> dict[str, str]:
    return {
        field: column
        for one in programs.values()
        for field, column in one.columns.items()
        if field in one.Input.model_fields
    }

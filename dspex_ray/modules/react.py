"""`ReAct`: the model thinks, calls a tool, sees what comes of it, and so on, then answers (Yao et al. 2022, arXiv
2210.03629).

| what happens | what becomes of it |
|---|---|
| arguments that break a tool's schema, a tool that raises | an observation that says what is wrong |
| the same call as in an earlier step | it is made, and the observation says that it is the same |
| `max_steps` is reached | it answers from what it has |
| the prompt is too long for the model | the oldest observations are shortened by half, then by half again, ...; when there is nothing left to shorten, the error of the model is raised |
"""  # noqa: D205, E501 - a title of two lines and a row of a table

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from dspex_coordination.variables import Variable
from dspex_ray.errors import LMContextWindowError, ProgramError
from dspex_ray.modules.in_parts import InParts, extended, extended_value, instruction_of, part
from dspex_ray.modules.trajectory import Trajectory, Turn, shortened, tell
from dspex_ray.programs.program import Program
from dspex_ray.prompting.answer_formats.response_schema import compact_json
from dspex_ray.schema import Schema, make_schema
from dspex_ray.schema.ml_types.tool_call import Arguments
from dspex_ray.tools import Tool, tool_set

FINISH = "finish"


class Seen(Schema):
    """What the input of a call has beside the user's fields."""

    trajectory: list[Turn] = Field(default_factory=list, description="The steps so far.")


class ReAct(InParts):
    """Answer with the help of tools: `ReAct("question -> answer", tools=[search])`, or a base class with schemas.

    `tools` are typed functions (see `dspex.tool`), given or as a class attribute. `max_steps` bounds the calls of tools
    and may be a variable. Its parts are `step` (input and trajectory -> thought, tool, arguments) and `answer` (input
    and trajectory -> output): settings of a model call and an instruction that is a variable are those of both, found
    as `step.temperature`, `answer.instruction` and so on. `trajectories()` tells how an output was reached.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"tools", "max_steps"})
    max_steps: Any = 8
    step: Any
    answer: Any
    _bounded_by: ClassVar[str] = "max_steps"

    @classmethod
    def _prepare(cls) -> None:
        cls.tools = _tools(cls)

    @classmethod
    def _calls(cls) -> dict[str, Program]:
        return _parts(cls)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name a program's author reads best
        """Return the output for a valid input. Raises what its parts raise, and what a tool lets pass."""
        turns: list[Turn] = []
        ended: Any = "error"
        try:
            shown = await self._explore(input, turns)
            output, _ = await _fitting(self.answer, input, shown)
            ended = "done" if turns and turns[-1].tool == FINISH else "bound"
            return output
        finally:
            tell(Trajectory(self.path, self.place, tuple(turns), ended))

    async def _explore(self, given: Schema, turns: list[Turn]) -> list[Turn]:
        """Add the turns to the list, and return them as the model was shown them."""
        shown: list[Turn] = []
        tools = {tool.name: tool for tool in self.tools}
        for _ in range(self.max_steps):
            chosen, shown = await _fitting(self.step, given, shown)
            if chosen.tool == FINISH:
                turn = Turn(thought=chosen.thought, tool=FINISH)
            else:
                observation = await _observation(tools[chosen.tool], chosen.arguments, turns)
                call = {"tool": chosen.tool, "arguments": chosen.arguments, "observation": observation}
                turn = Turn(thought=chosen.thought, **call)
            turns.append(turn)
            shown.append(turn)
            if turn.tool == FINISH:
                break
        return shown


async def _observation(tool: Tool, arguments: Mapping[str, Any], turns: Sequence[Turn]) -> str:
    before = [i for i, turn in enumerate(turns, 1) if (turn.tool, turn.arguments) == (tool.name, arguments)]
    result = await tool.acall(arguments)
    return f"(The same call as in step {before[-1]}.) {result.text}" if before else result.text


async def _fitting(asked: Any, given: Schema, shown: list[Turn]) -> tuple[Any, list[Turn]]:
    """Return what a part answers and the turns it was shown: as many and as long as its model takes."""
    while True:
        try:
            return await asked.acall(extended_value(asked.Input, given, trajectory=shown)), shown
        except LMContextWindowError:
            shorter = shortened(shown)
            if shorter is None:
                raise
            shown = shorter


def _tools(cls: type[ReAct]) -> tuple[Tool, ...]:
    if not (made := tuple(tool_set(cls.tools, reserved=(FINISH,)).values())):
        raise ProgramError(f"{cls.__name__} has no tool; give functions: tools=[search].")
    return made


def _parts(cls: type[ReAct]) -> dict[str, Program]:
    outputs = ", ".join(cls.Output.model_fields)
    rules = (
        f"Work towards {outputs} in steps. In each step, think about what the trajectory shows so far, then choose one "
        f"tool and its arguments; the next step shows what came of it. Choose {FINISH}, without arguments, as soon as "
        f"the trajectory holds all that is needed.\n\nTools:\n{listed(cls.tools)}"
    )
    tunable = isinstance(cls._passed_on.get("instruction"), Variable)
    names = (*(tool.name for tool in cls.tools), FINISH)
    chosen = make_schema(
        "Step",
        {
            "thought": str,
            "tool": (Literal[names], {"description": rules} if tunable else {}),
            "arguments": (Arguments, {"default": {}, "description": "The tool's arguments, by name."}),
        },
    )
    given, instruction = extended(cls.Input, Seen, "InputAndTrajectory"), instruction_of(cls)
    told = f"{instruction}\n\nThe trajectory shows the steps that were taken to find out; answer from it."
    return {
        "step": part((given, chosen), f"{instruction}\n\n{rules}", cls._passed_on),
        "answer": part((given, cls.Output), told, cls._passed_on, unlabelled=cls.unlabelled),
    }


def listed(tools: Sequence[Tool]) -> str:
    """Return a line for each tool: its name, description and arguments."""
    return "\n".join(f"- {tool.name}: {_told(tool)}" for tool in tools)


def _told(tool: Tool) -> str:
    schema = tool.json_schema()
    arguments = {key: schema[key] for key in ("properties", "required", "$defs") if schema.get(key)}
    return f"{' '.join(tool.description.split())} Arguments: {compact_json(arguments)}".strip()

"""`ProgramOfThought`: the model writes Python, a runner runs it (Chen et al. 2022, arXiv 2211.12588).

| what the code comes to | what becomes of it |
|---|---|
| an error, or neither a value nor anything printed | the model sees it and writes again, at most `max_tries` times in all; then OutputError with the last code |
| a value that is a valid `Output`, or that of its only field | that is the output, without another call |
| anything else | one call more turns what came out into the output |
"""  # noqa: E501 - a row of a table

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from dspex_coordination.variables import Variable
from dspex_ray.code_runner import CodeLimits, CodeRunner, MontyRunner
from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.modules.in_parts import InParts, extended, extended_value, instruction_of, part
from dspex_ray.modules.react import listed
from dspex_ray.modules.trajectory import Attempt, Trajectory, tell
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.schema import Faults, Schema, check, make_schema, secret_fields
from dspex_ray.tools import Tool, tool_set

_FENCED = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


class Tried(Schema):
    """What the input of a call has beside the user's fields."""

    attempts: list[Attempt] = Field(default_factory=list, description="The code so far and what came of it.")


class ProgramOfThought(InParts):
    """Compute the answer with code: `ProgramOfThought("question -> answer: float")`, or a base class with schemas.

    The code has the input's fields as its variables, without those that hold a secret, and `tools` as its functions.
    `max_tries` bounds the pieces of code and may be a variable. `runner` is a CodeRunner, or a class of one, which can
    be saved too; Monty by default, which has no files and no network and needs the extra `code`. `limits` are its
    CodeLimits. The parts are `write` (input and attempts -> plan, code) and `answer` (input and attempts -> output),
    with settings as those of `ReAct`. `trajectories()` tells what was tried.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"tools", "max_tries", "runner", "limits"})
    max_tries: Any = 3
    runner: Any = MontyRunner()
    limits: Any = CodeLimits()
    write: Any
    answer: Any
    _bounded_by: ClassVar[str] = "max_tries"

    @classmethod
    def _prepare(cls) -> None:
        cls.tools = _tools(cls)
        cls.runner, cls.limits = _runner(cls), _limits(cls)

    @classmethod
    def _calls(cls) -> dict[str, Program]:
        return _parts(cls)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name a program's author reads best
        """Return the output for a valid input. Raises OutputError if no code came to anything."""
        attempts: list[Attempt] = []
        ended: Any = "error"
        try:
            for _ in range(self.max_tries):
                attempts.append(await self._attempt(input, attempts))
                if attempts[-1].error is None:
                    break
            else:
                ended = "bound"
                last = attempts[-1]
                raise OutputError(
                    f"{self.path}: no code ran in {self.max_tries} tries; the last: {_end(last.error)}", last.code
                )
            output = _as_output(self.Output, attempts[-1].value)
            if output is None:
                output = await self.answer.acall(extended_value(self.answer.Input, input, attempts=attempts))
            ended = "done"
            return output
        finally:
            tell(Trajectory(self.path, self.place, tuple(attempts), ended))

    async def _attempt(self, given: Schema, attempts: Sequence[Attempt]) -> Attempt:
        written = await self.write.acall(extended_value(self.write.Input, given, attempts=list(attempts)))
        fenced = _FENCED.match(written.code)
        code = fenced[1] if fenced else written.code
        inputs = given.model_dump(mode="json", exclude=set(secret_fields(self.Input)))
        ran = await self.runner.run(code, inputs, tools=self.tools, limits=self.limits)
        nothing = ran.error is None and ran.value is None and not ran.stdout.strip()
        error = "The code has no value and printed nothing; end it with an expression." if nothing else ran.error
        return Attempt(code=code, printed=ran.stdout, value=ran.value, error=error)


def _end(error: str | None) -> str:
    return (error or "").strip().rpartition("\n")[2]


def _as_output(output: type[Schema], value: Any) -> Schema | None:
    """Return the output that a value is: an object of its fields, or what its only required field holds."""
    required = [name for name, info in output.model_fields.items() if info.is_required()]
    candidates = [value] if isinstance(value, Mapping) else []
    if len(required) == 1:
        candidates.append({required[0]: value})
    made = (check(output, one) for one in candidates if value is not None)
    return next((one for one in made if not isinstance(one, Faults)), None)


def _tools(cls: type[ProgramOfThought]) -> tuple[Tool, ...]:
    made = tool_set(cls.tools, reserved={*cls.Input.model_fields, *dir(builtins)})
    if bad := [name for name in made if not name.isidentifier()]:
        raise ProgramError(f"Code cannot call a tool named {bad[0]!r}; give it another name: tool(name=...).")
    return tuple(made.values())


def _runner(cls: type[ProgramOfThought]) -> CodeRunner:
    given: Any = cls.runner() if isinstance(cls.runner, type) else cls.runner
    if not isinstance(given, CodeRunner):
        raise ProgramError(f"{cls.__name__}.runner is a CodeRunner, got {shown(given)}.")
    return given


def _limits(cls: type[ProgramOfThought]) -> CodeLimits:
    given: Any = cls.limits
    try:
        made = CodeLimits(**given) if isinstance(given, Mapping) else given  # a saved program names them one by one
    except TypeError as error:
        raise ProgramError(f"{cls.__name__}.limits: {error}.") from error
    if not isinstance(made, CodeLimits):
        raise ProgramError(f"{cls.__name__}.limits are CodeLimits(...), got {shown(given)}.")
    return made


def _parts(cls: type[ProgramOfThought]) -> dict[str, Program]:
    rules = _rules(cls)
    tunable = isinstance(cls._passed_on.get("instruction"), Variable)
    written = make_schema(
        "Code",
        {
            "plan": (str, {"description": "How to compute it, in a sentence or two."}),
            "code": (str, {"description": rules if tunable else "The Python code, and nothing else."}),
        },
    )
    given, instruction = extended(cls.Input, Tried, "InputAndAttempts"), instruction_of(cls)
    told = f"{instruction}\n\nThe last of the attempts is code that was run to find out; answer by what came of it."
    return {
        "write": part((given, written), f"{instruction}\n\n{rules}", cls._passed_on),
        "answer": part((given, cls.Output), told, cls._passed_on, unlabelled=cls.unlabelled),
    }


def _rules(cls: type[ProgramOfThought]) -> str:
    inputs = ", ".join(name for name in cls.Input.model_fields if name not in secret_fields(cls.Input))
    names = list(cls.Output.model_fields)
    form = "a dict with the keys " + ", ".join(map(repr, names)) if len(names) > 1 else f"the {names[0]}"
    functions = f" It may call these functions:\n{listed(cls.tools)}" if cls.tools else ""
    return (
        f"Write Python code that computes {', '.join(names)}. The variables {inputs} hold the input. The last line is "
        f"an expression whose value is {form}. Where there are attempts, learn from their errors. "
        f"{cls.runner.told()}{functions}"
    )

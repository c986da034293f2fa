"""`MontyRunner`: runs code in Monty, an interpreter for code that models write, each run in a process of its own.

Monty (https://github.com/pydantic/monty) is a subset of Python written in Rust. It has no way out but the calls the
host answers, and this runner answers calls of tools alone: a file, a variable of the environment or a module that Monty
does not have is an error in the code. The worker process is started for the run and killed with it (about 4 ms).

| it has not | what a model can do instead |
|---|---|
| `yield`, generator functions | lists, comprehensions |
| `fractions`, `statistics`, numpy, any package | `math`, `decimal`, `itertools`, `collections`, `re`, `json` |
| tools as `map`'s or `sorted`'s function | a loop or a comprehension |
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from dspex_ray.code_runner.base import CodeLimits, Ran
from dspex_ray.code_runner.printed import Printed
from dspex_ray.errors import ConfigurationError, ProgramError
from dspex_ray.tools import Tool, as_json, as_text

_MOST_AT_ONCE = 16
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True)
class MontyRunner:
    """Runs at most 16 pieces of code at a time on a loop; the others wait, within their `wall_s`.

    `random` starts from the same seed in each run and `time.sleep` returns at once, so that equal code gives an equal
    result; the clock is the machine's, in UTC.
    """

    async def run(
        self, code: str, inputs: Mapping[str, Any], *, tools: Sequence[Tool] = (), limits: CodeLimits | None = None
    ) -> Ran:
        """Run the code with `inputs` as its variables and `tools` as its functions; see `CodeRunner`.

        Raises ConfigurationError without pydantic-monty, ProgramError for an input that has no name or JSON form.
        """
        monty, bounds = _monty(), limits or CodeLimits()
        if len(code) > bounds.code_chars:
            return Ran(error=f"The code has {len(code):,} characters; at most {bounds.code_chars:,} are run.")
        given, printed, clock = _given(inputs), Printed(bounds.output_chars), asyncio.timeout(bounds.wall_s)
        try:
            async with clock, _turn():
                value = await _run(monty, code, given, tools, bounds, printed)
        except TimeoutError:
            if not clock.expired():
                raise
            return Ran(stdout=printed.text, error=f"The code and its tools took longer than {bounds.wall_s:g} s.")
        except monty.MontyError as error:
            return Ran(stdout=printed.text, error=_told(error, bounds.output_chars))
        try:
            text = as_text(value, bounds.output_chars)
        except ValueError as error:
            return Ran(stdout=printed.text, error=f"The value of the last expression cannot be told: {error}.")
        return Ran(stdout=printed.text, value=as_json(value) if len(text) <= bounds.output_chars else text)

    def told(self) -> str:
        """Return what a model has to know to write code for it."""
        return (
            "It is run by an interpreter for a subset of Python: the modules math, decimal, itertools, collections, "
            "re, json and datetime, no other ones; no yield, no files, no network."
        )


def _monty() -> Any:
    try:
        return importlib.import_module("pydantic_monty")  # an optional dependency
    except ImportError as error:
        raise ConfigurationError(
            "Running code that a model wrote needs pydantic-monty: pip install 'dspex-ray[code]'."
        ) from error


def _given(inputs: Mapping[str, Any]) -> Any:
    if bad := [name for name in inputs if not name.isidentifier()]:
        raise ProgramError(f"A variable of the code has a name such as `question`, got {bad[0]!r}.")
    try:
        return as_json(inputs)
    except ValueError as error:
        raise ProgramError(f"The input cannot be given to the code: {error}.") from error


def _turn() -> asyncio.Semaphore:
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_MOST_AT_ONCE))


async def _run(monty: Any, code: str, inputs: Any, tools: Sequence[Tool], bounds: CodeLimits, printed: Printed) -> Any:
    allowed = {
        "max_feed_duration_secs": bounds.time_s,
        "max_memory": bounds.memory_bytes,
        "max_recursion_depth": bounds.recursion,
        "max_suspensions": 2 * bounds.tool_calls + len(tools),  # a call, and the look-up of a name
    }
    policy = {"sleep": "zero", "random_start": {"seed": 0}}
    offered = {tool.name: tool for tool in tools}
    async with (
        monty.AsyncMonty(min_processes=1, max_processes=1, request_timeout=bounds.time_s + 1) as pool,
        pool.checkout(limits=allowed, os_policy=policy) as session,
    ):
        paused = await session.feed_start(code, inputs=inputs, external_lookup=offered, print_callback=printed)
        calls = 0
        while not isinstance(paused, monty.MontyComplete):
            if _is_tool_call(monty, paused, offered):
                calls += 1
                paused = await paused.resume(await _answer(offered[paused.function_name], paused, calls, bounds))
            else:
                paused = await paused.resume_auto()  # refused: there is no mount, no OS handler and no such name
        return paused.output


def _is_tool_call(monty: Any, paused: Any, offered: Mapping[str, Tool]) -> bool:
    is_call = isinstance(paused, monty.AsyncFunctionSnapshot) and not paused.is_os_function
    return is_call and paused.function_name in offered


async def _answer(tool: Tool, paused: Any, calls: int, bounds: CodeLimits) -> dict[str, Any]:
    """Call the tool as the code asks for it; the code sees what is wrong as an exception."""
    names = list(tool.arguments.model_fields)
    if calls > bounds.tool_calls:
        return {"exception": RuntimeError(f"at most {bounds.tool_calls} calls of tools")}
    if len(paused.args) > len(names):
        return {"exception": TypeError(f"{tool.name} takes {len(names)} arguments, {len(paused.args)} were given")}
    try:
        arguments = as_json({**dict(zip(names, paused.args, strict=False)), **paused.kwargs})
    except ValueError as error:
        return {"exception": error}
    result = await tool.acall(arguments)
    return {"return_value": as_json(result.value)} if result.error is None else {"exception": RuntimeError(result.text)}


def _told(error: Any, most: int) -> str:
    text = str(error.display() if hasattr(error, "display") else f"{type(error).__name__}: {error}").strip()
    return text if len(text) <= most else f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"

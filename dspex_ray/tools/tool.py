"""`Tool`: a typed function that a model may call.

| what happens in a call | what the model reads |
|---|---|
| the function returns | its result: text as it is, all else as JSON, at most `most_chars` of it |
| arguments break the schema | every bad argument with its path; the function is not called |
| the function raises ToolError | the error's message |
| the function raises another error | the error's type and message |
| it takes longer than `timeout_s` | that it took too long; a thread that hangs is left behind |

What says nothing about the call passes through: cancellation, KeyboardInterrupt, a model out of reach, a setting that
is missing.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from dspex_ray.errors import DspexError, InputError, LMError, OutputError, ProgramError, ToolError
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.problems import joined, shown
from dspex_ray.schema import Schema, dialect_problems, json_schema
from dspex_ray.schema.json_tree import Node, mapped
from dspex_ray.tools.arguments import annotated_part, arguments_schema
from dspex_ray.tools.daemon_threads import DaemonThreads
from dspex_ray.tools.docstring import described
from dspex_ray.tools.json_value import as_text, cut
from dspex_ray.tracing import tool_span

TIMEOUT_S = 30.0
MOST_CHARS = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_THREADS = DaemonThreads(most=256)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call came to: the text for the model, the function's own value, and what went wrong, if anything."""

    text: str
    value: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Tool:
    """A function with a name, a description and the schema of its arguments; see the module's table.

    Made by `tool` or `as_tool`. Calling it calls the function.
    """

    name: str
    description: str
    arguments: type[Schema]
    function: Callable[..., Any]
    timeout_s: float = TIMEOUT_S
    most_chars: int = MOST_CHARS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it is, without checks or limits."""
        return self.function(*args, **kwargs)

    def __post_init__(self) -> None:
        """Go by the function's name, so that a saved program can name a tool that stands in a module."""
        for name in ("__module__", "__qualname__"):
            vars(self)[name] = getattr(self.function, name, getattr(type(self.function), name))

    async def acall(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments and call the function; a function that is not async runs in a thread.

        Raises only what says nothing about the call; all else is told in the result.
        """
        with tool_span(self.name) as traced:
            result, error = await self._answered(arguments)
            if traced.wants_content:
                traced.set(**{"gen_ai.tool.call.arguments": arguments, "gen_ai.tool.call.result": result.text})
            if error is not None:
                traced.fail(error)
            return result

    async def _answered(self, arguments: Mapping[str, Any]) -> tuple[ToolResult, Exception | None]:
        try:
            made = self.arguments.parse(arguments)
        except InputError as error:
            told = joined(error.problems)
            return ToolResult(f"The arguments do not fit: {told}.", error=f"InputError: {told}"), error
        limit = asyncio.timeout(self.timeout_s)
        try:
            async with limit:
                value = await self._called(made)
            return ToolResult(as_text(value, self.most_chars), value), None
        except Exception as error:  # a user's function may raise anything; the model is to read it
            if _passes(error):
                raise
            if limit.expired():
                told = f"{self.name} did not answer within {self.timeout_s:g} s."
                return ToolResult(told, error=f"TimeoutError: {told}"), error
            told = cut(f"{type(error).__name__}: {error}", self.most_chars)
            text = cut(str(error), self.most_chars) if isinstance(error, ToolError) else told
            return ToolResult(text, error=told), error

    async def _called(self, made: Schema) -> Any:
        call = self._bound(made)
        if _is_async(self.function):
            return await call()
        context = contextvars.copy_context()
        value, error = await asyncio.wrap_future(_THREADS.submit(lambda: context.run(_outcome, call)))
        if error is not None:
            raise error
        return await value if inspect.isawaitable(value) else value

    def _bound(self, made: Schema) -> Callable[[], Any]:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(getattr(made, name))
            else:
                named[name] = getattr(made, name)
        return lambda: self.function(*positional, **named)

    def json_schema(self) -> Node:
        """Return the JSON Schema of the arguments, without titles."""
        return _untitled(json_schema(self.arguments))

    def to_openai(self) -> dict[str, Any]:
        """Return the tool as OpenAI's `tools` takes it: strict where its dialect can say the arguments."""
        strict = not dialect_problems(self.arguments, "openai")
        parameters = json_schema(self.arguments, "openai") if strict else self.json_schema()
        function = {"name": self.name, "description": self.description, "parameters": parameters, "strict": strict}
        return {"type": "function", "function": function}

    def to_anthropic(self) -> dict[str, Any]:
        """Return the tool as Anthropic's `tools` takes it. Raises ProgramError for names that it does not take."""
        schema = json_schema(self.arguments, "anthropic")
        return {"name": self.name, "description": self.description, "input_schema": schema}

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle a tool that stands in a module by its name: its function goes by the same name and would not."""
        module, name = vars(self)["__module__"], vars(self)["__qualname__"]
        found: Any = sys.modules.get(module) if module != "__main__" else None
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return str(name)
        options = (self.timeout_s, self.most_chars)
        return type(self), (self.name, self.description, self.arguments, self.function, *options)


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - raised again in the caller's task; a future cannot carry them all
        return None, RuntimeError("StopIteration") if isinstance(error, StopIteration) else error


def _passes(error: Exception) -> bool:
    """Whether an error says nothing about the call: a model out of reach, a budget, a setting that is missing."""
    if isinstance(error, LMError):
        return is_infrastructure(error)
    return isinstance(error, DspexError) and not isinstance(error, ToolError | InputError | OutputError)


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(annotated_part(function))


def _untitled(node: Node) -> Node:
    return mapped({key: value for key, value in node.items() if key != "title"}, _untitled)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = TIMEOUT_S,
    most_chars: int = MOST_CHARS,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function, sync or async: `@tool`, or `@tool(name=..., description=..., timeout_s=...)`.

    The description is the docstring's, and so are those of the arguments (Google's, numpy's or Sphinx's form).
    `timeout_s` is seconds, `most_chars` bounds the text a model reads. Raises ProgramError, saying what to write, for a
    lambda, an argument without a type, `*args`, and a limit that is not positive.
    """
    return as_tool(function, **options) if function is not None else lambda one: as_tool(one, **options)


def as_tool(
    function: Any,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = TIMEOUT_S,
    most_chars: int = MOST_CHARS,
) -> Tool:
    """Return the tool of a function, a bound method or an object that can be called; a Tool as it is. See `tool`."""
    if isinstance(function, Tool):
        return function
    if hasattr(function, "acall"):
        raise ProgramError(f"A program is no tool, {shown(function)}; write a typed async function that awaits it.")
    if not callable(function) or isinstance(function, type):
        raise ProgramError(f"A tool is a function with typed arguments, got {shown(function)}.")
    called = name or _own_name(function)
    if not _NAME.fullmatch(called):
        advice = "write it as `def name(argument: str) -> str`" if called == "<lambda>" else "give another name"
        raise ProgramError(f"A tool's name is 1 to 64 letters, digits, _ and -; {called!r} is none: {advice}.")
    if not (timeout_s > 0 and most_chars > 0):
        raise ProgramError(
            f"Tool {called}: timeout_s and most_chars are above 0, got {timeout_s!r} and {most_chars!r}."
        )
    text, texts = described(_docstring(function))
    schema = arguments_schema(called, function, texts)
    return Tool(called, (description or text).strip(), schema, function, timeout_s, most_chars)


def _own_name(function: Any) -> str:
    part = annotated_part(function)
    if part.__name__ != "__call__":
        return str(part.__name__)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(function).__name__).lower()


def _docstring(function: Any) -> str | None:
    part = annotated_part(function)
    own: str | None = part.__doc__
    return own if own or part.__name__ != "__call__" else type(function).__doc__

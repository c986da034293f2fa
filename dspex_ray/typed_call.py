"""One typed model call: prompt, ask, parse; one more try with the errors when the reply is not valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dspex_ray.calls import recorded_call
from dspex_ray.errors import InputError, OutputError, ProgramError
from dspex_ray.example import Example
from dspex_ray.lm.base import ChatMessage, LMReply, LMRequest
from dspex_ray.problems import shown
from dspex_ray.prompt import ask_again, demo_messages, render, response_schema
from dspex_ray.reply import parse_reply
from dspex_ray.schema import Schema

if TYPE_CHECKING:
    from dspex_ray.program import Program

_PARAMETERS = ("temperature", "top_p", "max_tokens")


async def typed_call(program: Program, values: Schema) -> Schema:
    """Ask the program's model for its output. Raises LMError, or OutputError with the raw reply after one re-ask."""
    messages = render(program.Output, program.instruction, _demos(program, values), values)
    reply = await _ask(program, messages)
    try:
        return _parsed(program, reply)
    except OutputError as first:
        reply = await _ask(program, ask_again(messages, reply.text, first.message))
    try:
        return _parsed(program, reply)
    except OutputError as second:
        msg = (
            f"{program.path}: {reply.model} gave no valid output, also when asked again with the errors. "
            f"{second.message} Its last reply: {shown(reply.text)}"
        )
        raise OutputError(msg, reply.text) from second


async def _ask(program: Program, messages: tuple[ChatMessage, ...]) -> LMReply:
    declared: dict[str, Any] = {name: getattr(program, name, None) for name in _PARAMETERS}
    parameters = {name: value for name, value in declared.items() if value is not None}
    request = LMRequest(messages=messages, response_schema=response_schema(program.Output), **parameters)
    return await recorded_call(program.lm, request, program.path, program.place)


def _parsed(program: Program, reply: LMReply) -> Schema:
    if reply.finish_reason == "length":
        # the part that arrived may hold a complete inner object that is not the answer
        raise OutputError("The reply was cut off at the token limit (max_tokens).", reply.text)
    return parse_reply(reply.text, program.Output)


def _demos(program: Program, values: Schema) -> list[tuple[ChatMessage, ...]]:
    name = demos_variable(type(program))
    if name is None:
        return []
    chosen = program.demo_pool.select(program.values[name], values.model_dump(mode="json"))
    return [_shown_demo(program, example) for example in chosen]


def _shown_demo(program: Program, example: Example) -> tuple[ChatMessage, ...]:
    known = program.shown_demos.get(example.id)
    if known is None:
        try:
            filled = Example(example.id, {**program.tuned_input, **example.input}, example.output)
            known = demo_messages(program.Input, program.Output, filled)
        except InputError as error:
            raise ProgramError(f"{program.path}: demonstration {example.id!r} breaks the schema: {error}") from error
        program.shown_demos[example.id] = known
    return known


def demos_variable(program_class: type[Program]) -> str | None:
    """Return the name of the `Demos` variable the default call shows: `demos`, or the only one; None without any."""
    names = [name for name in program_class.space().demos if "." not in name]  # those of parts are theirs
    if "demos" in names or not names:
        return "demos" if names else None
    if len(names) > 1:
        raise ProgramError(
            f"{program_class.__name__} declares several Demos ({', '.join(names)}); call the one its model call shows "
            "`demos`, or write its own predict."
        )
    return names[0]

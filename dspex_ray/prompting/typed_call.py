"""One typed model call: prompt, ask, parse; one more try with the errors when the reply is not valid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dspex_coordination.variables import Demos
from dspex_ray.calls import recorded_call, recorded_stream
from dspex_ray.errors import InputError, OutputError, ProgramError
from dspex_ray.example import Example
from dspex_ray.lm.base import ChatMessage, LMReply, LMRequest
from dspex_ray.problems import shown
from dspex_ray.prompting.advice import with_advice
from dspex_ray.prompting.answer_formats.base import AnswerFormat
from dspex_ray.prompting.answer_formats.names import answer_format
from dspex_ray.prompting.call_parameters import call_parameters, prompt_caching
from dspex_ray.prompting.labelled import labelled_output
from dspex_ray.prompting.prompt import ask_again, demo_messages, render
from dspex_ray.prompting.rollouts import joined_rollout
from dspex_ray.prompting.steps import keep_step, wants_steps
from dspex_ray.schema import Schema
from dspex_ray.streaming.heard_call import HeardCall, heard_call

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program

_SEEDS = 1 << 31  # what every provider takes


async def typed_call(program: Program, values: Schema, *, rollout_id: int = 0) -> Schema:
    """Ask the program's model for its output; `rollout_id` tells repeats apart in every cache, see `rollout`.

    Raises LMError, or OutputError with the raw reply after one re-ask.
    """
    form = answer_format(program)
    heard = heard_call(program.place, program.Output, form.name)
    request = _request(program, values, form, rollout_id)
    try:
        output = await _answered(program, request, form, heard)
    except OutputError as error:
        if wants_steps():
            keep_step(program.place, values.model_dump(mode="json"), error=error.message)
        raise
    if wants_steps():
        keep_step(program.place, values.model_dump(mode="json"), output=output.model_dump(mode="json"))
    if heard is not None:
        await heard.close(output)
    return output


async def _answered(program: Program, request: LMRequest, form: AnswerFormat, heard: HeardCall | None) -> Schema:
    reply = await _ask(program, request, heard)
    try:
        return _parsed(program, reply, form)
    except OutputError as first:
        again = ask_again(request.messages, reply.text, first.message, form)
        reply = await _ask(program, replace(request, messages=again), heard)
    try:
        return _parsed(program, reply, form)
    except OutputError as second:
        msg = (
            f"{program.path}: {reply.model} gave no valid output, also when asked again with the errors. "
            f"{second.message} Its last reply: {shown(reply.text)}"
        )
        raise OutputError(msg, reply.text) from second


def _request(program: Program, values: Schema, form: AnswerFormat, rollout_id: int) -> LMRequest:
    demos, fixed = _demos(program, values, form)
    stable = 1 + (sum(map(len, demos)) if fixed else 0)
    rollout, parameters = joined_rollout(rollout_id), call_parameters(program)
    if rollout and "seed" in parameters:
        parameters["seed"] = (parameters["seed"] + rollout) % _SEEDS  # else every repeat would be the same
    return LMRequest(
        messages=with_advice(render(program.Output, program.instruction, demos, values, form), program.place),
        response_schema=form.schema(program.Output),
        rollout_id=rollout,
        stable_messages=stable if prompt_caching(program) else 0,
        **parameters,
    )


async def _ask(program: Program, request: LMRequest, heard: HeardCall | None) -> LMReply:
    """Ask once: the one place where a typed call reaches its model."""
    if heard is not None:
        return await heard.read(recorded_stream(program.lm, request, program.path, program.place))
    return await recorded_call(program.lm, request, program.path, getattr(program, "place", ""))


def _parsed(program: Program, reply: LMReply, form: AnswerFormat) -> Schema:
    if reply.finish_reason == "length":
        # the part that arrived may hold a complete inner object that is not the answer
        raise OutputError("The reply was cut off at the token limit (max_tokens).", reply.text)
    return form.read(reply.text, program.Output)


def _demos(program: Program, values: Schema, form: AnswerFormat) -> tuple[list[tuple[ChatMessage, ...]], bool]:
    """Return the demonstrations as messages, and whether they are the same for every input."""
    name = demos_variable(type(program))
    if name is None:
        return [], True
    choice: Any = program.values[name]
    nearest = choice.get("select") == "nearest"
    chosen = program.demo_pool.select(choice, values.model_dump(mode="json") if nearest else {})
    return [_shown_demo(program, example, form) for example in chosen], not nearest


def _shown_demo(program: Program, example: Example, form: AnswerFormat) -> tuple[ChatMessage, ...]:
    key = f"{form.name} {example.id}"
    known = program.shown_demos.get(key)
    if known is None:
        try:
            filled = Example(example.id, {**program.tuned_input, **example.input}, example.output)
            labelled = labelled_output(type(program))
            known = demo_messages(program.Input, program.Output, filled, form, labelled=labelled)
        except InputError as error:
            raise ProgramError(f"{program.path}: demonstration {example.id!r} breaks the schema: {error}") from error
        program.shown_demos[key] = known
    return known


def demos_variable(program_class: type[Program]) -> str | None:
    """Return the name of the `Demos` variable the default call shows: `demos`, or the only one; None without any.

    Those of sub-programs, whose names have dots, are theirs.
    """
    variables = program_class.space().variables
    names = [name for name, one in variables.items() if isinstance(one, Demos) and "." not in name]
    if "demos" in names or not names:
        return "demos" if names else None
    if len(names) > 1:
        raise ProgramError(
            f"{program_class.__name__} declares several Demos ({', '.join(names)}); call the one its model call shows "
            "`demos`, or write its own predict."
        )
    return names[0]

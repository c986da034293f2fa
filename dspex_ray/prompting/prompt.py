"""The one place that turns a schema, an instruction, demonstrations and an input into messages.

The order is stable and goes from what never changes (system) over what changes with the candidate (demonstrations) to
the input, so that a provider's prompt cache can reuse the beginning. What an answer looks like is its format's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from dspex_ray.example import Example
from dspex_ray.lm.base import ChatMessage
from dspex_ray.prompting.answer_formats.base import AnswerFormat
from dspex_ray.prompting.answer_formats.json_object import JSONObject
from dspex_ray.prompting.input_message import input_message
from dspex_ray.schema import Schema

_CACHED_PROMPTS = 256
_JSON = JSONObject()


def system_text(output: type[Schema], instruction: str, form: AnswerFormat = _JSON) -> str:
    """Return the system message: the instruction, what each output field is, and the form of the answer."""
    key: Any = output  # type checkers doubt that a model class can be hashed
    return _system_text(key, instruction, form)


@lru_cache(maxsize=_CACHED_PROMPTS)
def _system_text(output: Any, instruction: str, form: AnswerFormat) -> str:
    return f"{instruction}\n\n{form.asked(output)}"


@lru_cache(maxsize=_CACHED_PROMPTS)
def _system_message(output: Any, instruction: str, form: AnswerFormat) -> ChatMessage:
    return ChatMessage("system", _system_text(output, instruction, form))


def demo_messages(
    input_schema: type[Schema],
    output_schema: type[Schema],
    example: Example,
    form: AnswerFormat = _JSON,
    *,
    labelled: type[Schema] | None = None,
) -> tuple[ChatMessage, ...]:
    """Return one demonstration as a question and its answer. Raises InputError if it breaks a schema.

    The answer has the fields that the example gives; `labelled` is the output's schema in data, where that asks less.
    """
    question = input_message(input_schema.parse(example.input))
    answer = (labelled or output_schema).parse(example.output).model_dump(mode="json", exclude_unset=True)
    return question, ChatMessage("assistant", form.answer(output_schema, answer))


def render(
    output_schema: type[Schema],
    instruction: str,
    demos: Sequence[tuple[ChatMessage, ...]],
    values: Schema,
    form: AnswerFormat = _JSON,
) -> tuple[ChatMessage, ...]:
    """Return the messages of one call: system, then the demonstrations in their order, then the input."""
    key: Any = output_schema
    return (
        _system_message(key, instruction, form),
        *(message for demo in demos for message in demo),
        input_message(values),
    )


def ask_again(
    messages: tuple[ChatMessage, ...], raw: str, complaint: str, form: AnswerFormat = _JSON
) -> tuple[ChatMessage, ...]:
    """Return the conversation with the bad reply and what is wrong with it."""
    return (
        *messages,
        ChatMessage("assistant", raw or "(no text)"),
        ChatMessage("user", f"That is not a valid answer. {complaint}\n{form.again}"),
    )

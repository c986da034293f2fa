"""What was said, in spans: kept, redacted or left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dspex_ray.lm.base import LMReply, LMRequest

Redactor = Callable[[str], str]
"""Gets a text that is to be kept, and returns what may be kept of it."""

MOST_TEXT = 32_000
"""Characters of one attribute; the rest is cut off."""

_CONTENT = frozenset(
    {
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.tool.definitions",
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
        "dspex.input",
        "dspex.output",
        "dspex.error",  # the text of an error often repeats what was said
    }
)


class Content:
    """Decides about the attributes of spans. `keeps` is True, False or a redactor."""

    def __init__(self, keeps: bool | Redactor) -> None:  # noqa: FBT001 - as the user writes it
        self.is_kept = keeps is not False
        self._redact = None if isinstance(keeps, bool) else keeps

    def admitted(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a span may hold, under full names; None values are left out."""
        found: dict[str, Any] = {}
        for name, value in attributes.items():
            if value is None:
                continue
            full = name if "." in name else f"dspex.{name}"
            if full not in _CONTENT:
                found[full] = value if isinstance(value, _PLAIN) else _plain(value)
            elif self.is_kept:
                found[full] = self._text(value)
        return found

    def _text(self, value: Any) -> str:
        """Return a value that holds what was said, as text."""
        if self._redact is None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        else:
            text = self._redacted(value)
        return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} [{len(text) - MOST_TEXT} more characters]"

    def _redacted(self, value: Any) -> str:
        try:
            kept = _each_text(value, self._redact)
        except Exception as error:  # noqa: BLE001 - a user's function: neither may it stop the program, nor what it was given be kept
            return f"[not kept: the redactor raised {type(error).__name__}]"
        return kept if isinstance(kept, str) else json.dumps(kept, ensure_ascii=False, default=str)


_PLAIN = (str, bool, int, float)
_NAMES_KEPT = frozenset({"role", "type", "finish_reason"})


def _plain(value: Any) -> Any:
    """Return a value as an attribute: a list of plain ones, or text."""
    if isinstance(value, list | tuple) and all(isinstance(one, _PLAIN) for one in value):
        return list(value)
    return str(value)


def _each_text(value: Any, change: Redactor | None) -> Any:
    """Return JSON with each text in it changed, but for the words of the message format."""
    if isinstance(value, str):
        return str(change(value)) if change else value
    if isinstance(value, Mapping):
        return {k: v if k in _NAMES_KEPT else _each_text(v, change) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(one, change) for one in value]
    return value if value is None or isinstance(value, bool) else _each_text(str(value), change)


def input_messages(request: LMRequest) -> list[dict[str, Any]]:
    """Return the messages of a request in the form of `gen_ai.input.messages`."""
    return [_message(message.role, message.content) for message in request.messages]


def output_messages(reply: LMReply) -> list[dict[str, Any]]:
    """Return a reply in the form of `gen_ai.output.messages`."""
    return [{**_message("assistant", reply.text), "finish_reason": reply.finish_reason}]


def _message(role: str, content: Any) -> dict[str, Any]:
    """Return one message; what is not text (an image) is named by its kind only."""
    parts = content if isinstance(content, list | tuple) else [content]
    return {"role": role, "parts": [_part(part) for part in parts]}


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "content": part}
    if isinstance(part, Mapping):
        if isinstance(text := part.get("text"), str):
            return {"type": "text", "content": text}
        return {"type": str(part.get("type", "object"))}
    text = getattr(part, "text", None)
    return {"type": "text", "content": text} if isinstance(text, str) else {"type": type(part).__name__.lower()}

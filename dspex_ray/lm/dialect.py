"""What an OpenAI-compatible endpoint understands, learnt from its own complaints, and requests spelt accordingly."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from dspex_ray.lm.base import LMRequest, wire_messages
from dspex_ray.lm.native_schema import native_schema

_FORMAT = re.compile(r"response_format|json_schema|json_object|guided|structured.output", re.IGNORECASE)
_BAD_SCHEMA = re.compile(r"invalid.schema|strict|additionalProperties", re.IGNORECASE)
_OPTIONAL = ("stop", "seed", "frequency_penalty", "presence_penalty", "reasoning_effort")
_NOT_SUPPORTED = re.compile(r"unsupported|not support|unrecognized|unknown|not permitted|deprecated", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The optional parts of the protocol. A client starts with all of them and drops what the endpoint refuses.

    `schema_dialect` names the spelling of JSON Schema that `strict` schemas get, one of `dspex_ray.schema.DIALECTS`;
    `without` names the optional parameters that are not sent.
    """

    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    usage_in_stream: bool = True
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    sampling: bool = True
    strict: bool = True
    schema_dialect: str = "openai"
    without: frozenset[str] = frozenset()

    def body(self, wire_model: str, request: LMRequest, *, stream: bool) -> dict[str, Any]:
        """Return the JSON body of `POST /chat/completions`."""
        body = {
            "model": wire_model,
            "messages": wire_messages(request.messages),
            **self.options(request, stream=stream),
        }
        response_format = self.format_of(request)
        return body if response_format is None else {**body, "response_format": response_format}

    def options(self, request: LMRequest, *, stream: bool) -> dict[str, Any]:
        """Return what the body says beside the model, the messages and the response format."""
        optional = {
            "temperature": request.temperature if self.sampling else None,
            "top_p": request.top_p if self.sampling else None,
            self.length_key: request.max_tokens,
            "stop": list(request.stop) or None,
            "seed": request.seed,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "reasoning_effort": request.reasoning_effort,
        }
        options: dict[str, Any] = {
            key: value for key, value in optional.items() if value is not None and key not in self.without
        }
        if stream:
            options["stream"] = True
            if self.usage_in_stream:
                options["stream_options"] = {"include_usage": True}
        return options

    def after_refusal(self, complaint: str, request: LMRequest) -> Dialect | None:
        """Return the dialect that avoids what a 400 complains about, or None when nothing of ours is to blame.

        Every step drops something for good, so a client adapts a handful of times at most.
        """
        if _FORMAT.search(complaint) and request.response_schema is not None and self.response_format != "none":
            return self._plainer_format(complaint)
        if "stream_options" in complaint and self.usage_in_stream:
            return replace(self, usage_in_stream=False)
        if "max_completion_tokens" in complaint and request.max_tokens and self.length_key == "max_tokens":
            return replace(self, length_key="max_completion_tokens")
        sampled = request.temperature is not None or request.top_p is not None
        about_sampling = re.search(r"temperature|top_p", complaint) and _NOT_SUPPORTED.search(complaint)
        if about_sampling and sampled and self.sampling:
            return replace(self, sampling=False)
        if _NOT_SUPPORTED.search(complaint):
            refused = {
                name
                for name in _OPTIONAL
                if name not in self.without
                and getattr(request, name) not in (None, ())
                and re.search(rf"\b{name}\b", complaint)
            }
            if refused:
                return replace(self, without=self.without | refused)
        return None

    def _plainer_format(self, complaint: str) -> Dialect:
        if self.response_format != "json_schema":
            return replace(self, response_format="none")
        if self.strict and _BAD_SCHEMA.search(complaint):
            return replace(self, strict=False)
        return replace(self, response_format="json_object")

    def format_of(self, request: LMRequest) -> dict[str, Any] | None:
        """Return `response_format`; None where the request has no schema or the endpoint refuses one."""
        if request.response_schema is None or self.response_format == "none":
            return None
        if self.response_format == "json_object":
            return {"type": "json_object"}
        schema, strict = dict(request.response_schema), False
        if self.strict:
            schema, strict = native_schema(request.response_schema, self.schema_dialect)
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": strict}}

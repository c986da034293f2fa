"""An input as the message a model is shown: its secrets left out, its pictures beside the text."""

from __future__ import annotations

from typing import Any

from dspex_ray.example import as_text
from dspex_ray.lm.base import ChatMessage
from dspex_ray.schema import Picture, Schema, secret_fields
from dspex_ray.schema.holding import FieldsHolding


def input_message(values: Schema) -> ChatMessage:
    """Return the user's message; where a picture stood, the text says which of the message's images it is."""
    schema = type(values)
    told: dict[str, Any] = values.model_dump(mode="json", exclude=set(secret_fields(schema)))
    pictured = picture_fields(schema)
    if not pictured:
        return ChatMessage("user", as_text(told))
    images: list[str] = []
    plain = values.model_dump(include=set(pictured))
    marked = {name: _marked(plain[name], one, images) if name in plain else one for name, one in told.items()}
    return ChatMessage("user", as_text(marked), tuple(images))


def _marked(plain: Any, told: Any, images: list[str]) -> Any:
    """Return the JSON `told` of a `plain` value with its pictures moved to `images`."""
    if isinstance(plain, Picture):
        images.append(plain.as_url())
        return f"(image {len(images)})"
    if isinstance(plain, dict) and isinstance(told, dict) and len(plain) == len(told):
        pairs = zip(plain.values(), told.items(), strict=True)
        return {key: _marked(inner, one, images) for inner, (key, one) in pairs}
    if isinstance(plain, list | tuple) and isinstance(told, list) and len(plain) == len(told):
        return [_marked(inner, one, images) for inner, one in zip(plain, told, strict=True)]
    return told


picture_fields = FieldsHolding(Picture)
"""Returns the names of a schema's fields that are or hold a picture, however deep."""

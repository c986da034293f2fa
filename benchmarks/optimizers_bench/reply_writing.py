"""An answer in the form that was asked for, and the ways in which a model gets the form wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optimizers_bench.prompt_reading import Asked


def written(asked: Asked, values: Mapping[str, Any]) -> str:
    """Return the values in the form that was asked for."""
    if asked.form == "json":
        return json.dumps(dict(values))
    if asked.form == "markers":
        parts = [f"[[ ## {name} ## ]]\n{_spelt(value)}" for name, value in values.items()]
        return "\n\n".join([*parts, f"[[ ## {asked.end} ## ]]"])
    if asked.form == "headings":
        return "\n".join([*(f"## {name}\n{_spelt(value)}" for name, value in values.items()), f"## {asked.end}"])
    text = "\n".join(_spelt(value) for value in values.values())
    return f"```\n{text}\n```" if asked.form == "fences" else text


def broken(values: Mapping[str, Any]) -> str:
    """Return an answer as a model gives it that forgets the form: its last value in prose."""
    return f"I think that it is {_spelt(list(values.values())[-1])}"


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

"""What a program's attributes say of its model calls: sampling, limits, effort, and the provider's prompt cache.

| attribute | value |
|---|---|
| `temperature`, `top_p`, `frequency_penalty`, `presence_penalty` | a number |
| `max_tokens` | a whole number from 1 on |
| `seed` | a whole number |
| `stop` | a text or a list of texts, none of them empty |
| `reasoning_effort` | the provider's word, such as "low" |
| `timeout_s` | seconds, more than 0, retries included |
| `prompt_caching` | False: the provider is not told what to keep in its prompt cache |

Each may be a variable, a plain value, or None for the provider's own default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dspex_coordination.variables import Variable
from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program

_LOOKED_AT = 16  # values of a variable


def call_parameters(program: Program) -> dict[str, Any]:
    """Return the fields of an `LMRequest` that a program sets. Raises ProgramError with every value that is wrong."""
    given: dict[str, Any] = {name: getattr(program, name, None) for name in _RULES}
    found = {name: value for name, value in given.items() if value is not None}
    if wrong := [told for name, value in found.items() if (told := _fault(name, value))]:
        raise ProgramError(f"{program.path}: {'; '.join(wrong)}.")
    if "stop" in found:
        found["stop"] = (found["stop"],) if isinstance(found["stop"], str) else tuple(found["stop"])
    return found


def check_parameters(program_class: type[Program]) -> None:
    """Raise ProgramError for every declared value, or value of a variable, that no call could use."""
    wrong: list[str] = []
    for name in _RULES:
        declared: Any = getattr(program_class, name, None)
        if isinstance(declared, property):
            continue
        values = declared.grid(_LOOKED_AT) if isinstance(declared, Variable) else [declared]
        faults = [told for value in values if value is not None and (told := _fault(name, value))]
        wrong += faults[:1]
    if wrong:
        raise ProgramError(f"{program_class.__name__}: {'; '.join(wrong)}.")


def _fault(name: str, value: Any) -> str | None:
    right, is_right = _RULES[name]
    return None if is_right(value) else f"{name} is {right}, got {shown(value)}"


def prompt_caching(program: Program) -> bool:
    """Whether the provider may be told what to keep in its prompt cache."""
    return getattr(program, "prompt_caching", True) is not False


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _stop(value: Any) -> bool:
    texts = [value] if isinstance(value, str) else value
    return isinstance(texts, list | tuple) and all(isinstance(text, str) and text for text in texts)


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), ("a number", _number)),
    "max_tokens": ("a whole number from 1 on", lambda value: _whole(value) and value > 0),
    "seed": ("a whole number", _whole),
    "stop": ("a text or a list of texts, none of them empty", _stop),
    "reasoning_effort": ("a word", lambda value: isinstance(value, str) and bool(value)),
    "timeout_s": ("a number of seconds above 0", lambda value: _number(value) and value > 0),
}

PARAMETERS = tuple(_RULES)
"""The attributes that are fields of a request; see the table above."""

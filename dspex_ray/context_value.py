"""A context variable that has a value while inside; cheaper than a generator, for what surrounds every model call."""

from __future__ import annotations

import contextvars
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Within(AbstractContextManager[_T], Generic[_T]):
    """Sets `variable` to `value` on entry, which gives `told`, and puts the former value back; entered once."""

    __slots__ = ("_token", "_told", "_value", "_variable")

    def __init__(self, variable: contextvars.ContextVar[Any], value: Any, told: _T) -> None:
        self._variable, self._value, self._told = variable, value, told

    def __enter__(self) -> _T:
        self._token = self._variable.set(self._value)
        return self._told

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._variable.reset(self._token)

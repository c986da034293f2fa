"""A span as the code around it sees it; this one, used while tracing is off, does nothing.

| call | meaning |
|---|---|
| `with span(...) as traced:` | the span lasts as long as the block; what the block raises fails it |
| `traced.set(cost_usd=0.1)` | sets `dspex.cost_usd`; a name with a dot, such as `gen_ai.tool.name`, stays as it is |
| `traced.answered(reply)` | a model's reply: its model, tokens, price, attempts, and its text where content is kept |
| `traced.fail(error)` | the work failed, though the block ends well |
| `traced.end(error)` | for a span that is not entered (a stream's): it is over, and was never the current one |

Attributes are text, numbers, booleans or lists of these. Those that hold what was said (`gen_ai.input.messages`, a
tool's arguments and the like) are kept only where content is, and after the redactor.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from dspex_ray.lm.base import LMReply


class Span:
    """A span that is not recorded."""

    __slots__ = ()
    is_recorded: bool = False
    """Whether it is worth the work to compute attributes."""
    wants_content: bool = False
    """Whether what was said is kept."""
    trace_id: str = ""
    """32 hexadecimal digits, the same for all spans of one trace in all processes."""

    def set(self, **attributes: Any) -> None:
        """Add or replace attributes."""

    def answered(self, reply: LMReply) -> None:
        """Add what is known of a model's reply."""

    def fail(self, error: BaseException) -> None:
        """Mark the work as failed."""

    def end(self, error: BaseException | None = None) -> None:
        """End a span that was not entered; a second end does nothing."""

    def streamed(self, reply: LMReply | None, error: BaseException | None) -> None:
        """End the span of a stream: a reply that came whole counts, whatever came after it."""
        if reply is not None:
            self.answered(reply)
        self.end(error if reply is None else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


NO_SPAN = Span()

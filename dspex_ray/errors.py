"""Every error of the top floor.

DspexError                      one root; `except DspexError` catches all of ours
├── UsageError                  the caller's mistake; the CLI exits with 2
│   ├── ProgramError            a program or schema that cannot be built or found
│   ├── DataError               a data file or row that cannot be used (names row and column)
│   ├── NothingToTuneError      optimise without a tunable variable
│   ├── UnknownNameError        an unknown optimizer, model, metric or version, with near matches
│   └── ConfigurationError      a setting, key or address that is missing or refused
├── InputError                  one input that breaks its schema (every bad field with its path)
├── OutputError                 a model's reply that never became a valid output (keeps the raw reply)
├── LMError                     a model call that failed
│   ├── LMAuthError             no key or a refused key
│   ├── LMRateLimitError        429 to the last attempt (carries retry_after_s)        retryable
│   ├── LMTimeoutError          no answer within the request's timeout                 retryable
│   ├── LMConnectionError       no connection, or cut in the middle                    retryable
│   │   └── LedgerGoneError     not sent: whoever keeps the budgets does not answer    retryable
│   ├── LMServerError           5xx to the last attempt                                retryable
│   ├── LMContextWindowError    the prompt does not fit the model; by how much, where that is known
│   ├── LMContentFilterError    the provider's content filter refused the prompt or the reply
│   └── LMBadReplyError         a reply that is not the protocol (kept in `raw`)       retryable
├── ToolError                   raised by a tool: a message for the model that called it
├── BudgetExceededError         a model call that a hard budget has no room for; nothing was sent
├── AuditError                  the record of management actions was changed, and where
├── ClusterError                no Ray cluster at the address, or one that cannot do the work
└── InterruptedRunError         a run stopped by the user; says how to resume
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dspex_ray.lm.base import LMReply


class DspexError(Exception):
    """Root of every error this package raises."""


class UsageError(DspexError):
    """The caller's mistake: fix the call and try again."""


class ProgramError(UsageError):
    """A program or schema that cannot be built, found or loaded."""


class DataError(UsageError):
    """Data that cannot be used; the message names the row and the column."""


class NothingToTuneError(UsageError):
    """The program declares no variable, so there is nothing to optimise."""


class ConfigurationError(UsageError):
    """A setting, key or address that is missing or refused."""


class UnknownNameError(UsageError):
    """A name that is not known; the message offers near matches."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        options = sorted(set(known))
        near = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        listed = ", ".join(options[:20]) + (", ..." if len(options) > 20 else "")  # noqa: PLR2004 - one line of names
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {listed or 'none'}.")
        self.kind, self.name, self.known = kind, name, options

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str]]]:
        """Pickle by constructor arguments, so that the error crosses processes whole."""
        return type(self), (self.kind, self.name, self.known)


class InputError(DspexError):
    """One input that breaks its schema. `problems` holds (path, message) for every bad field."""

    def __init__(self, message: str, problems: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, problems)
        self.message, self.problems = message, problems

    def __str__(self) -> str:
        return self.message


class OutputError(DspexError):
    """A model's reply that did not become a valid output, even after one re-ask. `raw` keeps the last reply."""

    def __init__(self, message: str, raw: str = "") -> None:
        super().__init__(message, raw)
        self.message, self.raw = message, raw

    def __str__(self) -> str:
        return self.message


class LMError(DspexError):
    """A model call that failed. `retryable` says whether the same call may succeed later.

    `billed` is the reply of a call that failed all the same: its tokens are paid for.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        raw: str = "",
        attempts: int = 1,
        billed: LMReply | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.retry_after_s, self.raw = message, status, retry_after_s, raw
        self.attempts, self.billed = attempts, billed

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every attribute; keyword-only arguments would be lost otherwise."""
        kept = {name: getattr(self, name) for name in ("status", "retry_after_s", "raw", "attempts", "billed")}
        return partial(type(self), self.message, **kept), ()


class LMAuthError(LMError):
    """No key, or a key the provider refuses."""


class LMRateLimitError(LMError):
    """Too many requests, to the last attempt."""

    retryable = True


class LMTimeoutError(LMError):
    """No answer within the request's timeout."""

    retryable = True


class LMConnectionError(LMError):
    """No connection to the endpoint, or one cut in the middle."""

    retryable = True


class LedgerGoneError(LMConnectionError):
    """A call that was not sent, since whoever keeps the budgets does not answer: it might not be paid for."""


class LMServerError(LMError):
    """The provider failed (5xx), to the last attempt."""

    retryable = True


class LMContextWindowError(LMError):
    """The prompt does not fit the model's context window."""


class LMContentFilterError(LMError):
    """The provider's content filter refused the prompt or withheld the reply; asking again changes nothing."""


class LMBadReplyError(LMError):
    """A reply that does not follow the protocol; `raw` keeps its beginning."""

    retryable = True


class ToolError(DspexError):
    """Raised by a tool to tell the model that called it what is wrong; the message goes to the model as it is."""


class BudgetExceededError(DspexError):
    """A model call that a hard budget has no room for: nothing was sent, and it says nothing about the program.

    `budget` is the budget's name as written, such as `run:run-1`, `caps` its caps and `spent` what is taken of them, in
    words; `spent` is empty where the price of the call is not known. `renews_at` (seconds since the epoch) is when its
    period ends, None where it has none.
    """

    def __init__(
        self, message: str, budget: str = "", caps: str = "", spent: str = "", renews_at: float | None = None
    ) -> None:
        super().__init__(message, budget, caps, spent, renews_at)
        self.message, self.budget, self.caps, self.spent, self.renews_at = message, budget, caps, spent, renews_at

    def __str__(self) -> str:
        return self.message


class AuditError(DspexError):
    """The record of management actions was changed after it was written; the message says at which entry."""


class ClusterError(DspexError):
    """No Ray cluster at the address, or one that cannot do the work."""


class InterruptedRunError(DspexError):
    """A run stopped by its user; the message says how to resume."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message, run_id)
        self.message, self.run_id = message, run_id

    def __str__(self) -> str:
        return self.message

"""Finding the spans of a run, a request or a trace in a store; where none were kept, the ledger's calls stand in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.store import Store
from dspex_ray.store.spans import SpanRecord, SpanStore, calls_of, named_in_calls
from dspex_ray.tracing.from_calls import spans_of_calls

LATEST = "latest"
MOST_SPANS = 50_000
"""So many spans of one run are read, the earliest."""
_MOST_NAMES = 200


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """The spans of what was asked for. `source` is `ledger` where they were made of model calls.

    `total` is how many there are; more than `MOST_SPANS` are not read.
    """

    name: str
    source: Literal["spans", "ledger"]
    spans: tuple[SpanRecord, ...]
    total: int


def find_trace(store: Store, name: str) -> FoundTrace:
    """Return the spans of a run id, request id, trace id or `latest`.

    Raises UnknownNameError with near matches, UsageError where the store has neither spans nor calls.
    """
    kept = SpanStore(store.database)
    recent = kept.latest(_MOST_NAMES)
    if name == LATEST:
        name = recent[0].trace_id if recent else _latest_call(store)
    if traces := kept.traces_of(name):
        return FoundTrace(name, "spans", tuple(kept.spans(traces, MOST_SPANS)), kept.count(traces))
    calls = calls_of(store.database, name, MOST_SPANS)
    if not calls:
        called = named_in_calls(store.database, _MOST_NAMES)
        known = [text for one in recent for text in (one.run_id, one.request_id, one.trace_id) if text] + called
        if not known:
            raise UsageError(_NOTHING)
        raise UnknownNameError("run, request or trace", name, [LATEST, *known])
    made = spans_of_calls(name, calls)
    return FoundTrace(name, "ledger", tuple(made), len(made))


_NOTHING = "The store holds no spans, and no model calls of a run or a request. Set DSPEX_TRACE=store, then run one."


def _latest_call(store: Store) -> str:
    named = named_in_calls(store.database, 1)
    if not named:
        raise UsageError(_NOTHING)
    return named[0]

"""Tracing into a list, for tests of spans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.store.spans import SpanRecord
from dspex_ray.tracing.content import Content, Redactor
from dspex_ray.tracing.kept import KeptTracer
from dspex_ray.tracing.process import PROCESS
from dspex_ray.tracing.writer import SpanRow, SpanWriter


@dataclass
class KeptSpans:
    """The spans that have ended so far."""

    writer: SpanWriter
    rows: list[SpanRow] = field(default_factory=list)

    def all(self) -> list[SpanRecord]:
        """Return them in the order they ended."""
        assert self.writer.flush(5.0)
        names = ("trace_id", "span_id", "parent_id", "name", "kind", "start_ns", "end_ns", "status", "attributes")
        return [SpanRecord(**{name: row[name] for name in names}) for row in self.rows]

    def one(self, name: str) -> SpanRecord:
        """Return the only one of this name."""
        (found,) = [record for record in self.all() if record.name == name]
        return found

    def tree(self) -> Any:
        """Return the names as nested pairs, children in the order of their names."""
        records = self.all()
        known = {record.span_id for record in records}

        def below(parent: str | None) -> Any:
            found = [r for r in records if r.parent_id == parent or (parent is None and r.parent_id not in known)]
            return sorted((record.name, below(record.span_id)) for record in found)

        return below(None)


@contextmanager
def kept_spans(*, content: bool | Redactor = True, clock: Clock | None = None) -> Iterator[KeptSpans]:
    """Trace this process into a list while inside."""
    kept = KeptSpans(SpanWriter(lambda: kept.rows.extend))
    before = PROCESS.settings, PROCESS.tracer, PROCESS.is_open
    PROCESS.tracer, PROCESS.is_open = KeptTracer(Content(content), kept.writer, clock or SystemClock()), False
    try:
        yield kept
    finally:
        PROCESS.settings, PROCESS.tracer, PROCESS.is_open = before

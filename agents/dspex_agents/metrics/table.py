"""Every metric there is: name, kind, labels, unit and meaning. Code and documents read this table."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["gauge", "counter"]
OTHER = "other"
"""Label value that stands for all values beyond the most that a label may have."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: counters end in `_total`, and a unit other than a plain count is in the name."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    unit: str
    help: str


@dataclass(frozen=True, slots=True)
class Label:
    """One label and the most values it may have for one system; further ones become `other`."""

    name: str
    most: int | None
    help: str


LABELS = (
    Label("system", None, "the system's name"),
    Label("supervisor", 100, "id of the supervisor right above the agents"),
    Label("kind", 100, "class of the agents, `unknown` before the first figures"),
    Label(
        "status", 20, "idle, processing, paused; without figures starting, running, backoff, stopping, stopped, ended"
    ),
    Label("host_group", 50, "group of the host processes; `own` for all that serve a single agent"),
    Label("outcome", 3, "handled, failed, rejected"),
    Label("state", 5, "new, starting, running, stopping, stopped"),
)

_AGENTS = ("system", "supervisor", "kind")

METRICS = (
    Metric("dspex_up", "gauge", ("system",), "", "1 if the system told its figures in time, 0 if not."),
    Metric("dspex_scrape_duration_seconds", "gauge", ("system",), "seconds", "How long the system took to tell them."),
    Metric("dspex_agents", "gauge", (*_AGENTS, "status"), "", "Agents by status."),
    Metric("dspex_agent_restarts_total", "counter", _AGENTS, "", "Restarts of agents by their supervisors."),
    Metric("dspex_messages_total", "counter", (*_AGENTS, "outcome"), "", "Messages that agents were done with."),
    Metric("dspex_mailbox_messages", "gauge", _AGENTS, "", "Messages waiting in mailboxes."),
    Metric("dspex_mailbox_capacity", "gauge", _AGENTS, "", "Messages that the mailboxes can hold."),
    Metric("dspex_messages_in_flight", "gauge", _AGENTS, "", "Messages being handled."),
    Metric("dspex_busy_seconds_total", "counter", _AGENTS, "seconds", "Time spent on messages, summed over agents."),
    Metric(
        "dspex_oldest_message_age_seconds",
        "gauge",
        _AGENTS,
        "seconds",
        "Longest time for which a message in hand has shown no progress; 0 without one.",
    ),
    Metric("dspex_host_processes", "gauge", ("system", "host_group"), "", "Host processes with agents."),
    Metric("dspex_host_agents", "gauge", ("system", "host_group"), "", "Agents living in those processes."),
    Metric("dspex_host_memory_bytes", "gauge", ("system", "host_group"), "bytes", "Resident memory of them."),
    Metric("dspex_dead_letters", "gauge", ("system",), "", "Messages that came to nothing and are kept."),
    Metric(
        "dspex_supervisor_state",
        "gauge",
        ("system", "supervisor", "state"),
        "",
        "1 for the state the supervisor is in, 0 for the others; the sum where supervisors share `other`.",
    ),
    Metric(
        "dspex_supervisor_restarts_total",
        "counter",
        ("system", "supervisor"),
        "",
        "Restarts of the supervisor itself by the one above it.",
    ),
)

SUPERVISOR_STATES = ("new", "starting", "running", "stopping", "stopped")


def metrics_markdown() -> str:
    """Return the table of metrics and that of labels as docs/metrics.md shows them."""
    metrics = (
        (f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.unit or "count", m.help)
        for m in METRICS
    )
    labels = ((f"`{label.name}`", str(label.most or "-"), label.help) for label in LABELS)
    return "\n".join(
        (
            _table(("metric", "kind", "labels", "unit", "meaning"), metrics),
            _table(("label", "most values", "meaning"), labels),
        )
    )


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (header, ("---",) * len(header), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(metrics_markdown())

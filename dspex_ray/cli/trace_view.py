"""How `dspex trace` shows spans: a table whose first column is the tree, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from dspex_ray.tracing.lookup import FoundTrace
from dspex_ray.tracing.tree import SpanNode

_CONTENT = (
    ("in", "gen_ai.input.messages"),
    ("out", "gen_ai.output.messages"),
    ("arguments", "gen_ai.tool.call.arguments"),
    ("result", "gen_ai.tool.call.result"),
)
_MOST_SHOWN = 2_000
_OPERATIONS = ("invoke_workflow ", "execute_tool ")


def as_table(roots: Sequence[SpanNode], *, content: bool) -> Table:
    """Return the trees as a table for a terminal; with `content`, spans that `said` tells of have its numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("span", overflow="fold")
    for title in ("time", "self", "tokens", "cost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("outcome", overflow="fold")
    numbers = {id(node): number for number, node in enumerate(_speaking(roots), 1)} if content else {}
    for root in roots:
        _add(table, root, ("", ""), numbers)
    return table


def _add(table: Table, node: SpanNode, marks: tuple[str, str], numbers: Mapping[int, int]) -> None:
    """Add a node and those below it; `marks` stand before its own line and before theirs."""
    first, rest = marks
    number = f" [bold]#{numbers[id(node)]}[/bold]" if id(node) in numbers else ""
    table.add_row(f"[dim]{first}[/dim]{_label(node)}{number}", *_figures(node), _outcome(node))
    for index, child in enumerate(node.children):
        is_last = index == len(node.children) - 1 and not node.hidden
        mark, on = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        _add(table, child, (rest + mark, rest + on), numbers)
    if node.hidden:
        table.add_row(f"[dim]{rest}└─ {node.hidden:,} more[/dim]")


def said(roots: Sequence[SpanNode]) -> Iterator[str]:
    """Yield what was said in each span that kept it, under its number in the table."""
    for number, node in enumerate(_speaking(roots), 1):
        yield f"\n#{number} {_printable(node.name)}"
        for title, key in _CONTENT:
            if (value := node.attributes.get(key)) is not None:
                text = _printable(_readable(str(value)))
                yield f"{title}: {text[:_MOST_SHOWN]}{'' if len(text) <= _MOST_SHOWN else ' ...'}"


def _speaking(nodes: Sequence[SpanNode]) -> Iterator[SpanNode]:
    for node in nodes:
        if any(key in node.attributes for _, key in _CONTENT):
            yield node
        yield from _speaking(node.children)


def _label(node: SpanNode) -> str:
    if node.record is None:
        return f"[bold]{escape(node.name)}[/bold]"
    name = node.name
    for operation in _OPERATIONS:
        name = name.replace(operation, "", 1)
    place = node.attributes.get("dspex.place")
    return escape(_printable(name)) + (f" [dim]{escape(_printable(str(place)))}[/dim]" if place else "")


def _figures(node: SpanNode) -> tuple[str, str, str, str]:
    tokens = f"{node.tokens_in:,} + {node.tokens_out:,}" if node.tokens_in or node.tokens_out else ""
    cost = f"${node.cost_usd:.4f}" if node.cost_usd else ""
    return seconds(node.duration_s), "" if node.record is None else seconds(node.self_s), tokens, cost


def _outcome(node: SpanNode) -> str:
    found = node.attributes
    told = []
    if node.record is not None and node.is_failed:
        kind, text = str(found.get("error.type", "failed")), str(found.get("dspex.error", ""))
        text = text.removeprefix(f"{kind}: ")
        told.append(f"[red]{escape(_printable(f'{kind}: {text[:200]}' if text else kind))}[/red]")
    elif node.record is None and node.errors:
        told.append(f"[red]{node.errors:,} failed[/red]")
    if found.get("dspex.cached"):
        told.append("[dim]cached[/dim]")
    attempts = found.get("dspex.attempts")
    if isinstance(attempts, int) and attempts > 1:
        told.append(f"[dim]{attempts} attempts[/dim]")
    return ", ".join(told)


def _printable(text: str) -> str:
    """Return text without control characters: a model's reply must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _readable(value: str) -> str:
    """Return messages as `role: text` lines, anything else as it is."""
    try:
        messages = json.loads(value)
        lines = [
            f"{message['role']}: {part.get('content', '<' + part['type'] + '>')}"
            for message in messages
            for part in message["parts"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):  # not messages, or cut off
        return value
    return "\n".join(lines)


def seconds(value: float) -> str:
    """Return a duration with a unit that suits it."""
    if value < 0.001:  # noqa: PLR2004 - a thousandth
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.1f} s" if value < 600 else f"{value / 60:.0f} min"  # noqa: PLR2004 - ten minutes


def notes(found: FoundTrace, roots: Sequence[SpanNode], *, content: bool) -> Iterator[str]:
    """Return what has to be said below the table."""
    calls, unpriced = sum(root.calls for root in roots), sum(root.unpriced for root in roots)
    counted = f"{found.total:,} span{'s' * (found.total != 1)}, {calls:,} model call{'s' * (calls != 1)}"
    yield counted + (f", {unpriced:,} without a known price" if unpriced else "")
    if found.source == "ledger":
        yield "No spans were kept of it: this is made of the ledger's model calls. DSPEX_TRACE=store keeps spans."
    elif len(found.spans) < found.total:
        yield f"Only the first {len(found.spans):,} of its {found.total:,} spans were read."
    if content and not any(key in span.attributes for span in found.spans for _, key in _CONTENT):
        yield "What was said was not kept of it."


def as_json(nodes: Sequence[SpanNode]) -> list[dict[str, Any]]:
    """Return the trees as JSON objects; times are ISO 8601 in UTC, durations seconds."""
    return [_flat(node) | {"children": as_json(node.children)} for node in nodes]


def _flat(node: SpanNode) -> dict[str, Any]:
    record = node.record
    found = {
        "name": node.name,
        "start": datetime.fromtimestamp(node.start_ns / 1e9, UTC).isoformat(),
        "duration_s": node.duration_s,
        "self_s": node.self_s,
        "status": "error" if node.is_failed else "ok",
        "calls": node.calls,
        "tokens_in": node.tokens_in,
        "tokens_out": node.tokens_out,
        "cost_usd": node.cost_usd,
        "unpriced": node.unpriced,
        "hidden": node.hidden,
    }
    if record is None:
        return found
    ids = {"trace_id": record.trace_id, "span_id": record.span_id, "parent_id": record.parent_id, "kind": record.kind}
    return ids | found | {"attributes": dict(record.attributes)}

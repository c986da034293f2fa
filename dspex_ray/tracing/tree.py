"""Spans as a tree: who called whom, how long each took by itself, and what each cost with all below it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspex_ray.store.spans import SpanRecord

_GROUPS = ("dspex.trial", "dspex.row")
_FIGURES = ("tokens_in", "tokens_out", "cost_usd", "calls", "unpriced")


@dataclass(slots=True)
class SpanNode:
    """One span, or a group of them (`record` is None). Times are nanoseconds since the epoch.

    Tokens and cost are those of the model calls in and below it; `cost_usd` leaves out calls without a known price,
    which are counted in `unpriced`. `self_s` is the time during which none of its children ran, in seconds; 0 for a
    group. `hidden` is how many spans below it a selection has left out.
    """

    name: str
    start_ns: int
    end_ns: int
    record: SpanRecord | None = None
    children: list[SpanNode] = field(default_factory=list)
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    calls: int = 0
    unpriced: int = 0
    self_s: float = 0.0
    errors: int = 0
    hidden: int = 0

    @property
    def duration_s(self) -> float:
        """From its start to its end, in seconds."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def is_failed(self) -> bool:
        """Whether the work itself failed; a group does when something in it did."""
        return self.errors > 0 if self.record is None else self.record.status == "error"

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes of the span; none for a group."""
        return {} if self.record is None else self.record.attributes

    def size(self) -> int:
        """Return how many spans there are in and below it."""
        return (self.record is not None) + sum(child.size() for child in self.children)


def _own_s(node: SpanNode) -> float:
    covered, reached = 0, node.start_ns
    for child in sorted(_spans_of(node.children), key=lambda one: one.start_ns):
        start, end = max(reached, child.start_ns), min(child.end_ns, node.end_ns)
        if end > start:
            covered, reached = covered + end - start, end
    return (node.end_ns - node.start_ns - covered) / 1e9


def _spans_of(nodes: Iterable[SpanNode]) -> Iterator[SpanNode]:
    """Yield the nodes, and in place of a group what is in it."""
    for node in nodes:
        if node.record is None:
            yield from _spans_of(node.children)
        else:
            yield node


def span_trees(records: Iterable[SpanRecord]) -> list[SpanNode]:
    """Return the roots, in the order they began: spans whose parent is not among them, groups of trials and rows."""
    nodes = {record.span_id: _node(record) for record in records}
    roots: list[SpanNode] = []
    for node in sorted(nodes.values(), key=_began):
        parent = nodes.get(node.record.parent_id or "") if node.record is not None else None
        (roots if parent is None else parent.children).append(node)
    grouped = _grouped(roots, {})
    for root in grouped:
        _sum_up(root)
    return grouped


def _node(record: SpanRecord) -> SpanNode:
    node = SpanNode(record.name, record.start_ns, record.end_ns, record)
    found = record.attributes
    if found.get("gen_ai.operation.name") == "chat":
        node.calls = 1
        node.tokens_in = int(found.get("gen_ai.usage.input_tokens") or 0)
        node.tokens_out = int(found.get("gen_ai.usage.output_tokens") or 0)
        cost, answered = found.get("dspex.cost_usd"), "gen_ai.usage.input_tokens" in found
        node.cost_usd = float(cost or 0.0)
        node.unpriced = int(cost is None and answered and not found.get("dspex.cached"))
    return node


def _began(node: SpanNode) -> tuple[int, str]:
    return node.start_ns, "" if node.record is None else node.record.span_id


def _grouped(nodes: Sequence[SpanNode], known: Mapping[str, Any]) -> list[SpanNode]:
    """Put siblings of one trial, and of one row, under a node of their own, if what is above does not say which.

    One that is alone has it before its name instead.
    """
    for key in _GROUPS:
        if key not in known and any(key in node.attributes for node in nodes):
            return _by(nodes, key, known)
    for node in nodes:
        node.children = _grouped(node.children, {**known, **_named(node.attributes)})
    return list(nodes)


def _by(nodes: Sequence[SpanNode], key: str, known: Mapping[str, Any]) -> list[SpanNode]:
    groups: dict[Any, list[SpanNode]] = {}
    for node in nodes:
        groups.setdefault(node.attributes.get(key), []).append(node)
    found: list[SpanNode] = []
    for value, members in groups.items():
        inner = _grouped(members, {**known, key: value})
        name = f"{key.removeprefix('dspex.')} {value}"
        if value is None:
            found += inner
        elif len(inner) == 1:
            inner[0].name = f"{name}: {inner[0].name}"
            found += inner
        else:
            ends = max(node.end_ns for node in inner)
            found.append(SpanNode(name, min(node.start_ns for node in inner), ends, children=inner))
    return sorted(found, key=_began)


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: attributes[key] for key in _GROUPS if key in attributes}


def _sum_up(node: SpanNode) -> None:
    """Add the figures of what is below to each node."""
    node.self_s = 0.0 if node.record is None else _own_s(node)
    node.errors = int(node.record is not None and node.record.status == "error")
    for child in node.children:
        _sum_up(child)
        for figure in (*_FIGURES, "errors"):
            setattr(node, figure, getattr(node, figure) + getattr(child, figure))


def selected(roots: Sequence[SpanNode], limit: int, *, errors: bool = False, slowest: bool = False) -> list[SpanNode]:
    """Return copies of the trees with at most `limit` nodes, the upper ones first; with `errors` the failed branches.

    Siblings stand in the order they began, or, with `slowest`, the longest first.
    """

    def order(nodes: Iterable[SpanNode]) -> list[SpanNode]:
        kept = [node for node in nodes if not errors or node.errors]
        return sorted(kept, key=lambda node: -node.duration_s) if slowest else kept

    found: list[SpanNode] = []
    waiting: deque[tuple[SpanNode, list[SpanNode], SpanNode | None]] = deque((n, found, None) for n in order(roots))
    left = limit
    while waiting:
        node, into, parent = waiting.popleft()
        if left <= 0:
            if parent is not None:
                parent.hidden += node.size()
            continue
        left -= 1
        copy = _copied(node)
        into.append(copy)
        waiting.extend((child, copy.children, copy) for child in order(node.children))
    return found


def _copied(node: SpanNode) -> SpanNode:
    figures: dict[str, Any] = {name: getattr(node, name) for name in _FIGURES}
    return SpanNode(
        node.name, node.start_ns, node.end_ns, node.record, self_s=node.self_s, errors=node.errors, **figures
    )

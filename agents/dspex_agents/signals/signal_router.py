"""`SignalRouter`: which targets a signal's type reaches, by patterns with wildcards, in one order for every run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dspex_agents.errors import SpecError

Target = TypeVar("Target")
ANY, ANY_NUMBER = "*", "**"
MAX_PRIORITY = 100
_REMEMBERED_TYPES = 4096


class PatternError(SpecError):
    """A pattern that cannot be used; `pattern` is it, `problem` says what would be right."""

    def __init__(self, pattern: str, problem: str) -> None:
        super().__init__(pattern, problem)
        self.pattern, self.problem = pattern, problem

    def __str__(self) -> str:
        return f"Pattern {self.pattern!r} {self.problem}"


def parse_pattern(pattern: str) -> tuple[str, ...]:
    """Return the segments of a dotted pattern: text, `*` (any one segment) or `**` (any number, also none).

    Raises PatternError.
    """
    if not isinstance(pattern, str):
        raise PatternError(repr(pattern), "must be text such as 'order.*.paid'.")
    segments = tuple(pattern.split("."))
    for position, segment in enumerate(segments, start=1):
        if not segment:
            raise PatternError(pattern, f"has nothing in segment {position}; write 'order.paid', without stray dots.")
        if ANY in segment and segment not in {ANY, ANY_NUMBER}:
            raise PatternError(pattern, f"has {segment!r}: a wildcard fills a whole segment, '*' or '**'.")
        if segment == ANY_NUMBER and segments[position : position + 1] == (ANY_NUMBER,):
            raise PatternError(pattern, "has '**' twice in a row; once means the same.")
    return segments


@dataclass(frozen=True, slots=True)
class SignalRoute(Generic[Target]):
    """Signals whose type fits `pattern` reach `target`. A higher `priority` (-100 to 100) comes first."""

    pattern: str
    target: Target
    priority: int = 0

    def __post_init__(self) -> None:
        parse_pattern(self.pattern)
        if isinstance(self.priority, bool) or not isinstance(self.priority, int):
            raise PatternError(self.pattern, f"has the priority {self.priority!r}; it must be a whole number.")
        if abs(self.priority) > MAX_PRIORITY:
            raise PatternError(self.pattern, f"has the priority {self.priority}; it must be from -100 to 100.")


class _Node:
    __slots__ = ("any", "any_number", "literals", "loops", "routes")

    def __init__(self, *, loops: bool = False) -> None:
        self.literals: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.any_number: _Node | None = None
        self.loops = loops
        self.routes: list[int] = []


class SignalRouter(Generic[Target]):
    """An immutable table of routes, compiled into a trie that is walked as an automaton: no backtracking.

    Order of a match: higher priority; then the more specific pattern (fewer `**`, fewer `*`, more text); then the
    order in which the routes were given. Types seen before are answered from a bounded memory.
    """

    def __init__(self, routes: Iterable[SignalRoute[Target]] = ()) -> None:
        self.routes = tuple(routes)
        ranked = sorted(enumerate(self.routes), key=lambda pair: (*_rank(pair[1]), pair[0]))
        self._ordered = tuple(route for _, route in ranked)
        self._root = _Node()
        self._known: dict[str, tuple[SignalRoute[Target], ...]] = {}
        for position, route in enumerate(self._ordered):
            self._insert(route.pattern, position)

    def match(self, type_: str) -> tuple[SignalRoute[Target], ...]:
        """Return every route that the type fits, in order."""
        known = self._known.get(type_)
        if known is None:
            known = tuple(self._ordered[position] for position in sorted(self._positions(type_)))
            if len(self._known) >= _REMEMBERED_TYPES:
                self._known.clear()
            self._known[type_] = known
        return known

    def _insert(self, pattern: str, position: int) -> None:
        node = self._root
        for segment in parse_pattern(pattern):
            if segment == ANY:
                node.any = following = node.any or _Node()
            elif segment == ANY_NUMBER:
                node.any_number = following = node.any_number or _Node(loops=True)
            else:
                following = node.literals.setdefault(segment, _Node())
            node = following
        node.routes.append(position)

    def _positions(self, type_: str) -> list[int]:
        states = _reached([self._root])
        for segment in type_.split("."):
            following: list[_Node] = []
            for node in states:
                if node.loops:
                    following.append(node)
                if (literal := node.literals.get(segment)) is not None:
                    following.append(literal)
                if node.any is not None:
                    following.append(node.any)
            states = _reached(following)
        return [position for node in states for position in node.routes]


def _reached(nodes: list[_Node]) -> dict[_Node, None]:
    """Return the nodes, each once, with those that `**` reaches by standing for nothing."""
    reached = dict.fromkeys(nodes)
    for node in nodes:
        if node.any_number is not None:
            reached[node.any_number] = None
    return reached


def _rank(route: SignalRoute[Target]) -> tuple[int, int, int, int]:
    segments = parse_pattern(route.pattern)
    many, one = segments.count(ANY_NUMBER), segments.count(ANY)
    return -route.priority, many, one, -(len(segments) - many - one)

"""The order in which variables get their values: what they depend on comes first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from dspex_coordination.space.violation import Violation, space_error


def dependency_order(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return `names` with everything that a name needs before it, otherwise as given (Kahn, 1962).

    Raises SpaceError that shows every name of a circle if there is one.
    """
    rank = {name: position for position, name in enumerate(names)}
    users: dict[str, list[str]] = {name: [] for name in names}
    open_needs = {name: set(needs[name]) for name in names}
    for name, needed in open_needs.items():
        for other in needed:
            users[other].append(name)
    ready = [rank[name] for name in names if not open_needs[name]]
    ordered: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        ordered.append(name)
        for user in users[name]:
            open_needs[user].discard(name)
            if not open_needs[user]:
                heapq.heappush(ready, rank[user])
    if len(ordered) < len(names):
        raise _circle([name for name in names if open_needs[name]], needs)
    return tuple(ordered)


def _circle(stuck: Sequence[str], needs: Mapping[str, Sequence[str]]) -> Exception:
    path = [stuck[0]]
    while True:  # every stuck name needs another stuck one, so the walk must meet itself
        following = next(name for name in needs[path[-1]] if name in stuck)
        if following in path:
            circle = [*path[path.index(following) :], following]
            break
        path.append(following)
    shown = " -> ".join(circle)
    message = f"Variables depend on each other in a circle: {shown}; each needs the next one's value first."
    return space_error("This space cannot be built", [Violation(tuple(circle[:-1]), message)])

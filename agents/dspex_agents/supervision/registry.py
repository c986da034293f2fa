"""Who is in a system and what each can do: registrations, indexed by capability, health, node and partition."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

from dspex_agents.errors import SpecError, UnknownAgentError
from dspex_agents.supervision.load_order import LoadOrder
from dspex_agents.supervision.query import Criterion, Operator, Query
from dspex_agents.supervision.registration import (
    HEALTHS,
    Health,
    Registration,
    check_metadata,
    check_registration,
    checked_changes,
    is_amount,
)

__all__ = ["Criterion", "Health", "Operator", "Query", "Registration", "Registry", "RegistrySummary"]

_Index = Literal["capability", "health", "node", "partition"]
_MOST_EARLY = 100_000


@dataclass(frozen=True, slots=True)
class RegistrySummary:
    """The whole registry in figures. `idle` agents have no load, `overloaded` ones more than they may have in hand.

    `resources` is what all have to offer together.
    """

    agents: int
    by_health: Mapping[Health, int]
    by_node: Mapping[str, int]
    by_partition: Mapping[str, int]
    mean_load: float
    max_load: float
    idle: int
    overloaded: int
    resources: Mapping[str, float]


class Registry:
    """The registrations of one system. Pure: whoever runs it says who came, went and changed.

    Of several incarnations only the latest counts: what an older one says is ignored. A change costs the same however
    many agents there are, a search as much as it finds (one that is not narrowed by an index looks at everybody).
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Registration] = {}
        self._index: dict[tuple[_Index, str], set[str]] = {}
        self._order = LoadOrder()
        self._early: dict[str, tuple[int, dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_name.values())

    # changes ------------------------------------------------------------------------------------------------------
    def add(self, registration: Registration) -> bool:
        """Take a registration in, with the changes that its agent made while it started. False: it is an older one.

        Raises SpecError naming every bad field.
        """
        check_registration(registration)
        known = self._by_name.get(registration.name)
        if known is not None and known.epoch > registration.epoch:
            return False
        epoch, changes = self._early.pop(registration.name, (registration.epoch, {}))
        if epoch > registration.epoch:
            self._early[registration.name] = (epoch, changes)
        elif epoch == registration.epoch and changes:
            registration = registration.changed(changes)
        self._put(known, registration)
        return True

    def add_all(self, registrations: Iterable[Registration]) -> int:
        """Take many in and return how many are new or newer. Raises SpecError before the first when one is bad."""
        every = tuple(registrations)
        for registration in every:
            check_registration(registration)
        return sum(map(self.add, every))

    def remove(self, name: str, epoch: int) -> bool:
        """Take this incarnation out, and those before it. False when there is none, or only a later one."""
        if name in self._early and self._early[name][0] <= epoch:
            del self._early[name]
        known = self._by_name.get(name)
        if known is None or known.epoch > epoch:
            return False
        del self._by_name[name]
        self._order.remove(name)
        self._reindex(known, None)
        return True

    def update(self, name: str, epoch: int, changes: Mapping[str, Any]) -> bool:
        """Change what an agent says of itself: `health`, `capabilities`, `resources`; `metadata` is merged in.

        What it is registered with cannot be overwritten or removed otherwise. An agent that is not registered yet
        (it is in its `on_start`) gets the changes when it is. False: it is an older incarnation, nothing was done.
        Raises SpecError naming all bad fields, and UnknownAgentError when 100,000 others wait to be registered: then
        nothing was done either.
        """
        good = checked_changes(name, changes)
        known = self._by_name.get(name)
        if known is not None and known.epoch >= epoch:
            if known.epoch > epoch:
                return False
            after = known.changed(good)
            check_metadata(name, after.metadata)
            self._put(known, after)
            return True
        return self._keep_early(name, epoch, good)

    def set_load(self, name: str, load: float) -> bool:
        """Note an agent's load. False when it is not registered. Raises SpecError for one that is no amount."""
        if not is_amount(load):
            raise SpecError(f"load of {name!r} must be a finite number, at least 0, got {load!r}.")
        known = self._by_name.get(name)
        if known is None:
            return False
        if known.load != load:
            self._by_name[name] = known.loaded(load)
            self._order.set(name, load)
        return True

    # questions ----------------------------------------------------------------------------------------------------
    def lookup(self, name: str) -> Registration | None:
        """Return the registration of this name."""
        return self._by_name.get(name)

    def find(self, query: Query) -> tuple[Registration, ...]:
        """Return those that have all that is asked for: least loaded first, ties by name."""
        narrowed = self._narrowest(query)
        everyone, limit = len(self._by_name), query.limit
        names = self._by_name if narrowed is None else narrowed
        if limit is not None and limit * everyone < len(names) ** 2:  # many fit: the first few come by soon
            steps = everyone if narrowed is None else len(names)
            in_order = (self._by_name[name] for name in islice(self._order, steps))
            found = tuple(islice(filter(query.fits, in_order), limit))
            if len(found) == limit or narrowed is None:
                return found
        fitting = (r for name in names if (r := self._by_name.get(name)) is not None and query.fits(r))
        return tuple(sorted(fitting, key=_by_load) if limit is None else heapq.nsmallest(limit, fitting, key=_by_load))

    def count_by_capability(self) -> dict[str, int]:
        """Return how many agents have each capability."""
        return self._counts("capability")

    def summary(self) -> RegistrySummary:
        """Return the whole in figures: health, places, how loaded all are, what they offer."""
        loads = [r.load for r in self._by_name.values()]
        resources: dict[str, float] = {}
        for registration in self._by_name.values():
            for name, amount in registration.resources.items():
                resources[name] = resources.get(name, 0.0) + amount
        return RegistrySummary(
            agents=len(loads),
            by_health={health: len(self._index.get(("health", health), ())) for health in HEALTHS},
            by_node=self._counts("node"),
            by_partition=self._counts("partition"),
            mean_load=sum(loads) / len(loads) if loads else 0.0,
            max_load=max(loads, default=0.0),
            idle=loads.count(0),
            overloaded=sum(load > 1 for load in loads),
            resources=resources,
        )

    # indexes ------------------------------------------------------------------------------------------------------
    def _put(self, before: Registration | None, after: Registration) -> None:
        self._by_name[after.name] = after
        if before is None or before.load != after.load:
            self._order.set(after.name, after.load)
        self._reindex(before, after)

    def _reindex(self, before: Registration | None, after: Registration | None) -> None:
        old, new = _keys(before), _keys(after)
        if old == new:
            return
        name = (after or before).name  # type: ignore[union-attr]  # one of them is there
        for key in old - new:
            self._index[key].discard(name)
            if not self._index[key]:
                del self._index[key]
        for key in new - old:
            self._index.setdefault(key, set()).add(name)

    def _narrowest(self, query: Query) -> set[str] | None:
        """Return the fewest names among which all that fit are, or None when no index narrows them."""
        keys: list[tuple[_Index, str]] = [("capability", capability) for capability in query.capabilities]
        if query.node is not None:
            keys.append(("node", query.node))
        if query.partition is not None:
            keys.append(("partition", query.partition))
        sets = [self._index.get(key, set()) for key in keys]
        sets += [names for criterion in query.where if (names := _names_of(criterion)) is not None]
        if query.health is not None:
            good = [self._index.get(("health", h), set()) for h in HEALTHS[: HEALTHS.index(query.health) + 1]]
            if 2 * sum(map(len, good)) < min(map(len, sets), default=len(self._by_name)):  # else not worth a new set
                sets.append(set(chain.from_iterable(good)))
        return min(sets, key=len, default=None)

    def _counts(self, index: _Index) -> dict[str, int]:
        return {value: len(names) for (kind, value), names in self._index.items() if kind == index}

    def _keep_early(self, name: str, epoch: int, changes: dict[str, Any]) -> bool:
        kept_epoch, kept = self._early.get(name, (epoch, {}))
        if kept_epoch > epoch:
            return False
        if name not in self._early and len(self._early) >= _MOST_EARLY:
            raise UnknownAgentError(f"Agent {name!r} is not registered yet, and neither are {_MOST_EARLY} before it.")
        before = kept if kept_epoch == epoch else {}
        metadata = {**before.get("metadata", {}), **changes.get("metadata", {})}
        check_metadata(name, metadata)
        self._early[name] = (epoch, {**before, **changes, **({"metadata": metadata} if metadata else {})})
        return True


def _by_load(registration: Registration) -> tuple[float, str]:
    return registration.load, registration.name


def _keys(registration: Registration | None) -> frozenset[tuple[_Index, str]]:
    if registration is None:
        return frozenset()
    capabilities: list[tuple[_Index, str]] = [("capability", capability) for capability in registration.capabilities]
    places: list[tuple[_Index, str]] = [("node", registration.node), ("partition", registration.partition)]
    return frozenset([*capabilities, ("health", registration.health), *places])


def _names_of(criterion: Criterion) -> set[str] | None:
    """Return the names that a condition on the name itself leaves over."""
    if criterion.path != "name" or criterion.operator not in ("eq", "in"):
        return None
    wanted = [criterion.value] if criterion.operator == "eq" else criterion.value
    return {name for name in wanted if isinstance(name, str)}

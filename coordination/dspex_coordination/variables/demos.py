"""`Demos`: which examples of a pool a program shows as demonstrations."""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, Unpack

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import VariableError
from dspex_coordination.variables.base import Scale, Variable
from dspex_coordination.variables.checks import integer
from dspex_coordination.variables.links import Links
from dspex_coordination.variables.moves import checked_strength, neighbour

SELECT_MODES = ("fixed", "nearest")
_DEFAULT_NEAREST = 8
_REORDER = 0.5  # chance that a mutation of given demonstrations keeps them all
_MODE_CHANGE = 0.25  # chance that a mutation of full strength changes the mode


class Demos(Variable[dict[str, Any]]):
    """Either a fixed, ordered set of example ids or the k nearest of the whole pool for each input.

    A value is JSON: `{"select": "fixed", "ids": [...]}` or `{"select": "nearest", "k": 8}`; `max` bounds both the
    number of ids and k. Demonstrations that are in no pool, since a program made them, stand in the value itself:
    `{"select": "given", "demos": [{"input": {...}, "output": {...}, "of": id}]}`; `of` names the example whose question
    it is, None for no example. Such values are never drawn.

    The pool of ids is data, not definition: `bind` gives it for one search, and it is no part of the JSON form. Without
    a pool, ids are not checked and `sample` gives the default (the empty set).
    """

    kind: ClassVar[str] = "demos"

    def __init__(
        self,
        *,
        max: int = 16,  # noqa: A002 - the public name
        select: Sequence[str] = SELECT_MODES,
        default: Mapping[str, Any] | None = None,
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        self.max = integer(max, "Demos: max")
        if self.max < 0:
            raise VariableError(f"Demos: max must be at least 0, got {self.max}.")
        self.select = self._checked_select(select)
        self.pool: tuple[str, ...] | None = None
        self.labels: tuple[str, ...] | None = None
        self.default = self._empty() if default is None else self._checked_default(default)

    def _checked_select(self, select: Any) -> tuple[str, ...]:
        known = " and ".join(repr(mode) for mode in SELECT_MODES)
        if isinstance(select, str) or not isinstance(select, Sequence) or not select:
            raise VariableError(f"Demos: select must be a non-empty list out of {known}, got {select!r}.")
        for mode in select:
            if mode not in SELECT_MODES:
                raise VariableError(f"Demos: unknown select mode {mode!r}; the modes are {known}.")
        if len(set(select)) < len(select):
            raise VariableError(f"Demos: select repeats a mode, got {select!r}.")
        if self.max == 0 and "fixed" not in select:
            raise VariableError("Demos: max=0 leaves nothing to select; 'nearest' needs max of at least 1.")
        return tuple(select)

    def _empty(self) -> dict[str, Any]:
        if "fixed" in self.select:
            return {"select": "fixed", "ids": []}
        return {"select": "nearest", "k": min(_DEFAULT_NEAREST, self.max)}

    @property
    def allows_nearest(self) -> bool:
        """Whether "nearest" with some k is a value of this variable."""
        return "nearest" in self.select and self.max >= 1

    def bind(self, ids: Sequence[str], labels: Sequence[str] | None = None) -> Self:
        """Return this variable with a pool of example ids and, if known, the label of each.

        Raises VariableError for an id that is no text or occurs twice, or labels of another length.
        """
        pool = tuple(ids)
        if any(not isinstance(one, str) for one in pool):
            raise VariableError(f"{self.label}: the ids of the pool must be text.")
        if len(set(pool)) < len(pool):
            repeated = next(one for position, one in enumerate(pool) if one in pool[:position])
            raise VariableError(f"{self.label}: the pool holds the id {repeated!r} twice.")
        if labels is not None and len(labels) != len(pool):
            raise VariableError(f"{self.label}: {len(pool)} ids need as many labels, got {len(labels)}.")
        twin = copy.copy(self)
        vars(twin).update(pool=pool, labels=None if labels is None else tuple(labels), _known=frozenset(pool))
        return twin

    def validate(self, value: Any) -> dict[str, Any]:
        """Return a fresh dict with `select` and `ids` or `k`; with a pool bound, every id must be in it."""
        mode = value.get("select") if isinstance(value, Mapping) else None
        if mode == "fixed" and set(value) == {"select", "ids"} and mode in self.select:
            return {"select": "fixed", "ids": self._checked_ids(value["ids"])}
        if mode == "given" and set(value) == {"select", "demos"}:
            return {"select": "given", "demos": self._checked_demos(value["demos"])}
        if mode == "nearest" and set(value) == {"select", "k"} and mode in self.select:
            k = integer(value["k"], f"{self.label}: k")
            if not 1 <= k <= self.max:
                raise self._reject(value, f"k from 1 to {self.max}")
            return {"select": "nearest", "k": k}
        forms = {"fixed": "{'select': 'fixed', 'ids': [...]}", "nearest": "{'select': 'nearest', 'k': 4}"}
        raise self._reject(value, " or ".join(forms[one] for one in self.select))

    def _checked_demos(self, demos: Any) -> list[dict[str, Any]]:
        if isinstance(demos, str) or not isinstance(demos, Sequence):
            raise self._reject(demos, "a list of demonstrations")
        if len(demos) > self.max:
            raise VariableError(f"{self.label}: {len(demos)} demonstrations are more than max={self.max}.")
        made = []
        for one in demos:
            is_whole = isinstance(one, Mapping) and set(one) == {"input", "output", "of"}
            if not is_whole or not all(isinstance(one[side], Mapping) for side in ("input", "output")):
                raise self._reject(one, "{'input': {...}, 'output': {...}, 'of': id or None} for each demonstration")
            made.append({"input": dict(one["input"]), "output": dict(one["output"]), "of": one["of"]})
        return made

    def _checked_ids(self, ids: Any) -> list[str]:
        if isinstance(ids, str) or not isinstance(ids, Sequence) or any(not isinstance(one, str) for one in ids):
            raise self._reject(ids, "ids as a list of text")
        if len(ids) > self.max:
            raise VariableError(f"{self.label}: {len(ids)} ids are more than max={self.max}.")
        if len(set(ids)) < len(ids):
            raise self._reject(ids, "every id once")
        if self.pool is not None:
            known: frozenset[str] = vars(self)["_known"]
            strangers = [one for one in ids if one not in known]
            if strangers:
                raise self._reject(strangers, "ids of examples in the training data")
        return list(ids)

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Draw the mode evenly, then 1 to max ids of the pool or a k spread evenly in the logarithm."""
        if not self.pool or self.max == 0:
            return dict(self.default)
        if rng.choice(self.select) == "nearest":
            return {"select": "nearest", "k": min(self.max, int(math.exp(rng.uniform(0, math.log(self.max + 1)))))}
        count = rng.randint(1, min(self.max, len(self.pool)))
        return {"select": "fixed", "ids": rng.sample(self.pool, count)}

    @property
    def scale(self) -> Scale:
        """Structured: sets lie on no axis."""
        return "structured"

    def mutate(self, value: dict[str, Any], rng: random.Random, strength: float) -> dict[str, Any]:
        """Add, drop, swap or reorder ids, change k, or now and then the mode; all more often for a larger `strength`.

        Without a pool there is nothing to draw from: the value comes back.
        """
        checked_strength(strength, self.label)
        old = self.validate(value)
        if old["select"] == "given":
            return self._fewer(old, rng)
        if not self.pool or self.max == 0:
            return old
        new = old
        for _ in range(1 + int(rng.random() * strength * len(old.get("ids", ())))):
            new = self._moved(new, rng, strength)
        return new if new != old else self._moved(old, rng, strength)  # one move alone always changes something

    def _fewer(self, value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        """Leave one out, or reorder two; of the last one go back to what is drawn."""
        demos = list(value["demos"])
        if len(demos) < 2:  # noqa: PLR2004 - two can change places
            return self.sample(rng)
        first, second = rng.sample(range(len(demos)), 2)
        if rng.random() < _REORDER:
            demos[first], demos[second] = demos[second], demos[first]
        else:
            del demos[first]
        return {"select": "given", "demos": demos}

    def _moved(self, value: dict[str, Any], rng: random.Random, strength: float) -> dict[str, Any]:
        others = [mode for mode in self.select if mode != value["select"]]
        nearest_only = value["select"] == "nearest" and self.max == 1
        if others and (nearest_only or rng.random() < strength * _MODE_CHANGE):
            return self._switched(value, others[0], rng)
        if value["select"] == "nearest":
            return {"select": "nearest", "k": self._near_k(value["k"], rng, strength)}
        return {"select": "fixed", "ids": self._edited(value["ids"], rng)}

    def _switched(self, value: dict[str, Any], mode: str, rng: random.Random) -> dict[str, Any]:
        """Keep the number of examples."""
        if mode == "nearest":
            return {"select": "nearest", "k": max(1, len(value["ids"]))}
        pool = self.pool or ()
        return {"select": "fixed", "ids": rng.sample(pool, min(value["k"], len(pool)))}

    def _near_k(self, k: int, rng: random.Random, strength: float) -> int:
        moved = round(k * math.exp(rng.gauss(0.0, strength) * math.log(self.max + 1)))
        moved = min(self.max, max(1, moved))
        return moved if moved != k else 1 + neighbour(k - 1, self.max, rng)

    def _edited(self, ids: list[str], rng: random.Random) -> list[str]:
        left = [one for one in self.pool or () if one not in set(ids)]
        room, some = len(ids) < self.max, bool(ids)
        moves = {"add": room and bool(left), "drop": some, "swap": some and bool(left), "reorder": len(ids) > 1}
        move = rng.choice([name for name, possible in moves.items() if possible])
        new = list(ids)
        if move == "add":
            new.insert(rng.randint(0, len(new)), rng.choice(left))
        elif move == "drop":
            del new[rng.randrange(len(new))]
        elif move == "swap":
            new[rng.randrange(len(new))] = rng.choice(left)
        else:
            first, second = rng.sample(range(len(new)), 2)
            new[first], new[second] = new[second], new[first]
        return new

    def grid(self, n: int) -> list[dict[str, Any]]:
        """Return at most `n` values: the default, nearest 1 to max, then fixed sets of growing size."""
        if n < 1:
            raise VariableError(f"grid(n): n must be at least 1, got {n}.")
        distinct: dict[str, dict[str, Any]] = {}
        for value in itertools.chain([dict(self.default)], self._every()):
            distinct.setdefault(canonical_json(value), value)
            if len(distinct) == n:
                break
        return list(distinct.values())

    def _every(self) -> Iterator[dict[str, Any]]:
        if self.pool is not None and not self.pool:
            return
        if self.allows_nearest:
            yield from ({"select": "nearest", "k": k} for k in range(1, self.max + 1))
        if "fixed" in self.select:
            pool = self.pool or ()
            for size in range(min(self.max, len(pool)) + 1):
                yield from ({"select": "fixed", "ids": list(ids)} for ids in itertools.permutations(pool, size))

    def fields(self) -> dict[str, Any]:
        """Return max, select and default; the pool is data and stays out."""
        return {"max": self.max, "select": list(self.select), "default": self.default}

    @property
    def cardinality(self) -> int | None:
        """The number of nearest values and ordered sets; None before `bind`, 1 with an empty pool."""
        if self.pool is None:
            return None
        if not self.pool:
            return 1
        nearest = self.max if self.allows_nearest else 0
        size = len(self.pool)
        ordered = sum(math.perm(size, count) for count in range(min(self.max, size) + 1))
        return nearest + (ordered if "fixed" in self.select else 0)

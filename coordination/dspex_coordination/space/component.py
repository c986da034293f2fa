"""`Rule` and `Component`: what must hold, and the parts of a space that can be looked at apart from each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.space.constraint import Constraint
from dspex_coordination.space.violation import Violation, space_error

Values = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A constraint or a requirement of a variable, ready to be checked. `names` are the variables it looks at."""

    constraint: Constraint
    names: tuple[str, ...]

    def broken(self, seen: Mapping[str, Any], held: Mapping[str, Any]) -> str | None:
        """Return what is wrong, None if nothing. `seen` has ABSENT for inactive variables, `held` their default.

        Raises SpaceError if the condition or function cannot be computed.
        """
        condition, function = self.constraint.condition, self.constraint.function
        if condition is not None:
            if condition.value(seen) is not False:
                return None
            return self.constraint.message or f"{condition} does not hold: {condition.text(held)}."
        assert function is not None  # noqa: S101 - a constraint is one of the two
        try:
            answer = function({name: held[name] for name in self.names})
        except Exception as error:  # the user's function: whatever it raises is its failure, told by name
            raise space_error("A constraint cannot be checked", [self._failure(held, error)]) from error
        if answer is True:
            return None
        if answer is False or isinstance(answer, str):
            return self.constraint.message or answer or f"{self.constraint} does not hold."
        wrong = f"{self.constraint} must return True, False or a sentence, got {answer!r}."
        raise space_error("A constraint cannot be checked", [Violation(self.names, wrong)])

    def _failure(self, held: Mapping[str, Any], error: Exception) -> Violation:
        values = ", ".join(f"{name}={held[name]!r}" for name in self.names)
        return Violation(self.names, f"{self.constraint} failed for {values}: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """Variables that no rule or dependency ties to any other; their values are found apart from the rest.

    `names` are in canonical order; `ready[i]` are the rules whose last variable is the i-th, `waiting[i]` those that
    look at the i-th and at a later one.
    """

    names: tuple[str, ...]
    rules: tuple[Rule, ...]
    ready: tuple[tuple[Rule, ...], ...]
    waiting: tuple[tuple[Rule, ...], ...]

    def touching(self, name: str) -> list[Rule]:
        """Return the rules that look at a variable."""
        return [rule for rule in self.rules if name in rule.names]


def components(
    order: Sequence[str], needs: Mapping[str, Sequence[str]], rules: Sequence[Rule]
) -> tuple[Component, ...]:
    """Return the connected parts of a network, each in the given order, sorted by their first name."""
    group = {name: [name] for name in order}
    for tied in (*((name, *needs[name]) for name in order), *(rule.names for rule in rules)):
        for other in tied[1:]:
            first, second = group[tied[0]], group[other]
            if first is not second:
                first += second
                group.update(dict.fromkeys(second, first))
    rank = {name: position for position, name in enumerate(order)}
    parts = {id(members): sorted(members, key=rank.__getitem__) for members in group.values()}
    return tuple(component(names, rules) for names in sorted(parts.values(), key=lambda names: rank[names[0]]))


def component(names: Sequence[str], rules: Iterable[Rule]) -> Component:
    """Return these names, given in canonical order, with the rules on them."""
    rank = {name: position for position, name in enumerate(names)}
    own = [rule for rule in rules if rule.names and rule.names[0] in rank]
    own.sort(key=lambda rule: canonical_json(rule.constraint.meaning()))  # whatever their order: equal draws
    last = {rule: max(rule.names, key=rank.__getitem__) for rule in own}
    ready = tuple(tuple(rule for rule in own if last[rule] == name) for name in names)
    waiting = tuple(tuple(rule for rule in own if name in rule.names and last[rule] != name) for name in names)
    return Component(tuple(names), tuple(own), ready, waiting)

"""`Network`: the variables of a space with what ties them together: order, activity and rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import ABSENT, Condition, Expression, V, implies
from dspex_coordination.errors import VariableError, near_matches
from dspex_coordination.space.component import Component, Rule, Values, components
from dspex_coordination.space.constraint import Constraint
from dspex_coordination.space.order import dependency_order
from dspex_coordination.space.violation import Violation, space_error
from dspex_coordination.variables import Variable
from dspex_coordination.variables.composite import Composite


def _own_rules(variable: Variable[Any]) -> list[Constraint]:
    """Return what a variable demands of others: only away from its default does it require and conflict."""
    name, chosen = variable.label, V(variable.label) != variable.default
    required = [Constraint(implies(chosen, one), f"{name} requires {one}.") for one in variable.requires]
    excluded = [Constraint(implies(chosen, ~one), f"{name} conflicts with {one}.") for one in variable.conflicts]
    forbidden = [Constraint(~condition, message) for condition, message in variable.rules()]
    return [*required, *excluded, *forbidden]


class Network:
    """What a space knows of its variables beside their domains. Raises SpaceError for all that cannot be, at once.

    `order` is the order by declaration, `canonical` the same without regard to it, for draws; in both dependencies
    come first. `needs` are the variables whose values decide whether a variable is active, or what it is computed from.
    `loose` variables can be drawn by themselves, the others are in the `tied` components.
    """

    def __init__(self, variables: Mapping[str, Variable[Any]], constraints: Sequence[Constraint]) -> None:
        self.variables = variables
        self.when: dict[str, Condition] = {
            name: condition for name, v in variables.items() if (condition := v.when) is not None
        }
        self.computed = {name: v for name, v in variables.items() if isinstance(v, Composite)}
        self.rules = tuple(self._rules(constraints))
        self.needs = {name: self._needs_of(name) for name in variables}
        self._check_names()
        self.order = dependency_order(tuple(variables), self.needs)
        self.canonical = dependency_order(tuple(sorted(variables)), self.needs)
        self.free = tuple(name for name in variables if name not in self.computed)
        self.components = components(self.canonical, self.needs, self.rules)
        self.loose = tuple(one.names[0] for one in self.components if self._is_loose(one))
        self.tied = tuple(one for one in self.components if not self._is_loose(one))

    def _is_loose(self, component: Component) -> bool:
        """Tell whether it is one variable of which nothing is asked but to be drawn."""
        name = component.names[0]
        return len(component.names) == 1 and not (component.rules or name in self.computed or name in self.when)

    def _needs_of(self, name: str) -> tuple[str, ...]:
        condition = self.when.get(name)
        needed = [] if condition is None else list(condition.names)
        if name in self.computed:
            needed += self.computed[name].dependencies
        return tuple(dict.fromkeys(needed))

    def _rules(self, constraints: Sequence[Constraint]) -> list[Rule]:
        own = [constraint for variable in self.variables.values() for constraint in _own_rules(variable)]
        return [
            Rule(constraint, tuple(self.variables) if constraint.names is None else constraint.names)
            for constraint in (*constraints, *own)
        ]

    def _check_names(self) -> None:
        problems: list[Violation] = []
        for name, needed in self.needs.items():
            problems += [self._unknown(f"{name} depends on", other, name) for other in needed]
        for rule in self.rules:
            problems += [self._unknown(f"the constraint {rule.constraint} names", other, other) for other in rule.names]
        problems = [problem for problem in dict.fromkeys(problems) if problem.message]
        if problems:
            raise space_error("This space cannot be built", problems)

    def _unknown(self, where: str, name: str, about: str) -> Violation:
        if name in self.variables:
            return Violation((), "")
        return Violation((about,), f"{where} {name}: no such variable. {near_matches(name, self.variables)}")

    def missing(self, values: Mapping[str, Any], seen: Mapping[str, Any]) -> list[Violation]:
        """Return what is wrong for each active free variable that has no value."""
        return [
            Violation((name,), f"{name}: no value given; its default is {self.variables[name].default!r}.")
            for name in self.free
            if name not in values and seen[name] is not ABSENT
        ]

    def overruled(self, values: Mapping[str, Any], held: Mapping[str, Any], seen: Mapping[str, Any]) -> list[Violation]:
        """Return what is wrong for each inactive or computed variable that was given another value than it has."""
        problems = []
        for name, value in held.items():
            fixed = seen[name] is ABSENT or name in self.computed
            if fixed and name in values and canonical_json(value) != canonical_json(values[name]):
                inactive = seen[name] is ABSENT and name in self.when  # a computed one is never so by itself
                why = f"is inactive unless {self.when[name]}" if inactive else "is computed"
                right = f"{name}: {why}, so it is {value!r} here and cannot be {values[name]!r}; leave it out."
                problems.append(Violation((name,), right))
        return problems

    def active(self, name: str, seen: Mapping[str, Any]) -> bool:
        """Return whether a variable is active, given what is seen of those it needs."""
        condition = self.when.get(name)
        return condition is None or condition.holds(seen)

    def formula(self, name: str) -> Expression | None:
        """Return the expression that a variable is computed by, if there is one."""
        composite = self.computed.get(name)
        return composite.source if composite is not None and isinstance(composite.source, Expression) else None

    def compute(self, name: str, held: Values, seen: Values) -> None:
        """Write down the value of an active computed variable. Raises VariableError if it cannot be computed."""
        source = held if self.formula(name) is None else seen  # a function knows no absent values
        value = held[name] = self.computed[name].compute(source)
        nothing = value is None and any(seen[other] is ABSENT for other in self.needs[name])
        seen[name] = ABSENT if nothing else value

    def settled(self, name: str, held: Values, seen: Values) -> list[tuple[Any, Any]]:
        """Return what an inactive or computed variable holds and what is seen of it; none if it cannot be computed."""
        if not self.active(name, seen):
            return [(self.variables[name].default, ABSENT)]
        held, seen = dict(held), dict(seen)
        try:
            self.compute(name, held, seen)
        except VariableError:  # not valid together with the others: no value, as if a rule forbade it
            return []
        return [(held[name], seen[name])]

    def folded(self, values: Mapping[str, Any], problems: list[Violation] | None = None) -> tuple[Values, Values]:
        """Return what is held and what is seen of every variable, from values of free ones that are in their domain.

        Inactive and missing variables hold their default; what is computed is computed. What cannot be is added to
        `problems` and absent; without such a list, SpaceError is raised.
        """
        held: Values = {}
        seen: Values = {}
        wrong: list[Violation] = []
        for name in self.order:
            held[name] = self.variables[name].default
            seen[name] = ABSENT
            if not self.active(name, seen):
                continue
            if name not in self.computed:
                seen[name] = held[name] = values.get(name, held[name])
                continue
            try:
                self.compute(name, held, seen)
            except VariableError as error:
                wrong.append(Violation((name, *self.needs[name]), str(error)))
        if problems is not None:
            problems += wrong
        elif wrong:
            raise space_error("These values do not fit the space", wrong)
        return held, seen

    def settable(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return these names without the computed ones, but with the free ones that those are computed from."""
        found: dict[str, None] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop(0)
            if name in self.computed:
                waiting += self.computed[name].dependencies
            else:
                found[name] = None
        return tuple(found)

    def domains(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
        """Return the values of free variables in their JSON form, and what is wrong with names and values."""
        problems = [
            Violation((str(name),), f"{name}: no such variable. {near_matches(str(name), self.variables)}")
            for name in values
            if name not in self.variables
        ]
        checked: dict[str, Any] = {}
        for name in self.free:
            if name in values:
                try:
                    checked[name] = self.variables[name].validate(values[name])
                except VariableError as error:
                    problems.append(Violation((name,), str(error)))
        return checked, problems

    def broken(self, seen: Mapping[str, Any], held: Mapping[str, Any]) -> list[tuple[Rule, str]]:
        """Return every rule that is broken, with what is wrong."""
        return [(rule, message) for rule in self.rules if (message := rule.broken(seen, held)) is not None]

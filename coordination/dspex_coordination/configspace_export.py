"""Export of a search space to ConfigSpace (https://automl.github.io/ConfigSpace), and of its configurations back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.configspace_clauses import (
    LISTED,
    Among,
    Beyond,
    Clause,
    Joined,
    Related,
    clause_of,
    failure_of,
    joined,
    listed,
)
from dspex_coordination.errors import CoordinationError, SpaceError
from dspex_coordination.space import Space
from dspex_coordination.space.component import Rule
from dspex_coordination.space.network import Network
from dspex_coordination.variables import Composite, Float, Int, Variable
from dspex_coordination.variables.axis import SPREAD
from dspex_coordination.variables.one_of import OneOf


def to_configspace(space: Space, *, seed: int | None = None, skip_constraints: bool = False) -> Any:
    """Return the `ConfigSpace.ConfigurationSpace` of the free variables; it needs the extra `configspace`.

    `when` becomes conditions; constraints, `requires`, `conflicts`, compatibility and domains of computed variables
    become forbidden clauses. Computed variables are no hyperparameters: `from_configuration` computes them. Steps
    become ordinal values.

    Raises SpaceError with all that ConfigSpace cannot hold: `Demos`, functions as constraints, steps that are not
    drawn evenly, options that are lists, and conditions that are neither comparisons nor depend on few values. With
    `skip_constraints` such constraints are left out; check configurations with `Space.feasible` then.
    """
    return _Export(space, seed, skip_constraints=skip_constraints).result()


def from_configuration(space: Space, configuration: Mapping[str, Any]) -> Candidate:
    """Return the candidate of a configuration: computed variables computed, inactive ones with their default."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in configuration.items()}
    return space.complete(plain)


class _Export:
    """One export: hyperparameters first, then conditions, then forbidden clauses, and all problems at the end."""

    def __init__(self, space: Space, seed: int | None, *, skip_constraints: bool) -> None:
        try:
            import ConfigSpace  # noqa: PLC0415 - an extra, needed here only
        except ImportError as error:
            raise CoordinationError(
                "Export to ConfigSpace needs the package ConfigSpace: install dspex-ray[configspace]."
            ) from error
        self.library: Any = ConfigSpace
        self.space = space
        self.skip = skip_constraints
        self.problems: list[tuple[str, str]] = []
        self.idle: frozenset[str] = frozenset()  # variables that are never active: no hyperparameters
        self.target: Any = ConfigSpace.ConfigurationSpace(seed=seed)

    def result(self) -> Any:
        activity: dict[str, Clause] = {}
        for name in self.space.order:  # dependencies first: what depends on an idle variable may be idle too
            if name in self.space.free:
                activity[name] = self._activity(name)
                self.idle |= {name} if activity[name] is False else set()
        parts = {name: self._hyperparameter(self.space.variables[name]) for name in activity if name not in self.idle}
        if not self.problems:
            self.target.add([part for part in parts.values() if part is not None])
            conditions = [self._condition(name, when) for name, when in activity.items() if not isinstance(when, bool)]
            self.target.add([condition for condition in conditions if condition is not None])
        self._forbid_all()
        if self.problems:
            lines = "".join(f"\n  - {message}" for _, message in self.problems)
            raise SpaceError(f"This space cannot be exported to ConfigSpace:{lines}", tuple(self.problems))
        return self.target

    def _activity(self, name: str) -> Clause:
        when = self.space.variables[name].when
        try:
            return True if when is None else self._reachable(clause_of(self.space, when, truth=True))
        except SpaceError as error:
            self.problems.append((name, f"{name}: its condition has no form there: {error}"))
            return True

    def _hyperparameter(self, variable: Variable[Any]) -> Any:
        name = variable.label
        if isinstance(variable, Float) and variable.scale == "real":
            return self._real(variable)
        if isinstance(variable, Int) and variable.step == 1:
            return self.library.UniformIntegerHyperparameter(
                name, variable.low, variable.high, default_value=variable.default, log=variable.log
            )
        values = listed(variable)
        why = _obstacle(variable, values)
        if values is None or why is not None:
            self.problems.append((name, f"{name}: {why}"))
            return None
        if len(values) == 1:
            return self.library.Constant(name, values[0])
        if variable.scale == "ordinal":
            return self.library.OrdinalHyperparameter(name, values, default_value=variable.default)
        weights = variable.weights if isinstance(variable, OneOf) else None
        drawn = None if weights is None else [weight for weight in weights if weight > 0]
        return self.library.CategoricalHyperparameter(name, values, default_value=variable.default, weights=drawn)

    def _real(self, variable: Float) -> Any:
        name, low, high = variable.label, variable.low, variable.high
        if variable.distribution != "normal":
            return self.library.UniformFloatHyperparameter(
                name, low, high, default_value=variable.default, log=variable.log
            )
        if variable.log:
            self.problems.append((name, f"{name}: a normal distribution of the logarithm has no form there."))
            return None
        return self.library.NormalFloatHyperparameter(
            name, variable.default, (high - low) * SPREAD, low, high, default_value=variable.default
        )

    def _condition(self, child: str, clause: Clause) -> Any:
        try:
            return self._when(self.target[child], clause)
        except SpaceError as error:
            self.problems.append((child, f"{child}: {error}"))
            return None

    def _when(self, child: Any, clause: Clause) -> Any:
        if isinstance(clause, Joined):
            parts = [self._when(child, part) for part in clause.parts]
            if clause.every:
                return self.library.AndConjunction(*parts)
            # ConfigSpace 1.2 takes "all" and "any" of the same parts for the same condition of two children
            # (Conjunction.equivalent_condition_on_parent); a last part that changes nothing tells them apart
            both = self._when(child, joined(every=True, parts=clause.parts[:2]))
            return self.library.OrConjunction(*parts, both)
        if isinstance(clause, Among):
            return self.library.InCondition(child, self.target[clause.name], list(clause.values))
        if isinstance(clause, Beyond):
            kind = self.library.GreaterThanCondition if clause.above else self.library.LessThanCondition
            return kind(child, self.target[clause.name], clause.bound)
        raise SpaceError("its condition compares two variables; a condition there looks at one parent at a time.")

    def _forbid_all(self) -> None:
        for rule in Network(self.space.variables, self.space.constraints).rules:
            self._forbid(rule.names, f"the constraint {rule.constraint}", partial(self._broken, rule))
        for name, variable in self.space.variables.items():
            if isinstance(variable, Composite) and (variable.domain is not None or variable.check is not None):
                self._forbid((name,), f"the domain of {name}", partial(failure_of, self.space, name))

    def _forbid(self, names: tuple[str, ...], what: str, where: Callable[[], Clause]) -> None:
        try:
            clause = self._reachable(where())
        except SpaceError as error:
            if not self.skip:
                self.problems.append((", ".join(names), f"{what}: {error}"))
            return
        if not self.problems and not isinstance(clause, bool):
            alternatives = clause.parts if isinstance(clause, Joined) and not clause.every else (clause,)
            self.target.add([self._forbidden(part) for part in alternatives])

    def _broken(self, rule: Rule) -> Clause:
        """Return the clause that is met where a rule is broken."""
        if rule.constraint.condition is None:
            raise SpaceError("a function has no form there.")
        return clause_of(self.space, rule.constraint.condition, truth=False)

    def _reachable(self, clause: Clause) -> Clause:
        """Leave out what looks at a variable that is never active."""
        if isinstance(clause, bool):
            return clause
        if isinstance(clause, Joined):
            return joined(every=clause.every, parts=[self._reachable(part) for part in clause.parts])
        names = (clause.left, clause.right) if isinstance(clause, Related) else (clause.name,)
        return False if self.idle.intersection(names) else clause

    def _forbidden(self, clause: Clause) -> Any:
        if isinstance(clause, Joined):
            kind = self.library.ForbiddenAndConjunction if clause.every else self.library.ForbiddenOrConjunction
            return kind(*(self._forbidden(part) for part in clause.parts))
        if isinstance(clause, Among):
            return self.library.ForbiddenInClause(self.target[clause.name], list(clause.values))
        if isinstance(clause, Beyond):
            kind = self.library.ForbiddenGreaterThanClause if clause.above else self.library.ForbiddenLessThanClause
            return kind(self.target[clause.name], clause.bound)
        assert isinstance(clause, Related)  # noqa: S101 - the last kind; True and False are never parts of a clause
        kind = self.library.ForbiddenEqualsRelation if clause.equal else self.library.ForbiddenLessThanRelation
        return kind(self.target[clause.left], self.target[clause.right])


def _obstacle(variable: Variable[Any], values: tuple[Any, ...] | None) -> str | None:
    """Say why ConfigSpace cannot hold a variable by listing its values; None if it can."""
    if variable.scale == "structured":
        return "sets of examples have no form there; fix them, or search them apart."
    if values is None:
        return f"it has more than {LISTED} steps; take fewer, or none."
    if isinstance(variable, Float | Int) and (variable.log or getattr(variable, "distribution", "") == "normal"):
        return "steps that are not drawn evenly have no form there; leave out step and precision, or the distribution."
    if isinstance(variable, OneOf) and variable.ordered and variable.weights is not None:
        return "ordered options with weights have no form there; leave out one of them."
    if any(not isinstance(value, str | int | float) for value in values) or len(set(values)) < len(values):
        return "options there are texts, numbers and booleans that all differ (True is 1); name them by texts."
    return None

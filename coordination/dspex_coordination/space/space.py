"""`Space`: the variables of a search, by name, and the constraints between them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.canonical import canonical_json, digest
from dspex_coordination.conditions import ABSENT
from dspex_coordination.errors import SpaceError
from dspex_coordination.space.component import Values
from dspex_coordination.space.constraint import Constraint, as_constraint
from dspex_coordination.space.drawing import Drawing
from dspex_coordination.space.listing import counted, listed
from dspex_coordination.space.network import Network
from dspex_coordination.space.repair import repaired
from dspex_coordination.space.suggestion import mended, unusable_default
from dspex_coordination.space.violation import Violation, space_error
from dspex_coordination.variables import Demos, Variable


class Space:
    """Variables by name, in declaration order, and constraints between them; may be empty.

    A candidate has a value for every variable: an inactive one (its `when` does not hold) has its default, a computed
    one what is computed, so that equal behaviour means an equal key. Draws and the fingerprint do not depend on the
    order of declaration. Raises SpaceError with all that is wrong at once: a name that is no text, a value that is
    no variable, an unknown name in a condition, a circle of dependencies, defaults that break a constraint.
    """

    def __init__(self, variables: Mapping[str, Variable[Any]], constraints: Sequence[Any] = ()) -> None:
        self._variables: Mapping[str, Variable[Any]] = MappingProxyType(_named(variables))
        self._constraints = _listed(constraints)
        self._network = Network(self._variables, self._constraints)
        self._drawings = tuple(Drawing(self._network, part) for part in self._network.tied)
        self._default = self._checked_default()

    @property
    def variables(self) -> Mapping[str, Variable[Any]]:
        """The variables by name, read-only."""
        return self._variables

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names in declaration order."""
        return tuple(self._variables)

    @property
    def order(self) -> tuple[str, ...]:
        """The names with dependencies before what depends on them, otherwise in declaration order."""
        return self._network.order

    @property
    def free(self) -> tuple[str, ...]:
        """The names that a search sets: all but the computed ones."""
        return self._network.free

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints between variables, as given; what variables require or conflict with is not among them."""
        return self._constraints

    @property
    def demos(self) -> Mapping[str, Demos]:
        """The `Demos` variables by name."""
        return {name: variable for name, variable in self._variables.items() if isinstance(variable, Demos)}

    @property
    def cardinality(self) -> int | None:
        """How many candidates there are at most; None if infinite or not known. An empty space has one."""
        counts = [self._variables[name].cardinality for name in self.free]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    @property
    def fingerprint(self) -> str:
        """A stable hash of names, kinds, domains, defaults and what must hold between them."""
        data = self.to_json()
        if self._constraints:
            data["constraints"] = sorted((one.meaning() for one in self._constraints), key=canonical_json)
        return digest(data)

    def default(self) -> Candidate:
        """Return the candidate of all defaults."""
        return self._default

    def active(self, values: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of the variables that are active with these values; missing ones count as default."""
        _, seen = self._network.folded(self._in_domain(values))
        return frozenset(name for name, value in seen.items() if value is not ABSENT)

    def complete(self, values: Mapping[str, Any]) -> Candidate:
        """Return the candidate of these values of free variables; those of computed variables are ignored.

        Missing and inactive variables get their default, computed ones are computed. Constraints are not checked.
        Raises SpaceError for unknown names and values outside their domain, all at once.
        """
        held, _ = self._network.folded(self._in_domain(values))
        return self._candidate(held)

    def violations(self, values: Mapping[str, Any]) -> tuple[Violation, ...]:
        """Return all that is wrong with these values, completed as by `complete`: names, domains and constraints."""
        problems, held, seen = self._examined(values)
        return (*problems, *mended(self._network, held, seen))

    def feasible(self, values: Mapping[str, Any]) -> bool:
        """Return whether nothing is wrong with these values."""
        problems, held, seen = self._examined(values)
        return not problems and not self._network.broken(seen, held)

    def validate(self, values: Mapping[str, Any]) -> Candidate:
        """Return a candidate of exactly this space. Raises SpaceError with every problem at once.

        Every free, active variable must have a value. A value given for an inactive or computed variable must be the
        one that it has anyway.
        """
        problems, held, seen = self._examined(values)
        problems += self._network.missing(values, seen)
        problems += self._network.overruled(values, held, seen)
        problems += mended(self._network, held, seen)
        if problems:
            raise space_error("These values do not fit the space", problems)
        return self._candidate(held)

    def sample(self, rng: random.Random) -> Candidate:
        """Return a feasible candidate drawn with `rng`, distributed as declared as far as constraints allow."""
        held: Values = {name: self._variables[name].sample(rng) for name in self._network.loose}
        for drawing in self._drawings:
            held.update(drawing.draw(rng))
        return self._candidate(held)

    def repair(self, values: Mapping[str, Any], rng: random.Random) -> Candidate | None:
        """Return a feasible candidate near these values, completed as by `complete`; None if none is found.

        Only variables of broken constraints are drawn again. Raises SpaceError as `complete` does.
        """
        held = repaired(self._network, self._in_domain(values), rng)
        return None if held is None else self._candidate(held)

    def every(self, limit: int) -> Iterator[Candidate]:
        """Yield the distinct feasible candidates made of up to `limit` grid values of each variable.

        These are all there are if no variable has more than `limit` values.
        """
        return map(self._candidate, listed(self._network, limit))

    def count(self, limit: int) -> int | None:
        """Return the exact number of distinct feasible candidates if it is at most `limit`, else None."""
        return counted(self._network, limit)

    def bind(self, ids: Sequence[str], labels: Sequence[str] | None = None) -> Space:
        """Return this space with the pool of example ids bound to each `Demos` variable that has none yet."""
        open_ones = {name: v.bind(ids, labels) for name, v in self.demos.items() if v.pool is None}
        return Space({**self._variables, **open_ones}, self._constraints)

    def bind_each(self, pools: Mapping[str, tuple[Sequence[str], Sequence[str] | None]]) -> Space:
        """Return this space with a pool of its own, as (ids, labels), for each of these `Demos` variables."""
        bound = {name: self.demos[name].bind(*pool) for name, pool in pools.items()}
        return Space({**self._variables, **bound}, self._constraints)

    def describe(self) -> str:
        """Return the variables in their order and the constraints, one a line, for people to read."""
        width = max((len(name) for name in self.names), default=0)
        variables = [f"{name:<{width}}  {self._variables[name]!r}" for name in self.order]
        constraints = [f"{one}  ({one.message})" if one.message else str(one) for one in self._constraints]
        return "\n".join([*variables, *constraints])

    def to_json(self) -> dict[str, Any]:
        """Return `{"variables": {name: variable JSON}}`, with "constraints" if there are any."""
        constraints = {"constraints": [one.to_json() for one in self._constraints]} if self._constraints else {}
        return {"variables": {name: v.to_json() for name, v in self._variables.items()}, **constraints}

    @staticmethod
    def from_json(data: Any) -> Space:
        """Rebuild a space from `to_json`. Raises SpaceError or VariableError for what is no such JSON."""
        if not isinstance(data, Mapping) or not isinstance(data.get("variables"), Mapping):
            raise SpaceError(f"A space's JSON is an object with 'variables', got {data!r}.")
        constraints = data.get("constraints", ())
        if isinstance(constraints, str | Mapping) or not isinstance(constraints, Sequence):
            raise SpaceError(f"The constraints in a space's JSON are a list, got {constraints!r}.")
        return Space(
            {name: Variable.from_json(entry) for name, entry in data["variables"].items()},
            [Constraint.from_json(entry) for entry in constraints],
        )

    def _examined(self, values: Mapping[str, Any]) -> tuple[list[Violation], Values, Values]:
        checked, problems = self._network.domains(values)
        held, seen = self._network.folded(checked, problems)
        return problems, held, seen

    def _in_domain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        checked, problems = self._network.domains(values)
        if problems:
            raise space_error("These values do not fit the space", problems)
        return checked

    def _candidate(self, held: Mapping[str, Any]) -> Candidate:
        return Candidate({name: held[name] for name in self._variables})

    def _checked_default(self) -> Candidate:
        problems, held, seen = self._examined({})
        if problems or self._network.broken(seen, held):
            raise unusable_default(self._network, problems, held, seen)
        return self._candidate(held)

    def __len__(self) -> int:
        return len(self._variables)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Space)
            and dict(self._variables) == dict(other._variables)
            and self._constraints == other._constraints
        )

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        constraints = f", {list(self._constraints)!r}" if self._constraints else ""
        return f"Space({dict(self._variables)!r}{constraints})"

    def __reduce__(self) -> tuple[type[Space], tuple[dict[str, Variable[Any]], tuple[Constraint, ...]]]:
        """Pickle by variables and constraints; a mapping proxy cannot be pickled."""
        return Space, (dict(self._variables), self._constraints)


def _listed(constraints: Any) -> tuple[Constraint, ...]:
    if isinstance(constraints, str | Mapping) or not isinstance(constraints, Sequence):
        raise SpaceError(f"The constraints of a space are a list, got {constraints!r}.")
    return tuple(as_constraint(constraint) for constraint in constraints)


def _named(variables: Any) -> dict[str, Variable[Any]]:
    if not isinstance(variables, Mapping):
        raise SpaceError(f"The variables of a space are a mapping of names to variables, got {variables!r}.")
    problems: list[Violation] = []
    named: dict[str, Variable[Any]] = {}
    for name, variable in variables.items():
        if not isinstance(name, str) or not name:
            problems.append(Violation((str(name),), f"a variable's name must be text, got {name!r}"))
        elif not isinstance(variable, Variable):
            wanted = f"{name}: expected a variable such as Float or Choice, got {variable!r}"
            problems.append(Violation((name,), wanted))
        else:
            named[name] = variable.named(name)
    if problems:
        raise space_error("This space cannot be built", problems)
    return named

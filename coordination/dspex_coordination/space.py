"""`Space`: the variables of a search, by name."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.canonical import digest
from dspex_coordination.errors import SpaceError, VariableError, near_matches
from dspex_coordination.variables import Demos, Variable


class Space:
    """Independent variables by name, in declaration order; may be empty.

    Sampling and the fingerprint do not depend on that order. Raises SpaceError for a name that is no text or a
    value that is no variable.
    """

    def __init__(self, variables: Mapping[str, Variable[Any]]) -> None:
        problems: list[tuple[str, str]] = []
        named: dict[str, Variable[Any]] = {}
        entries: Mapping[Any, Any] = variables
        for name, variable in entries.items():
            if not isinstance(name, str) or not name:
                problems.append((str(name), f"a variable's name must be text, got {name!r}"))
            elif not isinstance(variable, Variable):
                problems.append((name, f"{name}: expected a variable such as Float or Choice, got {variable!r}"))
            else:
                named[name] = variable.named(name)
        if problems:
            raise _violations("This space cannot be built", problems)
        self._variables: Mapping[str, Variable[Any]] = MappingProxyType(named)

    @property
    def variables(self) -> Mapping[str, Variable[Any]]:
        """The variables by name, read-only."""
        return self._variables

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names in declaration order."""
        return tuple(self._variables)

    @property
    def demos(self) -> Mapping[str, Demos]:
        """The `Demos` variables by name."""
        return {name: variable for name, variable in self._variables.items() if isinstance(variable, Demos)}

    @property
    def cardinality(self) -> int | None:
        """The number of candidates; None if infinite or not known. An empty space has one."""
        counts = [variable.cardinality for variable in self._variables.values()]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    @property
    def fingerprint(self) -> str:
        """A stable hash of names, kinds, domains and defaults."""
        return digest(self.to_json())

    def default(self) -> Candidate:
        """Return the candidate of all defaults."""
        return Candidate({name: variable.default for name, variable in self._variables.items()})

    def validate(self, values: Mapping[str, Any]) -> Candidate:
        """Return a candidate of exactly this space. Raises SpaceError with every violation at once."""
        problems = [
            (name, f"{name}: no such variable. {near_matches(str(name), self.names)}")
            for name in values
            if name not in self._variables
        ]
        checked: dict[str, Any] = {}
        for name, variable in self._variables.items():
            if name not in values:
                problems.append((name, f"{name}: no value given; its default is {variable.default!r}."))
                continue
            try:
                checked[name] = variable.validate(values[name])
            except VariableError as error:
                problems.append((name, str(error)))
        if problems:
            raise _violations("These values do not fit the space", problems)
        return Candidate(checked)

    def sample(self, rng: random.Random) -> Candidate:
        """Return a valid candidate drawn with `rng`."""
        drawn = {name: self._variables[name].sample(rng) for name in sorted(self._variables)}
        return Candidate({name: drawn[name] for name in self._variables})

    def every(self, limit: int) -> Iterator[Candidate]:
        """Yield the combinations of up to `limit` grid values of each variable, each candidate once.

        That is the whole space if no variable has more than `limit` values, and more than `limit` - 1 candidates if
        one has.
        """
        columns = [variable.grid(limit) for variable in self._variables.values()]
        for row in itertools.product(*columns):
            yield Candidate(dict(zip(self._variables, row, strict=True)))

    def bind(self, ids: Sequence[str], labels: Sequence[str] | None = None) -> Space:
        """Return this space with the pool of example ids bound to each `Demos` variable."""
        return Space(
            {name: v.bind(ids, labels) if isinstance(v, Demos) else v for name, v in self._variables.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return `{"variables": {name: variable JSON}}`."""
        return {"variables": {name: variable.to_json() for name, variable in self._variables.items()}}

    @staticmethod
    def from_json(data: Any) -> Space:
        """Rebuild a space from `to_json`. Raises SpaceError or VariableError for what is no such JSON."""
        if not isinstance(data, Mapping) or not isinstance(data.get("variables"), Mapping):
            raise SpaceError(f"A space's JSON is an object with 'variables', got {data!r}.")
        return Space({name: Variable.from_json(entry) for name, entry in data["variables"].items()})

    def __len__(self) -> int:
        return len(self._variables)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and dict(self._variables) == dict(other._variables)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Space({dict(self._variables)!r})"

    def __reduce__(self) -> tuple[type[Space], tuple[dict[str, Variable[Any]]]]:
        """Pickle by variables; a mapping proxy cannot be pickled."""
        return Space, (dict(self._variables),)


def _violations(heading: str, problems: Sequence[tuple[str, str]]) -> SpaceError:
    lines = "".join(f"\n  - {message}" for _, message in problems)
    return SpaceError(f"{heading}:{lines}", tuple(problems))

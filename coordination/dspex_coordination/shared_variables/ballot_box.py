"""`BallotBox`: one proposal before its members, decided by what they answer and by nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_coordination.errors import VariableError
from dspex_coordination.shared_variables.messages import Ballot
from dspex_coordination.shared_variables.policy import Assembly, Average, Consensus, Vote
from dspex_coordination.shared_variables.refusals import SharedVariableError
from dspex_coordination.variables import Variable


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the proposal is accepted, the value it is accepted with, and what each member said or why it did not."""

    accepted: bool
    value: Any
    answers: Mapping[str, str]

    def __str__(self) -> str:
        return "; ".join(f"{member} {said}" for member, said in sorted(self.answers.items()))


class BallotBox:
    """Collects ballots of `members`, by name with weights above 0. `axis` is the variable whose values are averaged.

    Each member casts or misses once. Raises SharedVariableError for a box without members, or without an axis for an
    average.
    """

    def __init__(
        self, policy: Assembly, members: Mapping[str, float], value: Any, axis: Variable[Any] | None = None
    ) -> None:
        if not members:
            raise SharedVariableError("No agent has joined, so nobody can decide; let the members send Join first.")
        if isinstance(policy, Average) and axis is None:
            raise SharedVariableError("Only the values of one variable can be averaged.")
        self._policy, self._members, self._value, self._axis = policy, dict(members), value, axis
        self._answers: dict[str, str] = {}
        self._accepting: set[str] = set()
        self._rejecting: set[str] = set()
        self._gone: set[str] = set()
        self._wanted: dict[str, Any] = {}

    def cast(self, member: str, ballot: Ballot) -> None:
        """Take a member's ballot. Raises SharedVariableError for no member, or a second answer."""
        self._admit(member)
        if isinstance(self._policy, Average):
            self._cast_value(member, ballot)
        elif ballot.accept is None:
            self._answers[member] = "gave no answer"
        else:
            (self._accepting if ballot.accept else self._rejecting).add(member)
            said = "accepted" if ballot.accept else "rejected it"
            self._answers[member] = f"{said} ({ballot.reason})" if ballot.reason else said

    def miss(self, member: str, reason: str, *, gone: bool) -> None:
        """Note that a member gives no ballot: it is `gone`, or lives and is silent. Raises as `cast` does."""
        self._admit(member)
        self._answers[member] = f"is gone ({reason})" if gone else f"gave no answer ({reason})"
        if gone:
            self._gone.add(member)

    def decided(self) -> Decision | None:
        """Return the decision as soon as no further answer can change it."""
        if len(self._answers) == len(self._members):
            return self._decision(accepted=self._accepted(frozenset()))
        open_ = frozenset(self._members.keys() - self._answers.keys())
        if isinstance(self._policy, Vote):
            if self._accepted(frozenset()):
                return self._decision(accepted=True)
            return None if self._accepted(open_) else self._decision(accepted=False)
        if isinstance(self._policy, Consensus) and self._rejecting:
            return self._decision(accepted=False)
        return None

    def _accepted(self, hoped_for: frozenset[str]) -> bool:
        """Say whether it is accepted if those hoped for accept too."""
        total = math.fsum(self._members.values())
        match self._policy:
            case Vote(share=share):
                return self._weight(self._accepting | hoped_for) > share * total
            case Consensus():
                living = self._members.keys() - self._gone
                return bool(living) and self._accepting | hoped_for >= living
            case Average():
                return self._weight(set(self._wanted)) > total / 2

    def _weight(self, members: set[str]) -> float:
        return math.fsum(self._members[member] for member in members)

    def _cast_value(self, member: str, ballot: Ballot) -> None:
        assert self._axis is not None  # noqa: S101 - the constructor has seen to it
        try:
            self._wanted[member] = self._axis.validate(ballot.value)
            self._answers[member] = f"wants {self._wanted[member]!r}"
        except VariableError as error:
            self._answers[member] = f"gave no valid value ({error})"

    def _decision(self, *, accepted: bool) -> Decision:
        value = self._mean() if accepted and isinstance(self._policy, Average) else self._value
        silent = {member: "was not waited for" for member in self._members if member not in self._answers}
        return Decision(accepted, value, self._answers | silent)

    def _mean(self) -> Any:
        assert self._axis is not None  # noqa: S101 - the constructor has seen to it
        assert isinstance(self._policy, Average)  # noqa: S101 - only then is there a mean
        axis = self._axis
        units = sorted((axis.unit(value), self._members[member]) for member, value in self._wanted.items())
        cut = math.floor(len(units) * self._policy.trim)
        kept = units[cut : len(units) - cut]
        weight = math.fsum(weight for _, weight in kept)
        return axis.at(min(1.0, max(0.0, math.fsum(unit * weight for unit, weight in kept) / weight)))

    def _admit(self, member: str) -> None:
        if member not in self._members:
            raise SharedVariableError(f"{member!r} is no member and has no say.")
        if member in self._answers:
            raise SharedVariableError(f"{member!r} has answered already.")

"""Who decides on a new value of a shared variable.

| policy      | a proposal is accepted if                                                                       |
|-------------|-------------------------------------------------------------------------------------------------|
| `Leader`    | it comes from the named leader, in no earlier incarnation than any heard of before              |
| `Vote`      | more than `share` of the weight of all members accepts it; who is silent accepts nothing        |
| `Consensus` | every member that lives accepts it, and there is one                                             |
| `Average`   | more than half of the members' weight gives a value; the new one is their trimmed, weighted mean |

Members are asked, each of them, and have `timeout_s` seconds to answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dspex_coordination.shared_variables.refusals import SharedVariableError


@dataclass(frozen=True, slots=True)
class Leader:
    """The agent `name` decides alone. Raises SharedVariableError without a name."""

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise SharedVariableError("Leader: name must be that of an agent, got an empty one.")


@dataclass(frozen=True, slots=True)
class Vote:
    """A majority decides. Raises SharedVariableError for a share below a half or not below 1, or a bad time."""

    share: float = 0.5
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.share < 1.0:  # noqa: PLR2004 - below a half two proposals could both win
            raise SharedVariableError(f"Vote: share must be at least 0.5 and below 1, got {self.share!r}.")
        _check_time("Vote", self.timeout_s)


@dataclass(frozen=True, slots=True)
class Consensus:
    """All decide. Raises SharedVariableError for a bad time."""

    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        _check_time("Consensus", self.timeout_s)


@dataclass(frozen=True, slots=True)
class Average:
    """The mean of what members give, on the variable's own axis, without the `trim` share of them at each end.

    On a logarithmic axis that is a geometric mean; the result is the nearest valid value. Raises SharedVariableError
    for a trim below 0 or not below a half, or a bad time.
    """

    trim: float = 0.0
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.trim < 0.5:  # noqa: PLR2004 - somebody must be left
            raise SharedVariableError(f"Average: trim must be at least 0 and below 0.5, got {self.trim!r}.")
        _check_time("Average", self.timeout_s)


Assembly = Vote | Consensus | Average
Policy = Leader | Assembly


def _check_time(owner: str, timeout_s: float) -> None:
    if not 0 < timeout_s < math.inf:
        raise SharedVariableError(f"{owner}: timeout_s must be seconds above 0, got {timeout_s!r}.")

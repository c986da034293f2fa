"""`ActionCall`: an action called by its name, so that whoever asks need not have its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dspex_agents.actions.instruction import Instruction
from dspex_agents.errors import SpecError


@dataclass(frozen=True, slots=True)
class ActionCall:
    """Run the agent's action of this name with `params`; the other fields are those of `Instruction`.

    Raises SpecError for fields that cannot be right.
    """

    action: str
    params: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    id: str = ""

    def __post_init__(self) -> None:
        if not self.action or not isinstance(self.action, str):
            raise SpecError(f"action call: action must be the name of one, got {self.action!r}.")
        if not isinstance(self.params, Mapping):
            kind = type(self.params).__name__
            raise SpecError(f"action call {self.action!r}: params must map names to values, got a {kind}.")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise SpecError(f"action call {self.action!r}: timeout_s must be above 0, got {self.timeout_s!r}.")


Order: TypeAlias = Instruction | ActionCall
"""What an agent may be told to run."""

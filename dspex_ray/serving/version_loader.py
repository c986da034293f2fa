"""`VersionLoader`: the service of a version of the program that a replica carries, by its state in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dspex_ray.calls.ledger_agent import GetVersion
from dspex_ray.calls.ledger_meter import AskLedger
from dspex_ray.errors import ProgramError
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program import Program
from dspex_ray.serving.program_service import ProgramServiceFor


class VersionLoader:
    """Makes services from states that the ledger tells, each with connections of its own.

    All are of the carried program's code; one whose state names no model asks the model that the carried one asks.
    """

    def __init__(self, carried: Parcel, program: str, ask: AskLedger) -> None:
        self._carried, self._program, self._ask = carried, program, ask

    async def __call__(self, version: str) -> ProgramServiceFor:
        """Return the service. Raises an AgentSystemError of the ledger, ProgramError for a state that does not fit."""
        kept = await self._ask(GetVersion(self._program, version), retry_safe=True)
        return ProgramServiceFor(await asyncio.to_thread(self._restored, kept.state))

    def _restored(self, state: Mapping[str, Any]) -> Program:
        carried = self._carried.open()
        if not isinstance(carried, Program):
            raise ProgramError(f"{self._carried.label} is no program, and has no versions.")
        restored = carried.with_state({**state, "lm": None})
        own = state.get("lm")
        return restored if own is None else restored.with_lm(own)

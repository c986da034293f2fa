"""`RampRunner`: advances the ramps of a store by what replicas report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dspex_agents.database import Database
from dspex_ray.errors import UsageError
from dspex_ray.store.plans import PlanRevision, PlanStore
from dspex_ray.store.ramps import KeptRamp, RampStore
from dspex_ray.traffic.ramp import ArmEvidence, RampState, advance, weight_of

Evidence = Mapping[str, Mapping[str, ArmEvidence]]
"""By endpoint and arm."""


@dataclass(frozen=True, slots=True)
class ReportArms:
    """What the arms of an endpoint did in a replica since its report before; `number` counts its reports from 1.

    Answered with None once it is taken in; a report that is sent again is taken in once.
    """

    endpoint: str
    replica: str
    number: int
    arms: Mapping[str, ArmEvidence] = field(default_factory=dict)


class RampRunner:
    """Called on a thread. Ramps and evidence are in the store, so that another process can go on."""

    def __init__(self, database: Database) -> None:
        self._plans, self._ramps = PlanStore(database), RampStore(database)

    def turn(self, evidence: Evidence, now: float) -> list[KeptRamp]:
        """Add evidence to the ramps that run, let each go on or back, and return those that moved."""
        moved = []
        for kept in self._ramps.running():
            after = self._turned(kept, evidence.get(kept.endpoint, {}), now)
            if after.state != kept.state:
                moved.append(after)
        return moved

    def _turned(self, kept: KeptRamp, more: Mapping[str, ArmEvidence], now: float) -> KeptRamp:
        current = self._plans.current(kept.endpoint)
        if current.revision != kept.revision:
            why = f"revision {current.revision} was put in force by {current.by}"
            return self._ramps.keep(replace(kept, state=replace(kept.state, status="stopped", since=now, reason=why)))
        arms = {arm: kept.evidence.get(arm, ArmEvidence()) for arm in (kept.ramp.old, kept.ramp.new)}
        arms = {arm: one + more[arm] if arm in more else one for arm, one in arms.items()}
        state = advance(kept.ramp, kept.state, arms, now, kept.had)
        if state == kept.state:
            return self._ramps.keep(replace(kept, evidence=arms)) if more else kept
        after = replace(kept, state=state, evidence=arms, had=arms[kept.ramp.new].answered.trials)
        try:
            return self._ramps.keep(after, _next_plan(kept, current, state, now))
        except UsageError:  # somebody was faster: the next turn finds another plan in force
            return kept


def _next_plan(kept: KeptRamp, current: PlanRevision, state: RampState, now: float) -> PlanRevision:
    plan = kept.ramp.plan(current.plan, weight_of(kept.ramp, state))
    steps = len(kept.ramp.steps)
    told = {
        "running": f"step {state.step + 1} of {steps}",
        "done": "all steps held",
        "rolled_back": f"rolled back: {state.reason}",
    }
    why = f"ramp to {kept.ramp.new}: {told.get(state.status, state.status)}"
    return replace(current, kind="ramp", plan=plan, at=now, by=f"ramp of {kept.by}", why=why)

"""What replicas share: the ledger of their cluster and the limits of models, agents of a system that outlives them."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dspex_agents import (
    AgentSystemError,
    ChildSpec,
    RandomIds,
    RuntimeUnavailableError,
    SpecError,
    SupervisorSpec,
    System,
    SystemClock,
    SystemSpec,
)
from dspex_agents.runtime.ray_runtime import find_ray_system, start_ray_system
from dspex_ray.calls.buffer import Row
from dspex_ray.calls.ledger_agent import LEDGER, LedgerAgent, RecordCalls, RecordSpans
from dspex_ray.calls.ledger_meter import LedgerMeter
from dspex_ray.lm.limits.lender import MODEL_LIMITS
from dspex_ray.lm.limits.limits_agent import ModelLimitsAgent
from dspex_ray.lm.limits.slices import Slice, TakeSlice
from dspex_ray.parcel import Parcel
from dspex_ray.serving.arm_reporter import ArmReporter
from dspex_ray.serving.base import ProgramService
from dspex_ray.serving.plan_follower import PlanFollower
from dspex_ray.serving.version_loader import VersionLoader
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.store import Store
from dspex_ray.tracing.joining import join
from dspex_ray.tracing.settings import TracingSettings
from dspex_ray.tracing.writer import SpanRow
from dspex_ray.traffic.plan import TrafficPlan
from dspex_ray.traffic.tally import ArmTally
from dspex_ray.traffic.traffic_agent import TRAFFIC, TrafficAgent

_TIMEOUT_S = 10.0


def ensure_ledger(store: Store) -> str:
    """Return the name of the cluster's ledger for this store, started if it does not run. It outlives this process.

    Beside it are the limits of models, which hold for all replicas of all endpoints of the store together, and what
    tells replicas of new traffic plans.
    """
    name = _ledger_name(store)
    try:
        find_ray_system(name)
    except RuntimeUnavailableError:
        children = (
            ChildSpec(id=LEDGER, start=LedgerAgent, kwargs={"store": store}),
            ChildSpec(id=MODEL_LIMITS, start=ModelLimitsAgent),
            ChildSpec(id=TRAFFIC, start=TrafficAgent, kwargs={"store": store}),
        )
        spec = SystemSpec(name=name, supervisor=SupervisorSpec(id="supervisor", children=children))
        try:
            start_ray_system(spec, detached=True)
        except SpecError:
            find_ray_system(name)  # another process was faster
    return name


def stop_ledger(store: Store) -> None:
    """Stop the cluster's ledger for this store, once it has written what it was given."""
    try:
        find_ray_system(_ledger_name(store)).stop()
    except RuntimeUnavailableError:
        return  # it never ran, which is as good


def _ledger_name(store: Store) -> str:
    """Return the ledger's name on a cluster; the store's URL may hold a password, so only its hash is in it."""
    return f"dspex-ledger-{hashlib.sha256(store.database.url.encode()).hexdigest()[:12]}"


@dataclass(slots=True)
class LedgerSystem:
    """The system of a ledger, as a replica sees it: found by name at the first question, and again after a failure."""

    name: str
    _system: System | None = field(default=None, init=False, repr=False)

    async def ask(self, agent: str, body: Any, **options: Any) -> Any:
        """Return the agent's answer. Raises RuntimeUnavailableError while there is no ledger, else a MessageError."""
        if self._system is None:
            self._system = await asyncio.to_thread(find_ray_system, self.name)
        try:
            return await self._system.aask(agent, body, timeout_s=_TIMEOUT_S, **options)
        except AgentSystemError:
            self._system = None  # another one of this name may run by the next question
            raise


class LedgerSink:
    """Writes a replica's model calls through the cluster's ledger agent."""

    def __init__(self, system_name: str) -> None:
        self._system = LedgerSystem(system_name)

    async def write(self, rows: list[Row]) -> None:
        """Return once the ledger has the rows. Raises RuntimeUnavailableError while there is no ledger."""
        await self._system.ask(LEDGER, RecordCalls(tuple(rows)), retry_safe=True)


@dataclass(frozen=True, slots=True)
class LedgerSinkFactory:
    """Makes the sink inside each replica."""

    system_name: str
    tracing: TracingSettings = field(default_factory=TracingSettings)

    def __call__(self) -> LedgerSink:
        """Return a sink of this replica's own, and let it trace as the process does that deployed it."""
        join(self.tracing, ReplicaSpans(self.system_name))
        return LedgerSink(self.system_name)


@dataclass(frozen=True, slots=True)
class ReplicaSpans:
    """Writes a replica's spans through the cluster's ledger agent; called on a thread."""

    system_name: str

    def __call__(self, rows: list[SpanRow]) -> None:
        """Return once the ledger has them. Raises RuntimeUnavailableError while there is no ledger."""
        ledger = find_ray_system(self.system_name)
        ledger.ask(LEDGER, RecordSpans(tuple(rows)), timeout_s=_TIMEOUT_S, retry_safe=True)


@dataclass(frozen=True, slots=True)
class LedgerMeterFactory:
    """Makes what holds budgets and keeps the journal inside each replica, on its event loop."""

    system_name: str

    def __call__(self) -> LedgerMeter:
        """Return a meter of this replica's own."""
        return LedgerMeter(partial(LedgerSystem(self.system_name).ask, LEDGER), SystemClock())


class LedgerLender:
    """Asks the limits agent beside the cluster's ledger, for the clients of a replica."""

    def __init__(self, system_name: str) -> None:
        self._system = LedgerSystem(system_name)

    async def __call__(self, ask: TakeSlice) -> Slice:
        """Lend as the agent says. Raises RuntimeUnavailableError while there is no ledger, else a MessageError."""
        lent: Slice = await self._system.ask(MODEL_LIMITS, ask, control=True)
        return lent


@dataclass(frozen=True, slots=True)
class LedgerTrafficFactory:
    """Makes what shares requests among versions inside each replica, of the program at the path `program`.

    Plans up to `revision` were in force before the replica's deployment, and are not followed.
    """

    system_name: str
    program: str
    revision: int

    def __call__(self, name: str, version: str, carried: Parcel, service: ProgramService) -> Traffic:
        """Return router and follower of a replica that was deployed with a version; to be used on its event loop."""
        system = LedgerSystem(self.system_name)
        load = VersionLoader(carried, self.program, partial(system.ask, LEDGER))
        router = VersionsRouter(version, service, plan=TrafficPlan.all_to(version), load=load)
        ask = partial(system.ask, TRAFFIC, retry_safe=True)
        tally = ArmTally()
        reporter = ArmReporter(name, RandomIds().new("replica"), tally, ask)
        return Traffic(router, tally, (PlanFollower(name, router, ask, self.revision), reporter))


@dataclass(frozen=True, slots=True)
class Traffic:
    """The router of a replica, what sums up what its arms do, and what keeps the cluster and the replica in touch."""

    router: VersionsRouter
    tally: ArmTally
    followers: tuple[PlanFollower, ArmReporter]

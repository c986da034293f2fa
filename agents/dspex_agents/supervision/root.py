"""The root of a system: runs the supervisors' decisions, places agents on hosts, knows where each one lives."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import SystemStoppedError, UnknownAgentError
from dspex_agents.runtime.host import HostReport
from dspex_agents.runtime.port import HostFactory, Port, PortDiedError, PortUnavailableError, Route
from dspex_agents.supervision.child_spec import ChildSpec, SupervisorSpec
from dspex_agents.supervision.placement import Placement
from dspex_agents.supervision.supervisor_state import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    Effect,
    Event,
    Ready,
    RetryDue,
    ScheduleRetry,
    StartChild,
    StartRequested,
    StopChild,
    Stopped,
    StopRequested,
    SupervisorState,
)

_log = logging.getLogger(__name__)
_DESCRIBE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """A whole system: its name (unique in its namespace) and its top supervisor.

    `preload` names modules that every host imports before it takes agents; `spare_hosts` are kept warm so that an
    agent with a process of its `own` comes back without waiting for one to start.
    """

    name: str
    supervisor: SupervisorSpec
    preload: tuple[str, ...] = ()
    spare_hosts: int = 0
    seed: int = 0


@dataclass(slots=True)
class _Supervisor:
    """A supervisor at run time: its pure state and, for a nested one, its place under its parent."""

    state: SupervisorState
    parent: _Supervisor | None = None
    epoch: int = 0
    nested: dict[str, _Supervisor] = field(default_factory=dict)


class SystemRoot:
    """The shell around the supervisor states. All methods run on one event loop."""

    def __init__(self, spec: SystemSpec, hosts: HostFactory, clock: Clock | None = None) -> None:
        self.spec = spec
        self._clock = clock or SystemClock()
        self._rng = random.Random(spec.seed)  # noqa: S311 - jitter of delays, not secrets
        self._placement = Placement(hosts, spec.preload, spec.spare_hosts, self._host_died, self._agent_exited)
        self._specs = {child.id: child for child in spec.supervisor.agents()}
        self._owner: dict[str, _Supervisor] = {}
        self._top = _Supervisor(SupervisorState(spec.supervisor, self._rng))
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Condition | None = None
        self._closed: asyncio.Event | None = None
        self._end_reason: str | None = None
        self._start_errors: dict[str, Exception] = {}

    # life ---------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Start the tree and return when every agent is up. Raises what kept the first failing agent from starting."""
        await self._begin({})

    async def recover(self) -> None:
        """Rebuild after the root's own death: adopt the hosts and agents that still live, start what is missing."""
        await self._begin(await self._placement.adopt())

    async def stop(self, reason: str = "shutdown") -> None:
        """Stop the tree in reverse order, then the hosts. Calling it twice is harmless."""
        if self._end_reason is None:
            self._dispatch(self._top, StopRequested(reason))
        await self.wait_closed()

    async def wait_closed(self) -> str:
        """Wait until the system is stopped and return why. Hosts keep this call pending to learn of our death."""
        await self._closed_event().wait()
        return self._end_reason or "shutdown"

    async def _begin(self, alive: dict[str, int]) -> None:
        self._closed_event()
        await self._placement.open([s for s in self._specs.values() if s.id not in alive])
        self._start_supervisor(self._top, alive)
        async with self._condition():
            await self._condition().wait_for(
                lambda: self._top.state.phase in ("running", "stopped") or self._end_reason is not None
            )
        if self._top.state.phase != "running":
            await self.wait_closed()
            if self._start_errors:
                raise next(iter(self._start_errors.values()))
            raise SystemStoppedError(f"System {self.spec.name!r} did not start: {self._end_reason}.")

    # questions ----------------------------------------------------------------------------------------------------
    async def resolve(self, name: str, timeout_s: float, gone_epoch: int | None = None) -> Route:
        """Return where the agent lives, waiting while it is (re)started.

        An incarnation up to `gone_epoch` is not good enough: the caller knows that it is gone. Raises
        UnknownAgentError, SystemStoppedError, or TimeoutError after `timeout_s` seconds.
        """
        if name not in self._specs:
            raise UnknownAgentError.among(name, self._specs)

        def found() -> Route | None:
            route = self._placement.route(name)
            return None if route is None or (gone_epoch is not None and route.epoch <= gone_epoch) else route

        async with asyncio.timeout(timeout_s), self._condition():
            await self._condition().wait_for(lambda: found() is not None or self._is_over(name))
        if (route := found()) is None:
            raise SystemStoppedError(f"Agent {name!r} is not running and will not be: {self._why_over(name)}.")
        return route

    async def tree(self) -> TreeNode:
        """Return the whole tree with the figures each host gave within a second; silent hosts show status only."""
        reports = await asyncio.gather(*(self._report(port) for port in self._placement.ports()))
        by_agent = {s.name: (r, s) for r in reports if r is not None for s in r.agents}
        return self._node(self._top, by_agent)

    async def _report(self, port: Port) -> HostReport | None:
        try:
            report: HostReport = await port.call("describe", timeout_s=_DESCRIBE_TIMEOUT_S)
        except (TimeoutError, PortDiedError, PortUnavailableError):
            return None  # its watcher acts on a death; a busy host just shows no figures
        return report

    def _node(self, supervisor: _Supervisor, by_agent: dict[str, tuple[HostReport, AgentStatus]]) -> TreeNode:
        nodes = []
        for id_, child in supervisor.state.children.items():
            if isinstance(child.spec, SupervisorSpec):
                if id_ in supervisor.nested:
                    nodes.append(self._node(supervisor.nested[id_], by_agent))
                continue
            report, status = by_agent.get(id_, (None, None))
            nodes.append(
                TreeNode(
                    id=id_,
                    kind="agent",
                    status=status.status if status and child.status == "running" else child.status,
                    restarts=child.restarts,
                    last_reason=child.last_reason,
                    host=report.host_id if report else "",
                    pid=report.pid if report else 0,
                    memory_bytes=report.memory_bytes if report else 0,
                    agent=status,
                )
            )
        state = supervisor.state
        return TreeNode(state.spec.id, "supervisor", state.phase, len(state.restart_times), children=tuple(nodes))

    # events in, effects out ---------------------------------------------------------------------------------------
    def _dispatch(self, supervisor: _Supervisor, event: Event, alive: dict[str, int] | None = None) -> None:
        for effect in supervisor.state.handle(event, self._clock.now()):
            self._perform(supervisor, effect, alive or {})
        self._spawn(self._notify())

    def _perform(self, supervisor: _Supervisor, effect: Effect, alive: dict[str, int]) -> None:
        match effect:
            case StartChild(id_, epoch):
                spec = supervisor.state.children[id_].spec
                if isinstance(spec, SupervisorSpec):
                    self._start_nested(supervisor, spec, epoch, alive)
                else:
                    self._spawn(self._start_agent(supervisor, spec, epoch))
            case StopChild(id_, epoch, shutdown_s):
                spec = supervisor.state.children[id_].spec
                if isinstance(spec, SupervisorSpec):
                    self._dispatch(supervisor.nested[id_], StopRequested())
                else:
                    self._spawn(self._stop_agent(supervisor, spec, epoch, shutdown_s))
            case ScheduleRetry(id_, epoch, delay_s):
                self._spawn(self._retry(supervisor, id_, epoch, delay_s))
            case Ready():
                if supervisor.parent is not None:
                    self._dispatch(supervisor.parent, ChildStarted(supervisor.state.spec.id, supervisor.epoch), alive)
            case Stopped(reason):
                self._supervisor_stopped(supervisor, reason)

    def _start_nested(self, parent: _Supervisor, spec: SupervisorSpec, epoch: int, alive: dict[str, int]) -> None:
        nested = _Supervisor(SupervisorState(spec, self._rng), parent, epoch)
        if (before := parent.nested.get(spec.id)) is not None:
            nested.nested = dict(before.nested)
            for id_, child in before.state.children.items():  # a rebuilt supervisor must not give an epoch twice
                nested.state.children[id_].epoch = child.epoch
        parent.nested[spec.id] = nested
        self._start_supervisor(nested, alive)

    def _start_supervisor(self, supervisor: _Supervisor, alive: dict[str, int]) -> None:
        leaves = [child.id for child in supervisor.state.spec.children if isinstance(child, ChildSpec)]
        self._owner.update(dict.fromkeys(leaves, supervisor))
        adopted = {id_: alive[id_] for id_ in leaves if id_ in alive}
        self._dispatch(supervisor, StartRequested(adopted), alive)

    def _supervisor_stopped(self, supervisor: _Supervisor, reason: str) -> None:
        if supervisor.parent is None:
            self._spawn(self._close(reason))
        elif (
            supervisor.state.children
            and supervisor.parent.state.children[supervisor.state.spec.id].status == "starting"
        ):
            self._dispatch(supervisor.parent, ChildStartFailed(supervisor.state.spec.id, supervisor.epoch, reason))
        else:
            self._dispatch(supervisor.parent, ChildExited(supervisor.state.spec.id, supervisor.epoch, reason))

    async def _close(self, reason: str) -> None:
        self._end_reason = reason
        await self._placement.close()
        self._closed_event().set()
        await self._notify()

    # what effects do ----------------------------------------------------------------------------------------------
    async def _start_agent(self, supervisor: _Supervisor, spec: ChildSpec, epoch: int) -> None:
        try:
            await self._placement.start(spec, epoch)
        except Exception as error:  # noqa: BLE001 - the actor boundary: whatever a constructor raises is a failed start
            self._start_errors.setdefault(spec.id, error)
            reason = f"{type(error).__name__}: {error}"
            self._dispatch(supervisor, ChildStartFailed(spec.id, epoch, reason))
        else:
            self._start_errors.pop(spec.id, None)
            self._dispatch(supervisor, ChildStarted(spec.id, epoch))

    async def _stop_agent(self, supervisor: _Supervisor, spec: ChildSpec, epoch: int, shutdown_s: float) -> None:
        reason = await self._placement.stop(spec, epoch, shutdown_s)
        self._dispatch(supervisor, ChildExited(spec.id, epoch, reason))

    async def _retry(self, supervisor: _Supervisor, id_: str, epoch: int, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._dispatch(supervisor, RetryDue(id_, epoch))

    def _agent_exited(self, name: str, epoch: int, reason: str) -> None:
        if name in self._owner:
            self._dispatch(self._owner[name], ChildExited(name, epoch, reason))

    def _host_died(self, agents: dict[str, int]) -> None:
        for name, epoch in agents.items():
            self._agent_exited(name, epoch, "killed: its process died")

    # waiting ------------------------------------------------------------------------------------------------------
    def _is_over(self, name: str) -> bool:
        if self._end_reason is not None:
            return True
        owner = self._owner.get(name)
        return owner is not None and owner.state.children[name].status == "removed"

    def _why_over(self, name: str) -> str:
        if self._end_reason is not None:
            return f"the system stopped ({self._end_reason})"
        return f"it is temporary and ended ({self._owner[name].state.children[name].last_reason})"

    def _condition(self) -> asyncio.Condition:
        if self._changed is None:
            self._changed = asyncio.Condition()
        return self._changed

    def _closed_event(self) -> asyncio.Event:
        if self._closed is None:
            self._closed = asyncio.Event()
        return self._closed

    async def _notify(self) -> None:
        async with self._condition():
            self._condition().notify_all()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("system %r: an effect failed", self.spec.name, exc_info=error)

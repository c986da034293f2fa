"""The root of a system: performs the supervisors' decisions and answers where each agent lives."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dspex_agents.agent import TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import AgentSystemError, SystemStoppedError, UnknownAgentError
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter
from dspex_agents.runtime.port import HostFactory, Route
from dspex_agents.runtime.reports import AgentStarted, Pulse
from dspex_agents.supervision.changes import Changes
from dspex_agents.supervision.child import Epochs
from dspex_agents.supervision.child_spec import ChildSpec, SupervisorSpec
from dspex_agents.supervision.directory import Directory, Supervisor
from dspex_agents.supervision.events import (
    ChildExited,
    ChildrenAdded,
    ChildrenLost,
    ChildStarted,
    ChildStartFailed,
    Effect,
    Event,
    Ready,
    RemovalRequested,
    Removed,
    RestartRequested,
    RetryDue,
    ScheduleRetry,
    StartChild,
    StartRequested,
    StopChild,
    Stopped,
    StopRequested,
)
from dspex_agents.supervision.placement import Placement
from dspex_agents.supervision.registry import Query, Registration, Registry
from dspex_agents.supervision.supervisor_state import SupervisorState
from dspex_agents.supervision.system_spec import SystemSpec
from dspex_agents.supervision.tree_view import figures_by_agent, tree_of

_log = logging.getLogger(__name__)
_DESCRIBE_TIMEOUT_S = 2.0
ROOT_METHODS = frozenset(
    {
        "start",
        "stop",
        "wait_closed",
        "resolve",
        "resolve_many",
        "tree",
        "find",
        "update",
        "start_children",
        "stop_child",
        "restart_child",
        "kill_child",
        "host_hung",
        "dead_letters",
        "letter_previews",
        "redrive",
        "purge",
    }
)
"""What other processes may call."""


@dataclass(frozen=True, slots=True)
class _Past:
    """What an earlier root left: the epochs of living agents, and why others ended that it was not told of."""

    alive: Mapping[str, int]
    ended: Mapping[str, str]


class SystemRoot:
    """The shell around the supervisor states. All methods run on one event loop."""

    def __init__(self, spec: SystemSpec, factory: HostFactory, clock: Clock | None = None) -> None:
        self.spec = spec
        self._clock = clock or SystemClock()
        self._rng = random.Random(spec.seed)  # noqa: S311 - jitter of delays, not secrets
        self._epochs = Epochs()
        self._factory = factory
        self._placement = Placement(spec, factory, self)
        self._registry = Registry()
        self._directory = Directory(factory)
        self._past: _Past | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes = Changes()
        self._closed = asyncio.Event()
        self._end_reason: str | None = None
        self._start_errors: dict[str, Exception] = {}

    # life ---------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Start the tree and return when every agent is up. Raises what kept the first failing agent from starting."""
        await self._placement.open(self.spec.supervisor.agents())
        self._start_supervisor(Supervisor(self._state(self.spec.supervisor)))
        await self._changes.wait_for(lambda: self._top.state.phase in ("running", "stopped"))
        if self._top.state.phase != "running":
            await self.wait_closed()
            if self._start_errors:
                raise next(iter(self._start_errors.values()))
            raise SystemStoppedError(f"System {self.spec.name!r} did not start: {self._end_reason}.")
        self._placement.keep_spares()

    async def recover(self) -> None:
        """Rebuild after the root's own death: adopt the hosts and agents that still live, start what is missing."""
        self._directory.recall()
        adopted, ended = await self._placement.adopt()
        alive = {name: epoch for name, (epoch, _) in adopted.items()}
        self._past = _Past(alive, ended)
        top = Supervisor(self._state(self.spec.supervisor))
        self._start_supervisor(top)
        self._past = None
        for name, (epoch, started) in adopted.items():
            if name in self._directory.specs:
                self._register(self._directory.specs[name], epoch, started)
        await self._placement.open([s for s in self.spec.supervisor.agents() if s.id not in alive])
        self._placement.keep_spares()

    async def stop(self, reason: str = "shutdown") -> None:
        """Stop the tree in reverse order, then the hosts. Calling it twice is harmless."""
        if self._end_reason is None:
            self._dispatch(self._top, StopRequested(reason))
        await self.wait_closed()

    async def wait_closed(self) -> str:
        """Wait until the system is stopped and return why. Hosts keep this call pending to learn of our death."""
        await self._closed.wait()
        return self._end_reason or "shutdown"

    # questions ----------------------------------------------------------------------------------------------------
    async def resolve(self, name: str, timeout_s: float, gone_epoch: int | None = None) -> Route:
        """Return where the agent lives, waiting while it is (re)started.

        An incarnation up to `gone_epoch` is not good enough: the caller knows that it is gone. Raises
        UnknownAgentError, SystemStoppedError, or TimeoutError after `timeout_s` seconds.
        """
        (found,) = await self.resolve_many(((name, gone_epoch),), timeout_s)
        if isinstance(found, AgentSystemError):
            raise found
        if found is None:
            raise TimeoutError
        return found

    async def resolve_many(
        self, questions: Sequence[tuple[str, int | None]], timeout_s: float
    ) -> tuple[Route | AgentSystemError | None, ...]:
        """Answer as `resolve` would, in the order asked, once there is an answer to at least one question.

        None stands for an agent that is not there yet: ask again. Raises TimeoutError after `timeout_s` seconds.
        """
        await self._changes.wait_for(lambda: any(self._found(*one) is not None for one in questions), timeout_s)
        return tuple(self._found(*one) for one in questions)

    def _found(self, name: str, gone_epoch: int | None) -> Route | AgentSystemError | None:
        route = self._placement.route(name)
        if route is not None and (gone_epoch is None or route.epoch > gone_epoch):
            return route
        if not self._is_over(name):
            return None
        if self._end_reason is None and self._directory.is_unknown(name):
            return UnknownAgentError.among(name, self._directory.specs)
        return SystemStoppedError(f"Agent {name!r} is not running and will not be: {self._why_over(name)}.")

    async def tree(self) -> TreeNode:
        """Return the whole tree with the figures each host gave in time; silent hosts show status only."""
        reports = await self._placement.ask_hosts("describe", timeout_s=_DESCRIBE_TIMEOUT_S)
        nested = {id_: supervisor.state for id_, supervisor in self._directory.supervisors.items()}
        tree = tree_of(self._top.state, nested, figures_by_agent(reports.values()))
        return replace(tree, dead_letters=sum(report.dead_letters for report in reports.values()))

    async def find(self, query: Query) -> tuple[Registration, ...]:
        """Return the running agents that fit, least loaded first."""
        return self._registry.find(query)

    async def update(self, name: str, epoch: int, changes: Mapping[str, Any]) -> None:
        """Change an agent's registration. Raises SpecError for changes that cannot be."""
        self._registry.update(name, epoch, changes)

    async def dead_letters(self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """Return the dead letters of all hosts, oldest first."""
        return await self._letters("dead_letters", which, limit)

    async def letter_previews(self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """Return what `dead_letters` does, with the start of its text in place of each message."""
        return await self._letters("letter_previews", which, limit)

    async def _letters(self, method: str, which: DeadLetterFilter, limit: int) -> tuple[DeadLetter, ...]:
        kept = await self._placement.ask_hosts(method, which, limit, timeout_s=_DESCRIBE_TIMEOUT_S)
        letters = (letter for letters in kept.values() for letter in letters)
        return tuple(sorted(letters, key=lambda letter: letter.first_failure_at)[:limit])

    async def redrive(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Send dead letters again; return how many."""
        return sum((await self._placement.ask_hosts("redrive", which, timeout_s=_DESCRIBE_TIMEOUT_S)).values())

    async def purge(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Throw dead letters away; return how many."""
        return sum((await self._placement.ask_hosts("purge", which, timeout_s=_DESCRIBE_TIMEOUT_S)).values())

    # orders -------------------------------------------------------------------------------------------------------
    async def start_children(self, supervisor: str, specs: Sequence[ChildSpec]) -> None:
        """Add agents to a running supervisor and return when they are up. When one fails to start, none stays.

        Raises SpecError for an id in use or an unknown supervisor, and what kept the first agent from starting.
        """
        owner = self._directory.check_new(supervisor, specs, self.spec.name)
        ids = [spec.id for spec in specs]
        self._factory.check_room([s.resources for s in specs if s.resources])
        self._dispatch(owner, ChildrenAdded(tuple(specs)))
        await self._changes.wait_for(
            lambda: self._end_reason is not None or not any(map(self._directory.is_starting, ids))
        )
        if failed := [id_ for id_ in ids if self._placement.route(id_) is None]:
            await asyncio.gather(*(self.stop_child(id_) for id_ in ids))
            default = SystemStoppedError(f"Agent {failed[0]!r} did not start: {self._why_over(failed[0])}.")
            raise self._start_errors.pop(failed[0], default)

    async def stop_child(self, name: str, reason: str = "shutdown") -> bool:
        """Stop an agent for good and forget its specification; False when there is none of that name.

        `reason` is told to its `on_stop`.
        """
        owner = self._directory.owner
        if name not in owner:
            return False

        def may_go() -> bool:  # a supervisor on its way up or down takes no orders
            return name not in owner or owner[name].state.phase in ("running", "stopped")

        await self._changes.wait_for(may_go)
        if name in owner:
            self._dispatch(owner[name], RemovalRequested(name, reason))
        await self._changes.wait_for(lambda: self._end_reason is not None or name not in owner)
        return True

    async def restart_child(self, name: str) -> None:
        """Stop an agent in good order and start it again. Raises UnknownAgentError."""
        owner = self._directory.owner_of(name)
        before = owner.state.children[name].epoch
        self._dispatch(owner, RestartRequested(name))
        await self.resolve(name, 60.0, before)

    async def kill_child(self, name: str) -> None:
        """End an agent at once; its supervisor decides what follows. Raises UnknownAgentError."""
        self._directory.owner_of(name)
        if self._placement.route(name) is not None:
            await self._placement.kill(name)

    async def host_hung(self, host_id: str, agent: str, where: str) -> None:
        """Take note of a host's last words: this agent blocks it, there in its code."""
        self._placement.blame(host_id, agent, where)

    # what the placement tells -------------------------------------------------------------------------------------
    def agents_lost(self, lost: Sequence[ChildExited]) -> None:
        """Pass a loss on to the supervisors, once to each."""
        by_owner: dict[str, list[ChildExited]] = {}
        for exited in lost:
            self._registry.remove(exited.id, exited.epoch)
            if exited.id in self._directory.owner:
                by_owner.setdefault(self._directory.owner[exited.id].id, []).append(exited)
        for id_, several in by_owner.items():
            self._dispatch(self._directory.supervisors[id_], ChildrenLost(tuple(several)))

    def agent_exited(self, name: str, epoch: int, reason: str) -> None:
        """Pass an agent's own end on to its supervisor."""
        self._registry.remove(name, epoch)
        if name in self._directory.owner:
            self._dispatch(self._directory.owner[name], ChildExited(name, epoch, reason))

    def pulse(self, pulse: Pulse) -> None:
        """Take note of a host's figures."""
        for name, load in pulse.loads.items():
            self._registry.set_load(name, load)

    # events in, effects out ---------------------------------------------------------------------------------------
    def _dispatch(self, supervisor: Supervisor, event: Event) -> None:
        state = supervisor.state
        effects = state.handle(event, self._clock.now())
        if isinstance(event, ChildrenAdded):
            self._directory.admit(supervisor, event.specs)
        starts: list[tuple[ChildSpec, int]] = []
        stops: list[tuple[ChildSpec, StopChild]] = []
        for effect in effects:
            spec = state.children[effect.id].spec if isinstance(effect, StartChild | StopChild) else None
            if isinstance(effect, StartChild) and isinstance(spec, ChildSpec):
                starts.append((spec, effect.epoch))
            elif isinstance(effect, StopChild) and isinstance(spec, ChildSpec):
                self._registry.remove(effect.id, effect.epoch)
                stops.append((spec, effect))
            else:
                self._perform(supervisor, effect)
        if starts:
            self._spawn(self._placement.start(starts, self._started))
        if stops:
            self._spawn(self._placement.stop(stops, self._stopped))
        self._changes.notify()

    def _perform(self, supervisor: Supervisor, effect: Effect) -> None:
        """Do what concerns one effect alone; starts and stops of agents go to their hosts in batches."""
        state = supervisor.state
        match effect:
            case StartChild(id_, epoch):
                spec = state.children[id_].spec
                if isinstance(spec, SupervisorSpec):
                    self._start_supervisor(Supervisor(self._state(spec), supervisor, epoch))
            case StopChild(id_, _, shutdown_s, _):
                self._dispatch(self._directory.supervisors[id_], StopRequested())
                self._spawn(self._kill_after(self._directory.supervisors[id_], shutdown_s))
            case ScheduleRetry(id_, epoch, delay_s):
                self._spawn(self._retry(supervisor, id_, epoch, delay_s))
            case Removed():
                gone = self._directory.remove(supervisor, effect)
                if gone is not None and gone.isolation == "own":
                    self._spawn(self._placement.retire(gone))
            case Ready():
                if supervisor.parent is not None:
                    self._dispatch(supervisor.parent, ChildStarted(supervisor.id, supervisor.epoch))
            case Stopped(reason):
                self._supervisor_stopped(supervisor, reason)

    @property
    def _top(self) -> Supervisor:
        return self._directory.supervisors[self.spec.supervisor.id]

    def _state(self, spec: SupervisorSpec) -> SupervisorState:
        there = self._directory
        return SupervisorState(spec, self._rng, self._epochs, there.added_to(spec.id), there.retired)

    def _start_supervisor(self, supervisor: Supervisor) -> None:
        state = supervisor.state
        self._directory.enter(supervisor)
        if self._past is None:
            self._dispatch(supervisor, StartRequested())
            return
        alive = {id_: epoch for id_, epoch in self._past.alive.items() if id_ in state.children}
        self._dispatch(supervisor, StartRequested(alive, self._past.ended, recovering=True))

    def _supervisor_stopped(self, supervisor: Supervisor, reason: str) -> None:
        id_, parent = supervisor.id, supervisor.parent
        if parent is None:
            self._spawn(self._close(reason))
        elif parent.state.children[id_].status == "starting":
            self._dispatch(parent, ChildStartFailed(id_, supervisor.epoch, reason))
        else:
            self._dispatch(parent, ChildExited(id_, supervisor.epoch, reason))

    async def _close(self, reason: str) -> None:
        self._end_reason = reason
        await self._placement.close()
        self._directory.forget_all()
        self._closed.set()
        self._changes.notify()

    # what effects do ----------------------------------------------------------------------------------------------
    def _started(self, spec: ChildSpec, epoch: int, started: AgentStarted) -> None:
        if spec.id not in self._directory.owner:
            return
        if started.error is None:
            self._register(spec, epoch, started)
            self._start_errors.pop(spec.id, None)
            self._dispatch(self._directory.owner[spec.id], ChildStarted(spec.id, epoch))
        else:
            self._start_errors.setdefault(spec.id, started.error)
            reason = f"{type(started.error).__name__}: {started.error}"
            self._dispatch(self._directory.owner[spec.id], ChildStartFailed(spec.id, epoch, reason))

    def _register(self, spec: ChildSpec, epoch: int, started: AgentStarted) -> None:
        registration = Registration(
            spec.id,
            epoch,
            spec.capabilities | started.capabilities,
            node=started.node,
            host=started.host,
            resources=spec.resources,
            metadata={"kind": started.kind},
            partition=self.spec.partition,
        )
        self._registry.add(registration)
        if started.changes:
            self._registry.update(spec.id, epoch, started.changes)

    def _stopped(self, spec: ChildSpec, epoch: int, reason: str) -> None:
        if spec.id in self._directory.owner:
            self._dispatch(self._directory.owner[spec.id], ChildExited(spec.id, epoch, reason))

    async def _retry(self, supervisor: Supervisor, id_: str, epoch: int, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._dispatch(supervisor, RetryDue(id_, epoch))

    async def _kill_after(self, supervisor: Supervisor, shutdown_s: float) -> None:
        """Kill what is left below a supervisor that did not stop in its time."""
        if shutdown_s == float("inf"):
            return
        state = supervisor.state
        try:
            await self._changes.wait_for(lambda: state.phase == "stopped", shutdown_s)
        except TimeoutError:
            for name in [id_ for id_, owner in self._directory.owner.items() if owner is supervisor]:
                if self._placement.route(name) is not None:
                    await self._placement.kill(name)

    # ------------------------------------------------------------------------------------------------------------
    def _is_over(self, name: str) -> bool:
        return self._end_reason is not None or self._directory.end_of(name) is not None

    def _why_over(self, name: str) -> str:
        if self._end_reason is not None:
            return f"the system stopped ({self._end_reason})"
        return f"it ended ({self._directory.end_of(name)})"

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("system %r: an effect failed", self.spec.name, exc_info=error)

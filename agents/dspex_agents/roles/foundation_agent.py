"""`FoundationAgent`: the base of agents that run declared actions on a state with a schema."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from pydantic import BaseModel

from dspex_agents.actions.action_call import ActionCall
from dspex_agents.actions.decision import decide
from dspex_agents.actions.directive import Directive
from dspex_agents.actions.directive_shell import DirectiveShell
from dspex_agents.actions.instruction import Instruction
from dspex_agents.agent import AgentExit
from dspex_agents.errors import AgentSystemError, SpecError
from dspex_agents.ids import IdSource
from dspex_agents.messaging.message import Priority
from dspex_agents.roles.action_table import ActionLike, ActionTable
from dspex_agents.roles.agent_telemetry import AgentTelemetry
from dspex_agents.roles.coordination import Coordination, Others, coordinate
from dspex_agents.roles.foundation_hooks import FoundationHooks
from dspex_agents.roles.foundation_messages import EndNow, GetState
from dspex_agents.roles.resilience import Sleep
from dspex_agents.roles.self_registration import own_metadata, register
from dspex_agents.services.retry_policy import EXPONENTIAL, RetryPolicy
from dspex_agents.services.telemetry import TELEMETRY, Telemetry
from dspex_agents.signals.signal_messages import SignalDelivery
from dspex_agents.signals.signal_router import SignalRoute
from dspex_agents.state.state_change import apply_state
from dspex_agents.state.state_schema import NoState, check_state_model, checked_state

_LAST_EFFECTS_S = 60.0
_END_TIMEOUT_S = 30.0


class FoundationAgent(FoundationHooks):
    """Runs `actions` on a `State`; an Instruction or ActionCall is answered with the action's output.

    A SignalDelivery runs every action that `routes` (pattern to name of an action) lead to, the signal's data being
    the parameters; it is answered with the outputs. An action finds in its context mapping: `state` (a copy), `agent`
    (its AgentContext), what `action_context` gives, what the instruction brings and, for a signal, `signal` and
    `delivery`. It changes things by returning a `Decision`: first the state, as a whole or not at all, then the other
    directives in their order. With a `concurrency` above 1 the state may have moved on since its copy was made.

    Raises SpecError, when the class or an instance is made, for what cannot work.
    """

    name: ClassVar[str] = ""
    """What kind of agent this is: the class's name unless given. One agent is named by its child spec."""
    description: ClassVar[str] = ""
    """What it is for: the docstring unless given."""
    actions: ClassVar[Sequence[ActionLike]] = ()
    routes: ClassVar[Sequence[SignalRoute[str]]] = ()
    State: type[BaseModel] = NoState

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if "description" not in cls.__dict__:
            cls.description = " ".join((cls.__doc__ or "").split())
        check_state_model(f"agent {cls.name!r}", cls.State)

    def __init__(
        self,
        *,
        capabilities: Iterable[str] = (),
        actions: Iterable[ActionLike] = (),
        state: Mapping[str, Any] | None = None,
        bus: str = "",
        telemetry: Telemetry = TELEMETRY,
        ids: IdSource | None = None,
        retry: RetryPolicy = EXPONENTIAL,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`capabilities` and `actions` are added to the class's, `state` has initial values of fields.

        `bus` names a signal bus for its events and for `Emit`; `retry`, with `sleep` between, is that of registering.
        """
        who = f"agent {self.name!r}"
        own = _checked_capabilities(who, capabilities)
        self.capabilities = type(self).capabilities | own  # type: ignore[misc] # one agent may do more than its class
        self._table = ActionTable(who, (*self.actions, *actions), self.routes)
        self._state: BaseModel = checked_state(self.State, state or {})
        self._bus, self._telemetry_target, self._ids, self._retry, self._sleep = bus, telemetry, ids, retry, sleep
        self._processed = self._failed = self._refused = 0
        self._last_error = ""
        self._ending: str | None = None
        self._nudge: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._committing: asyncio.Task[Any] | None = None

    # what subclasses may use --------------------------------------------------------------------------------------
    @property
    def state(self) -> Any:
        """The state, an instance of `State`. Do not change it: use `carry_out(SetState(...))`."""
        return self._state

    async def carry_out(self, *directives: Directive) -> None:
        """Have directives take effect outside of an action, as in a hook. Raises what they would raise there.

        Not from `on_before_save`, which is part of a change: SpecError.
        """
        if self._committing is not None and self._committing is asyncio.current_task():
            raise SpecError(f"agent {self.context.name!r}: a hook that is part of a change may not begin another one.")
        await self._whole(self._take_effect(self._shell.check(directives)))

    async def coordinate_with(self, others: Others, task: Any, *, timeout_s: float = 30.0) -> Coordination:
        """Ask other agents, by name or those that fit a Query, and return their answers and errors by name.

        See `coordinate` for what it raises.
        """
        return await coordinate(self.context, others, task, timeout_s)

    # life ---------------------------------------------------------------------------------------------------------
    async def on_start(self) -> None:
        """Register, get the state, call `on_mount`. Raises RegistrationError and whatever the hooks raise."""
        context = self.context
        self._shell = DirectiveShell(context, bus=self._bus, check_order=self._table.instruction, end=self._end_soon)
        rng = random.Random(f"{context.name}:{context.epoch}")  # noqa: S311 - jitter of delays, no secret
        metadata = {**own_metadata(context, self.name), "actions": self._table.names}
        await register(context, metadata, self._retry, rng, self._sleep)
        self._state = await self._initial_state()
        self._telemetry = AgentTelemetry(context, self.name, self._telemetry_target, bus=self._bus, ids=self._ids)
        try:
            await self.on_mount(context)
        except BaseException:
            await self._telemetry.close()
            raise
        self._telemetry.emit("agent.started", {"count": 1}, capabilities=sorted(self.capabilities))

    async def on_stop(self, reason: str) -> None:
        """Let what has begun take effect, call `on_shutdown`, close."""
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_LAST_EFFECTS_S)
            await self.on_shutdown(reason)
        finally:
            await self._close(reason)

    async def on_message(self, body: Any) -> Any:
        """Run what an instruction, a call or a signal asks for."""
        if self._ending is not None:
            raise AgentExit(self._ending)
        match body:
            case Instruction() | ActionCall():
                return await self._run(self._known(lambda: (self._table.instruction(body),))[0])
            case SignalDelivery():
                return tuple([await self._run(i) for i in self._known(lambda: self._table.routed(body))])
            case EndNow():  # meant for an incarnation before this one
                return None
            case _:
                return await super().on_message(body)

    async def on_control(self, body: Any) -> Any:
        """Answer what the state is."""
        match body:
            case GetState():
                return self._state.model_copy(deep=True)
            case _:
                return await super().on_control(body)

    def details(self) -> Mapping[str, Any]:
        """Return the kind of agent, actions run with success, failed, and refused before they began."""
        return {
            "agent_type": self.name,
            "processed": self._processed,
            "failed": self._failed,
            "refused": self._refused,
            "last_error": self._last_error,
            **self._telemetry.details(),
        }

    # one action ---------------------------------------------------------------------------------------------------
    def _known(self, lookup: Callable[[], tuple[Instruction, ...]]) -> tuple[Instruction, ...]:
        try:
            return lookup()
        except AgentSystemError:
            self._refused += 1
            raise

    async def _run(self, instruction: Instruction) -> BaseModel:
        clock, about = self.context.clock, {"action": instruction.action.name, "instruction": instruction.id}
        began = clock.monotonic()
        self._telemetry.emit("action.starting", {"count": 1}, **about)
        try:
            output = await self._run_hooked(instruction)
        except BaseException as error:
            why = {"error_type": type(error).__name__, "error": str(error)}
            self._telemetry.emit("action.failed", {"duration_s": clock.monotonic() - began}, **about, **why)
            if isinstance(error, AgentExit) or not isinstance(error, Exception):
                raise
            self._failed += 1
            await self._answer_with(error, about)
        self._processed += 1
        self._telemetry.emit("action.completed", {"duration_s": clock.monotonic() - began}, **about)
        return output

    async def _run_hooked(self, instruction: Instruction) -> BaseModel:
        await self.on_before_run(instruction)
        async with self._lock:  # a change whose asker gave up may be under way: the action must see what comes of it
            state = self._state.model_copy(deep=True)
        around = {**self.action_context(), **instruction.context, "state": state, "agent": self.context}
        output, decided = await decide(instruction, context=around, clock=self.context.clock)
        directives = self._shell.check(decided)
        changed = await self.on_after_run(instruction, output, directives)
        if changed is not None:
            directives = self._shell.check(changed)
        await self._whole(self._take_effect(directives))
        return output

    async def _answer_with(self, error: Exception, about: Mapping[str, Any]) -> NoReturn:
        self._note_error(error, **about)
        told = await self.on_error(error)
        if told is None or told is error:
            raise error
        raise told from error

    def _note_error(self, error: Exception, **about: Any) -> None:
        self._last_error = f"{type(error).__name__}: {error}"
        self._telemetry.emit("agent.error", {"count": 1}, error_type=type(error).__name__, error=str(error), **about)

    async def _take_effect(self, directives: Sequence[Directive]) -> None:
        async with self._lock:  # saves keep the order of the changes
            self._committing = asyncio.current_task()
            try:
                await self._commit(apply_state(self._state, directives))
            finally:
                self._committing = None
        await self._shell.perform(directives)

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work to its end, even if whoever asked gives up: a change is whole or not at all."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._heard)
            raise

    def _heard(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._note_error(error)  # nobody waits for it any more

    def _end_soon(self, reason: str) -> None:
        """End before the next message; the one in hand is still answered."""
        if self._ending is None:
            self._ending = reason
            self._nudge = asyncio.get_running_loop().create_task(self._end_by_message())

    async def _end_by_message(self) -> None:
        with contextlib.suppress(AgentSystemError):  # a mailbox without room has a next message, which ends us as well
            await self.context.ask(self.context.name, EndNow(), priority=Priority.HIGH, timeout_s=_END_TIMEOUT_S)

    # for PersistentAgent ------------------------------------------------------------------------------------------
    async def _initial_state(self) -> BaseModel:
        return self._state

    async def _commit(self, state: BaseModel) -> None:
        """Make this the state; called after each successful action, one at a time."""
        self._state = state

    async def _close(self, reason: str) -> None:
        for task in (*self._tasks, *([self._nudge] if self._nudge else [])):
            task.cancel()
        self._telemetry.emit("agent.terminated", {"count": 1}, reason=reason)
        await self._telemetry.close()


def _checked_capabilities(who: str, given: Any) -> frozenset[str]:
    own = () if isinstance(given, str) else tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in own):
        raise SpecError(f"{who}: capabilities must be a set of texts, got {given!r}.")
    return frozenset(own)

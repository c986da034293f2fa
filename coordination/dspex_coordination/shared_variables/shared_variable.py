"""`SharedVariable`: one versioned value that many agents read, watch and change by agreement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from dspex_agents.actions.directive import SetState
from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentStoppedError, AgentSystemError, UnknownAgentError
from dspex_agents.messaging.message import Priority
from dspex_agents.roles.persistent_agent import PersistentAgent
from dspex_agents.state.snapshot_store import SnapshotStore
from dspex_agents.supervision.query import Criterion, Query
from dspex_coordination.shared_variables.ballot_box import BallotBox, Decision
from dspex_coordination.shared_variables.messages import (
    Ballot,
    Change,
    GetHistory,
    HandOver,
    Join,
    Leave,
    Observe,
    Proposal,
    Propose,
    ReadValue,
    Unobserve,
    ValueChanged,
    Versioned,
)
from dspex_coordination.shared_variables.policy import Assembly, Average, Leader, Policy
from dspex_coordination.shared_variables.refusals import ProposalRefusedError
from dspex_coordination.shared_variables.value_book import Fields, SharedState, ValueBook
from dspex_coordination.space import Space
from dspex_coordination.variables import Variable

_log = logging.getLogger(__name__)
_AT_ONCE = 32  # messages in hand: readers need not wait for a vote


class SharedVariable(PersistentAgent):
    """One value of `domain` (a variable, or a space's candidates as mappings), changed by `policy`; see `messages.py`.

    It begins with the domain's default as version 0; each change is one version more and is saved before it is
    answered, so the value, its members, observers and the latest `history` changes survive a restart. Proposals are
    decided one after another. Observers are told of each change; one that is no agent of the system any more is
    dropped, with a warning and the event `shared_variable.observer_dropped`.
    """

    capabilities = frozenset({"shared-variable"})
    concurrency = _AT_ONCE
    State = SharedState
    persistent_fields = tuple(SharedState.model_fields)

    def __init__(
        self,
        domain: Variable[Any] | Space,
        policy: Policy,
        store: SnapshotStore,
        *,
        history: int = 100,
        **options: Any,
    ) -> None:
        """`options` are those of PersistentAgent. Raises SharedVariableError for what cannot be."""
        self._book = ValueBook(domain, policy, history)
        super().__init__(store, state=self._book.initial(), **options)
        self._changing = asyncio.Lock()
        self._deciding = asyncio.Lock()

    async def on_after_load(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Refuse a stored value that the domain does not hold any more: VariableError or SpaceError."""
        self._book.checked(fields["value"])
        return fields

    async def on_mount(self, context: AgentContext) -> None:  # noqa: ARG002 - the hook's
        """Tell the observers that are there what the value is: the last change may have ended with the process."""
        await self._tell_observers(await self._living_observers(drop=False))

    async def on_message(self, body: Any) -> Any:
        """Answer the messages of `messages.py`."""
        match body:
            case ReadValue() | GetHistory():
                return self._read(body)
            case Propose():
                async with self._deciding:
                    return await self._propose(body)
            case Observe(observer):
                await self._change(lambda state: self._book.observed(state, observer))
                return self._book.read(self.state, None)
            case Unobserve(observer):
                await self._drop_observers([observer])
            case Join():
                await self._change(lambda state: self._book.joined(state, body))
            case Leave(member):
                await self._change(lambda state: {"members": {k: w for k, w in state.members.items() if k != member}})
            case HandOver():
                await self._change(lambda state: self._book.handed_over(state, body))
            case _:
                return await super().on_message(body)
        return None

    async def on_control(self, body: Any) -> Any:
        """Answer what only reads, ahead of all that waits."""
        match body:
            case ReadValue() | GetHistory():
                return self._read(body)
            case _:
                return await super().on_control(body)

    def details(self) -> Mapping[str, Any]:
        """Return version, policy and how many members and observers there are, beside a persistent agent's figures."""
        state = self.state
        shown = {"version": state.version, "policy": type(self._book.policy).__name__.lower()}
        counts = {"members": len(state.members), "observers": len(state.observers)}
        return {**super().details(), **shown, **counts}

    def _read(self, body: ReadValue | GetHistory) -> Versioned | tuple[Change, ...]:
        if isinstance(body, GetHistory):
            return tuple(Change(**change) for change in self.state.history)
        return self._book.read(self.state, body.version)

    async def _change(self, change: Callable[[SharedState], Fields]) -> None:
        """Carry out `change(state) -> fields`, one at a time."""
        async with self._changing:
            fields: Fields = change(self.state)
            if any(getattr(self.state, str(name)) != value for name, value in fields.items()):
                await self.carry_out(SetState(fields))

    async def _propose(self, asked: Propose) -> Versioned:
        value, policy = self._book.admitted(self.state, asked), self._book.policy
        if not isinstance(policy, Leader):
            decision = await self._decide(policy, value, asked)
            if not decision.accepted:
                raise ProposalRefusedError(f"Proposal of {asked.by!r} refused by {policy!r}: {decision}.")
            value = self._book.checked(decision.value)
        await self._whole(self._take(value, asked))
        return self._book.read(self.state, None)

    async def _take(self, value: Any, asked: Propose) -> None:
        at = self.context.clock.now()
        await self._change(lambda state: self._book.changed(state, value, asked, at))
        await self._tell_observers(await self._living_observers())

    async def _decide(self, policy: Assembly, value: Any, asked: Propose) -> Decision:
        """Ask every member at once, until no further answer can change the decision."""
        axis = self._book.domain if isinstance(self._book.domain, Variable) else None
        box = BallotBox(policy, self.state.members, value, axis)
        question = Proposal(self.context.name, self.state.version, value, asked.by, wanted=isinstance(policy, Average))
        asking = [
            asyncio.ensure_future(self._ask(box, member, question, policy.timeout_s)) for member in self.state.members
        ]
        try:
            for answered in asyncio.as_completed(asking):
                await answered
                decision = box.decided()
                if decision is not None:
                    return decision
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise RuntimeError("every member has answered or missed, yet nothing is decided")

    async def _ask(self, box: BallotBox, member: str, question: Proposal, timeout_s: float) -> None:
        try:
            ballot = await self.context.ask(member, question, control=True, timeout_s=timeout_s)
        except (UnknownAgentError, AgentStoppedError) as error:
            box.miss(member, str(error), gone=True)
        except AgentSystemError as error:
            box.miss(member, str(error), gone=False)
        else:
            if isinstance(ballot, Ballot):
                box.cast(member, ballot)
            else:
                box.miss(member, f"a Ballot is an answer, {type(ballot).__name__} is none", gone=False)

    async def _tell_observers(self, observers: Collection[str]) -> None:
        news = ValueChanged(self.context.name, self.state.version, self.state.value)
        told = await asyncio.gather(
            *(self.context.tell(observer, news, priority=Priority.HIGH) for observer in observers),
            return_exceptions=True,
        )
        for observer, error in zip(observers, told, strict=True):
            if isinstance(error, Exception):  # the change stands; the observer asks for it when it starts again
                _log.warning("%s could not tell %r of version %d: %s", news.variable, observer, news.version, error)

    async def _living_observers(self, *, drop: bool = True) -> list[str]:
        observers: list[str] = list(self.state.observers)
        if not observers:
            return []
        try:
            found = await self.context.find(Query(where=(Criterion("name", "in", frozenset(observers)),)))
        except AgentSystemError as error:
            _log.warning("%s could not look its observers up, and tells them all: %s", self.context.name, error)
            return observers
        living = {registration.name for registration in found}
        dead = [observer for observer in observers if observer not in living]
        if dead and drop:
            _log.warning("%s drops observers that are gone: %s", self.context.name, ", ".join(dead))
            self._telemetry.emit("shared_variable.observer_dropped", {"count": len(dead)}, observers=dead)
            await self._drop_observers(dead)
        return [observer for observer in observers if observer in living]

    async def _drop_observers(self, dropped: Collection[str]) -> None:
        gone = frozenset(dropped)
        await self._change(lambda state: {"observers": [one for one in state.observers if one not in gone]})

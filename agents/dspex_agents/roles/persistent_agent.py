"""`PersistentAgent`: a foundation agent whose named fields of state outlive its process, its node and the cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, NoReturn

from pydantic import BaseModel

from dspex_agents.agent import AgentExit
from dspex_agents.errors import SpecError
from dspex_agents.roles.foundation_agent import FoundationAgent
from dspex_agents.state.snapshot import FencedError, check_persistent_fields, fields_of, merged
from dspex_agents.state.snapshot_keeper import Durability, SnapshotKeeper, check_durability
from dspex_agents.state.snapshot_store import SnapshotStore


class PersistentAgent(FoundationAgent):
    """Loads the fields of `persistent_fields` at its start, over the defaults, and saves them when they have changed.

    Durability: "sync" saves before the answer is given, and a change that cannot be saved is none: the state stays,
    the asker gets the error. "async" saves at most `max_delay_s` seconds later, "exit" at the end alone; both save at
    every stop but a kill. Stopping the agent and starting it again under its name is all there is to hibernate and
    thaw. Loading claims the state: an earlier incarnation that still lives can save no more, and ends when it tries.
    Only JSON is stored, so neither processes nor children are: spawn them again in `on_mount`.
    """

    persistent_fields: ClassVar[Collection[str]] = ()
    """Fields of `State`, any of them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_persistent_fields(f"agent {cls.name!r}", cls.State, cls.persistent_fields)

    def __init__(
        self,
        store: SnapshotStore,
        *,
        persistent_fields: Collection[str] | None = None,
        durability: Durability = "sync",
        max_delay_s: float = 0.5,
        **options: Any,
    ) -> None:
        """`persistent_fields` stand in for the class's; `options` are those of FoundationAgent. Raises SpecError."""
        super().__init__(**options)
        names = self.persistent_fields if persistent_fields is None else persistent_fields
        check_persistent_fields(f"agent {self.name!r}", self.State, names)
        if not names:
            raise SpecError(f"agent {self.name!r}: persistent_fields is empty, nothing would be kept.")
        check_durability(durability, max_delay_s)
        self._names = frozenset(names)
        self._store, self._max_delay_s = store, max_delay_s
        self._durability: Durability = durability

    # hooks --------------------------------------------------------------------------------------------------------
    async def on_after_load(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Migrate what an earlier version has stored: return the fields as they are to be now.

        Called once at the start with the stored fields (JSON values), if there are any. If it raises, or returns what
        does not fit, the start has failed, and what is stored stays as it is.
        """
        return fields

    async def on_before_save(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Return the fields to be stored, as JSON values.

        Called with those of the state after each action that succeeded. If it raises, the change is refused, in every
        durability.
        """
        return fields

    def details(self) -> Mapping[str, Any]:
        """Return the figures of a foundation agent and how saving goes."""
        return {**super().details(), "persistence": self._keeper.details()}

    # what FoundationAgent calls -----------------------------------------------------------------------------------
    async def _initial_state(self) -> BaseModel:
        self._keeper = SnapshotKeeper(
            self._store,
            self.context,
            durability=self._durability,
            max_delay_s=self._max_delay_s,
            on_failure=self._save_failed,
            sleep=self._sleep,
        )
        stored = await self._keeper.load()
        if stored is None:
            return self._state
        fields = await self.on_after_load(stored)
        return merged(self._state, self._returned("on_after_load", fields), self._names)

    async def _commit(self, state: BaseModel) -> None:
        fields = await self.on_before_save(fields_of(state, self._names))
        try:
            await self._keeper.keep(self._returned("on_before_save", fields))
        except FencedError as error:
            self._fenced(error)
        await super()._commit(state)

    async def _close(self, reason: str) -> None:
        try:
            await self._keeper.close()
        except Exception as error:
            self._note_error(error)
            raise  # the cell logs it
        finally:
            await super()._close(reason)

    def _save_failed(self, error: Exception) -> None:
        self._note_error(error)
        if isinstance(error, FencedError):
            self._end_soon(_fence_reason(error))

    def _fenced(self, error: FencedError) -> NoReturn:
        self._note_error(error)
        self._end_soon(_fence_reason(error))  # whoever asked may have given up, and then nobody hears of the exit
        raise AgentExit(_fence_reason(error))

    def _returned(self, hook: str, fields: object) -> Mapping[str, Any]:
        if not isinstance(fields, Mapping):
            raise SpecError(f"agent {self.name!r}: {hook} must return the fields, got {fields!r}.")
        return fields


def _fence_reason(error: FencedError) -> str:
    return f"fenced off: epoch {error.stored_epoch} has claimed its state"

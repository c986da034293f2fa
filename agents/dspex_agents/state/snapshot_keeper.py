"""`SnapshotKeeper`: when one agent's state is saved, and that it is saved in the order in which it changed."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from dspex_agents.agent import AgentContext
from dspex_agents.errors import SpecError
from dspex_agents.roles.resilience import Sleep
from dspex_agents.state.snapshot import FencedError, json_text
from dspex_agents.state.snapshot_store import SnapshotStore

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
Durability = Literal["sync", "async", "exit"]
"""sync: before the answer is given. async: at most `max_delay_s` later, many changes at once. exit: at the end only."""
DURABILITIES: tuple[Durability, ...] = ("sync", "async", "exit")


class SnapshotKeeper:
    """Saves the fields that any agent hands it; what is not changed is not saved again.

    An agent calls `load` in its `on_start`, `keep` after each change, `close` in its `on_stop`. A save in the
    background that fails is logged, counted, told to `on_failure`, and tried again after `max_delay_s`, unless the
    agent is fenced off.
    """

    def __init__(
        self,
        store: SnapshotStore,
        context: AgentContext,
        *,
        durability: Durability = "sync",
        max_delay_s: float = 0.5,
        on_failure: Callable[[Exception], None],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`on_failure` and `sleep` are for saves in the background. Raises SpecError for bad settings."""
        check_durability(durability, max_delay_s)
        self._store, self._context, self._max_delay_s = store, context, max_delay_s
        self._durability: Durability = durability
        self._on_failure, self._sleep = on_failure, sleep
        self._saved: str | None = None
        self._wanted: tuple[str, Mapping[str, Any]] | None = None
        self._lock = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self.revision = self.saves = self.failures = 0
        self.last_error = ""
        self.is_fenced = False

    async def load(self) -> dict[str, Any] | None:
        """Claim the state for this incarnation and return the stored fields, None if there are none.

        Raises FencedError and StoreError.
        """
        found = await self._call(self._store.claim)
        if found is None:
            return None
        self.revision, self._saved = found.revision, json_text(found.fields)
        return dict(found.fields)

    async def keep(self, fields: Mapping[str, Any]) -> None:
        """Save the fields (JSON values) as the durability says.

        Raises SnapshotError for what cannot be stored; in `sync` mode StoreError and FencedError too.
        """
        text = json_text(fields)
        if self._durability == "sync":
            async with self._lock:
                await self._write(text, fields)
            return
        self._wanted = (text, fields)
        if self._durability == "async" and self._writer is None and text != self._saved:
            self._writer = asyncio.get_running_loop().create_task(self._write_later())

    async def flush(self) -> None:
        """Save what is not saved yet. Raises StoreError and FencedError."""
        async with self._lock:
            if self._wanted is not None:
                wanted = self._wanted
                await self._write(*wanted)
                if self._wanted is wanted:
                    self._wanted = None

    async def close(self) -> None:
        """Save what is not saved yet, and end. Raises StoreError and FencedError."""
        try:
            if not self.is_fenced:
                await self.flush()
        finally:
            if self._writer is not None:  # it only waits by now: a save under way is never cut off, or two might cross
                self._writer.cancel()

    def details(self) -> Mapping[str, Any]:
        """Return the figures as JSON values."""
        return {
            "durability": self._durability,
            "revision": self.revision,
            "saves": self.saves,
            "unsaved": self._wanted is not None and self._wanted[0] != self._saved,
            "save_failures": self.failures,
            "last_save_error": self.last_error,
        }

    async def _write(self, text: str, fields: Mapping[str, Any]) -> None:
        if text == self._saved:
            return
        try:
            self.revision = await self._call(self._store.save, fields)
        except Exception as error:
            self.is_fenced = self.is_fenced or isinstance(error, FencedError)
            self.failures += 1
            self._saved = None  # it may have been saved all the same: the next one is in any case
            self.last_error = f"{type(error).__name__}: {error}"
            raise
        self._saved = text
        self.saves += 1

    async def _call(self, method: Callable[..., _T], *args: Any) -> _T:
        context = self._context
        call = functools.partial(method, context.name, context.epoch, *args, context.clock.now())
        return await asyncio.get_running_loop().run_in_executor(self._store.threads, call)

    async def _write_later(self) -> None:
        try:
            while self._wanted is not None and not self.is_fenced:
                await self._sleep(self._max_delay_s)
                try:
                    await self.flush()
                except Exception as error:  # noqa: BLE001 - whatever the database raises: the change stays unsaved, and is told
                    _log.warning("the state of agent %r is not saved", self._context.name, exc_info=True)
                    self._on_failure(error)
        finally:
            self._writer = None


def check_durability(durability: str, max_delay_s: float) -> None:
    """Raise SpecError for an unknown durability or a delay that is not above 0."""
    if durability not in DURABILITIES:
        raise SpecError(f"durability must be one of {', '.join(map(repr, DURABILITIES))}, got {durability!r}.")
    if not max_delay_s > 0:
        raise SpecError(f"max_delay_s must be a number of seconds above 0, got {max_delay_s!r}.")

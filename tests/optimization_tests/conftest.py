"""A small routing program, a model that can be held up, and stores that are closed again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import dspex_ray.optimization
from dspex_ray.agent_system import AgentSystem, start_agent_system
from dspex_ray.configuration import configure
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.embedded import EmbeddedNearest
from dspex_ray.store import Store, open_store


class HeldLM:
    """`embedded/nearest` that answers `free` calls at once and the others when `gate` is opened; $0.001 a call.

    Its figures are the class's own, so that copies in agents of this process share them.
    """

    model = "held/nearest"
    free: ClassVar[int]
    gate: ClassVar[threading.Event]
    lock: ClassVar[threading.Lock] = threading.Lock()
    started: ClassVar[int]
    answered: ClassVar[int]

    @classmethod
    def reset(cls, free: int) -> None:
        cls.free, cls.started, cls.answered = free, 0, 0
        cls.gate = threading.Event()

    async def complete(self, request: LMRequest) -> LMReply:
        kind = type(self)
        with kind.lock:
            number, kind.started = kind.started, kind.started + 1
        # hundreds of calls on several loops wait for one event of another thread: no asyncio.Event, no thread each
        while number >= kind.free and not kind.gate.is_set():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)
        reply = await EmbeddedNearest().complete(request)
        with kind.lock:
            kind.answered += 1
        usage = Usage(prompt_tokens=len(request.messages), completion_tokens=1)
        return LMReply(text=reply.text, model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        return


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("DSPEX_LM", "DSPEX_STORE", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    configure(lm=None)


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    stores: list[Store] = []

    def make() -> Store:
        stores.append(open_store(str(tmp_path / f"store-{len(stores)}.db")))
        return stores[-1]

    yield make
    for store in stores:
        store.database.close()


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    return make_store()


@pytest.fixture
def held() -> Iterator[type[HeldLM]]:
    HeldLM.reset(free=10**9)
    yield HeldLM
    HeldLM.gate.set()


@pytest.fixture
def systems(monkeypatch: pytest.MonkeyPatch) -> list[AgentSystem]:
    """Return the agent systems that `optimize` starts, as it starts them."""
    started: list[AgentSystem] = []

    def start(*args: Any, **options: Any) -> AgentSystem:
        started.append(start_agent_system(*args, **options))
        return started[-1]

    monkeypatch.setattr(dspex_ray.optimization, "start_agent_system", start)
    return started


@pytest.fixture
def shop() -> tuple[type[ShopRoute], str]:
    """Return the demo's program and the path of its data."""
    return ShopRoute, str(DATA)


@pytest.fixture
def kill_host() -> Callable[[AgentSystem, str], None]:
    """Return a function that kills the in-process host of an agent, as `kill -9` would its process."""

    def kill(system: AgentSystem, agent: str) -> None:
        system.system._root._target._placement.route(agent).port.kill()

    return kill

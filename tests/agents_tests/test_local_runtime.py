"""The runtime contract in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from children_contract import ChildrenContract
from runtime_contract import RuntimeContract, Start

from dspex_agents import System, SystemSpec, start_local_system


class TestLocalRuntime(RuntimeContract, ChildrenContract):
    @pytest.fixture
    def start(self) -> Iterator[Start]:
        with contextlib.ExitStack() as stack:

            def begin(spec: SystemSpec) -> System:
                return stack.enter_context(start_local_system(spec))

            yield begin

    def kill_host_of(self, system: System, agent: str) -> None:
        root = system._root._target
        root._placement.route(agent).port.kill()

    def test_a_blocking_call_from_inside_the_runtime_is_refused_instead_of_waiting_for_ever(self, start: Start) -> None:
        from runtime_contract import echo, spec_of  # noqa: PLC0415

        system = start(spec_of(echo()))
        port = system._root

        async def inside() -> None:
            port.call_blocking("tree")

        with pytest.raises(RuntimeError, match="wait for itself"):
            __import__("asyncio").run_coroutine_threadsafe(inside(), port._loop).result(5)

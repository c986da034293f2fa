"""`ArmReporter`: tells the cluster twice a second what the arms of an endpoint did in this replica."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dspex_agents import AgentSystemError
from dspex_ray.traffic.ramping import ReportArms
from dspex_ray.traffic.tally import ArmTally

_REPORT_S: Final = 0.5


class ArmReporter:
    """Reports what a tally has; a report that did not arrive is sent again, and the next one waits in the tally."""

    def __init__(
        self, endpoint: str, replica: str, tally: ArmTally, ask: Callable[[ReportArms], Awaitable[Any]]
    ) -> None:
        self._endpoint, self._replica, self._tally, self._ask = endpoint, replica, tally, ask
        self._sent, self._report = 0, ReportArms(endpoint, replica, 0)
        self._reporting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to report."""
        self._reporting = asyncio.create_task(self._report_often(), name=f"arms of {self._endpoint}")

    async def stop(self) -> None:
        """Report no more."""
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)

    async def _report_often(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            if self._report.number == self._sent:  # it arrived
                arms = self._tally.take()
                if not arms:
                    continue
                self._report = ReportArms(self._endpoint, self._replica, self._sent + 1, arms)
            with contextlib.suppress(AgentSystemError):  # nobody is there: again, twice a second
                await self._ask(self._report)
                self._sent = self._report.number

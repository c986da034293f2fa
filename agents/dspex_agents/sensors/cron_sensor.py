"""`CronSensor`: publishes at the times of a cron expression, in a time zone, also across changes of its clocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from dspex_agents.errors import SpecError
from dspex_agents.sensors.sensor import Read, SensorAgent, read_once
from dspex_agents.signals.signal import Signal, rfc3339

_SOME_DAY = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class CronTimes:
    """The times of a cron expression of five fields (or six, seconds first), as Debian's cron reads them.

    Names (`MON`, `JAN`), ranges, steps, `L` (last), `#` (n-th weekday) are known. When clocks go forward, a time that
    does not exist is moved behind the gap; when they go back, a fixed time occurs once. Raises SpecError for an
    expression that cannot be read or never occurs, and for an unknown time zone.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        self.expression = expression
        try:
            self._zone: dt.tzinfo = dt.UTC if timezone == "UTC" else ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SpecError(f"cron: no time zone {timezone!r}; use a name such as 'Europe/Berlin'.") from None
        try:
            next(CronSim(expression, _SOME_DAY))
        except CronSimError as error:
            form = "minute hour day-of-month month day-of-week, such as '*/5 8-18 * * MON-FRI'"
            raise SpecError(f"cron expression {expression!r}: {error}. The fields are {form}.") from None
        except StopIteration:
            raise SpecError(f"cron expression {expression!r} never occurs.") from None

    def next_after(self, now: float) -> float:
        """Return the first time after `now`, both in seconds since the epoch."""
        times = CronSim(self.expression, dt.datetime.fromtimestamp(now, self._zone))
        # within an hour that comes twice, cronsim starts with the first of the two, which may be over
        return next(at for time in times if (at := time.timestamp()) > now)


class CronSensor(SensorAgent):
    """Publishes at each time of the expression: what `read` returns (None says nothing), else the time itself."""

    def __init__(
        self, bus: str, type_: str, expression: str, *, timezone: str = "UTC", read: Read | None = None, **options: Any
    ) -> None:
        """`read` may be async and must not block; `options` are those of SensorAgent. Raises SpecError."""
        super().__init__(bus, **options)
        self._type, self._times, self._read = type_, CronTimes(expression, timezone), read

    def next_after(self, now: float) -> float:
        """Return the next time of the expression."""
        return self._times.next_after(now)

    async def poll(self) -> Sequence[Signal]:
        """Read once."""
        at = {"at": rfc3339(self.context.clock.now()), "cron": self._times.expression}
        data = at if self._read is None else await read_once(self._read)
        return [] if data is None else [self.signal(self._type, data)]

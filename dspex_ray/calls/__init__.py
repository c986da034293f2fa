"""Model calls recorded: one record for each, its journal, the ledger they end in, and the budgets they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_ray.calls.record import (
        CallLog,
        CallRecord,
    )
    from dspex_ray.calls.recorded import (
        metered,
        recorded_call,
        recorded_stream,
        recording,
        within_program,
    )
    from dspex_ray.calls.tags import (
        CallTags,
        tagged,
    )

_HOMES = {
    "CallLog": "dspex_ray.calls.record",
    "CallRecord": "dspex_ray.calls.record",
    "CallTags": "dspex_ray.calls.tags",
    "metered": "dspex_ray.calls.recorded",
    "recorded_call": "dspex_ray.calls.recorded",
    "recorded_stream": "dspex_ray.calls.recorded",
    "recording": "dspex_ray.calls.recorded",
    "tagged": "dspex_ray.calls.tags",
    "within_program": "dspex_ray.calls.recorded",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "CallLog",
    "CallRecord",
    "CallTags",
    "metered",
    "recorded_call",
    "recorded_stream",
    "recording",
    "tagged",
    "within_program",
]

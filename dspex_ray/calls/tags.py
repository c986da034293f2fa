"""What model calls and spans are made for, told by the code around them."""

from __future__ import annotations

import contextvars
import dataclasses
from dataclasses import dataclass
from typing import Any

from dspex_ray.context_value import Within


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTags:
    """What a call was made for; every field may be unknown."""

    run_id: str | None = None
    trial: int | None = None
    row: int | None = None
    version: str | None = None
    request_id: str | None = None
    module: str | None = None
    agent: str | None = None
    tenant: str | None = None


NO_TAGS = CallTags()
current_tags: contextvars.ContextVar[CallTags] = contextvars.ContextVar("dspex_call_tags", default=NO_TAGS)


def tagged(**tags: Any) -> Within[None]:
    """Give the calls made within a run id, trial, row, version or request id, over those given outside.

    Raises TypeError for any other tag.
    """
    return Within(current_tags, dataclasses.replace(current_tags.get(), **tags), None)

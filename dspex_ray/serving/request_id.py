"""Request ids: a client's own when it is sane, else a fresh one."""

from __future__ import annotations

import re

HEADER = "x-request-id"
MAX_LENGTH = 128

_SANE = re.compile(rf"[\x21-\x7e]{{1,{MAX_LENGTH}}}")


def is_sane_request_id(value: str | None) -> bool:
    """Say whether a client's id may be taken over: 1 to 128 printable ASCII characters without spaces."""
    return value is not None and _SANE.fullmatch(value) is not None

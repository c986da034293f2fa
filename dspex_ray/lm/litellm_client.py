"""Every other provider, through litellm. The only file that imports it, and only when a call is made."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from dspex_agents.settings import pin_local_price_table
from dspex_ray.errors import (
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMContextWindowError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)

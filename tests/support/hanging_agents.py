"""Agents that misbehave on request, importable in every process a test starts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dspex_agents import Agent


class Blocks(Agent):
    """Stands on the event loop when told to."""

    async def on_message(self, body: Any) -> Any:
        if body == "block":
            time.sleep(600)  # noqa: ASYNC251 - the fault under test
        if body == "epoch":
            return self.context.epoch
        return body


class Light(Agent):
    """Answers with its own name."""

    mailbox_size = 10

    async def on_message(self, body: Any) -> Any:
        return self.context.name, body


class Locked(Agent):
    """Holds what cannot travel."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer


class LastWords(Agent):
    """Writes down why it is stopped."""

    def __init__(self, path: str) -> None:
        self.path = path

    async def on_stop(self, reason: str) -> None:
        Path(self.path).write_text(reason, encoding="utf-8")  # noqa: ASYNC240 - a few bytes in a test

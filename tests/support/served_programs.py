"""Programs without a model, importable in replicas too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from dspex_coordination.variables import Float
from dspex_ray.calls.buffer import Row
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema
from dspex_ray.serving.base import Bill


class Echo(Program):
    """Give the message back."""

    class Input(Schema):
        message: str
        pause_s: float = 0.0

    class Output(Schema):
        message: str
        pid: int

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        if input.pause_s:
            await asyncio.sleep(input.pause_s)
        return self.Output(message=self.prefix + input.message, pid=os.getpid())


class Tuned(Program):
    """Tell the value that tells versions apart; a version whose value is 1 always fails."""

    class Input(Schema):
        pause_s: float = 0.0

    class Output(Schema):
        value: float
        pid: int

    share = Float(0.0, 1.0, default=0.0)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        if input.pause_s:
            await asyncio.sleep(input.pause_s)
        if self.share == 1:
            raise RuntimeError("told to fail")
        return self.Output(value=self.share, pid=os.getpid())


class BreaksOnArrival(Echo):
    """Cannot be unpacked."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        msg = "no such tokenizer file"
        raise RuntimeError(msg)


class Billing:
    """A service that notes one row for each request."""

    description = "Bills."

    def input_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    def output_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    async def answer(self, fields: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
        bill.rows.append({"request_id": bill.request_id, "version": bill.version})
        bill.cost_usd = 0.000123
        return dict(fields)

    async def aclose(self) -> None:
        return None


class FileSink:
    """Writes a line for each row to a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self) -> FileSink:
        return self

    async def write(self, rows: list[Row]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - a few bytes in a test
            file.writelines(f"{row['request_id']} {row['version']}\n" for row in rows)

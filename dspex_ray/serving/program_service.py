"""A `Program` as the service the HTTP application asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from typing import Any, Literal

from dspex_ray.calls import CallRecord, metered, recording, tagged
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program import Program
from dspex_ray.serving.base import Bill
from dspex_ray.streaming.front import astream


class ProgramServiceFor:
    """Answers inputs with one program, and bills every model call it makes on the way."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def description(self) -> str:
        """The program's instruction."""
        return str(self._program.instruction)

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the program's Input."""
        return self._program.Input.model_json_schema(mode="validation")

    def output_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the program's Output as it is sent."""
        return self._program.Output.model_json_schema(mode="serialization")

    async def answer(self, fields: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
        """Answer one input. Raises what `Program.acall` raises; the calls made until then are billed."""
        with _billed(bill):
            output = await self._program.acall(fields)
        answer: dict[str, Any] = output.model_dump(mode="json")
        return answer

    async def stream(
        self, fields: Mapping[str, Any], bill: Bill
    ) -> AsyncGenerator[tuple[Literal["piece", "output"], Mapping[str, Any]], None]:
        """Answer one input piece by piece; likewise. To be iterated and closed in one task."""
        with _billed(bill):
            async with aclosing(astream(self._program, fields)) as pieces:
                async for piece in pieces:
                    if piece.output is None:
                        yield "piece", piece.as_json()
                    else:
                        yield "output", piece.output.model_dump(mode="json")

    async def aclose(self) -> None:
        """Close the connections of the program's model."""
        await self._program.aclose()


def pack_program(program: Program) -> Parcel:
    """Return the program as a parcel, with the model it would ask here: another process has no default of ours.

    Raises ProgramError when it holds something that cannot travel.
    """
    return Parcel.of(program.with_defaults())


@contextmanager
def _billed(bill: Bill) -> Iterator[None]:
    told = tagged(request_id=bill.request_id, version=bill.version, agent=bill.agent)
    with told, nullcontext() if bill.meter is None else metered(bill.meter), recording() as log:
        try:
            yield
        finally:
            bill.rows.extend(record.as_row() for record in log.records)
            bill.cost_usd = _cost(log.records)


def _cost(records: Sequence[CallRecord]) -> float | None:
    """Return what the calls cost in US dollars, or None when one that was answered has no known price."""
    if any(record.cost_usd is None and record.status == "ok" for record in records):
        return None
    return sum(record.cost_usd or 0.0 for record in records)

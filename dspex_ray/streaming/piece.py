"""`StreamPiece`: what a stream of a program gives, piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from dspex_ray.schema import Schema

Out = TypeVar("Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPiece(Generic[Out]):
    """News of one model call; the last piece of a stream alone has `output`.

    `place` says which sub-program calls, "" for the program itself; `call` numbers the calls of a stream from 0, since
    one place may call several times at once, and is None in the last piece. `delta` is the new text of the reply.
    `partial` holds all output fields that are known so far, to be read only: a text may still grow at its end, a list
    by whole items, a nested schema is a mapping that grows by its members, all other values are final. `complete`
    names the fields that are final. `restarted` says that whatever was shown of this call is void: the model is asked
    again because its reply was not valid, or what looked like the answer was none.
    """

    place: str = ""
    call: int | None = None
    delta: str = ""
    partial: Mapping[str, Any] = field(default_factory=dict)
    complete: tuple[str, ...] = ()
    restarted: bool = False
    output: Out | None = None
    schema: type[Schema] | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return all but the output as JSON, with the values in the schema's own JSON form."""
        shown: dict[str, Any] = {
            "place": self.place,
            "call": self.call,
            "delta": self.delta,
            "partial": self._partial_json(),
            "complete": list(self.complete),
        }
        return {**shown, "restarted": True} if self.restarted else shown

    def _partial_json(self) -> dict[str, Any]:
        if self.schema is None or not self.partial:
            return dict(self.partial)
        held = self.schema.model_construct(_fields_set=set(self.partial), **self.partial)
        # a growing schema is a mapping, of which pydantic would warn
        return held.model_dump(mode="json", include=set(self.partial), warnings=False, fallback=repr)

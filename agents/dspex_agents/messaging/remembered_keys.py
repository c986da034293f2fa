"""Idempotency keys of one incarnation of an agent: two messages of one key are handled once and share the answer."""

from __future__ import annotations

from collections import OrderedDict

from dspex_agents.messaging.message import Answer, Envelope, Reply

_MOST = 1024


class RememberedKeys:
    """The keys that are being handled, and the answers of the last 1024. Pure."""

    __slots__ = ("_answered", "_open")

    def __init__(self) -> None:
        self._open: dict[str, list[tuple[Envelope, Answer]]] = {}
        self._answered: OrderedDict[str, Reply] = OrderedDict()

    def is_repeated(self, key: str, envelope: Envelope, answer: Answer) -> bool:
        """Say whether a message of this key came before; then this one is answered as that one was or will be."""
        if (reply := self._answered.get(key)) is not None:
            answer(envelope, reply._replace(id=envelope.id))
        elif (others := self._open.get(key)) is not None:
            others.append((envelope, answer))
        else:
            self._open[key] = []
            return False
        return True

    def settle(self, key: str, reply: Reply, *, handled: bool) -> None:
        """Answer those that came meanwhile. Where nothing was handled, the key is free again."""
        others = self._open.pop(key, None)
        if others is None:
            return
        if handled:
            self._answered[key] = reply
            if len(self._answered) > _MOST:
                self._answered.popitem(last=False)
        for envelope, answer in others:
            answer(envelope, reply._replace(id=envelope.id))

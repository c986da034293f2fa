"""Idempotency keys of one incarnation of an agent: two messages of one key are handled once and share the answer."""

from __future__ import annotations

from collections import OrderedDict

from dspex_agents.messaging.message import Answer, Envelope, Reply

_MOST = 1024


class RememberedKeys:
    """The keys that are being handled, and the answers of the last 1024. Pure."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[str, Reply | list[tuple[Envelope, Answer]]] = OrderedDict()

    def is_repeated(self, key: str, envelope: Envelope, answer: Answer) -> bool:
        """Say whether a message of this key came before; then this one is answered as that one was or will be."""
        known = self._known.get(key)
        if known is None:
            self._known[key] = []
            self._trim()
            return False
        if isinstance(known, Reply):
            answer(envelope, known._replace(id=envelope.id))
        else:
            known.append((envelope, answer))
        return True

    def settle(self, key: str, reply: Reply, *, handled: bool) -> None:
        """Answer those that came meanwhile. Where nothing was handled, the key is free again."""
        waiting = self._known.get(key)
        if not isinstance(waiting, list):
            return
        if handled:
            self._known[key] = reply
        else:
            del self._known[key]
        for envelope, answer in waiting:
            answer(envelope, reply._replace(id=envelope.id))

    def _trim(self) -> None:
        while len(self._known) > _MOST and isinstance(next(iter(self._known.values())), Reply):
            self._known.popitem(last=False)

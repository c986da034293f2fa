"""Which processes of a warm pool serve a system as which host, kept so that a restarted root finds them."""

from __future__ import annotations

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put


class Loans:
    """One entry of the cluster's key-value store for each host: its id, and the name of the actor that is it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}/loans/".encode()

    def note(self, host_id: str, actor: str) -> None:
        """Keep this; durable on return."""
        _internal_kv_put(self._prefix + host_id.encode(), actor.encode(), overwrite=True)

    def drop(self, host_id: str) -> None:
        """Forget this host."""
        _internal_kv_del(self._prefix + host_id.encode())

    def all(self) -> dict[str, str]:
        """Return the actors' names by host id."""
        found: dict[str, str] = {}
        for key in _internal_kv_list(self._prefix):
            if (actor := _internal_kv_get(key)) is not None:
                found[key.removeprefix(self._prefix).decode()] = actor.decode()
        return found

    def clear(self) -> None:
        """Forget all."""
        for key in _internal_kv_list(self._prefix):
            _internal_kv_del(key)

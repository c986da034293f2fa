"""Children that were added at run time, kept in the cluster's key-value store so that they outlive their root."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

import cloudpickle
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put

from dspex_agents.supervision.child_spec import AnySpec

_Entries = dict[str, tuple[str, AnySpec]]


class ChildArchive:
    """One entry of the store for each batch added, and one that lists who is gone of batches that are still needed.

    A call costs about a millisecond, so thousands of children that come together share one.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}/children/"
        self._batches: dict[str, set[str]] = {}
        self._batch_of: dict[str, str] = {}
        self._gone: set[str] = set()

    def remember(self, children: Mapping[str, tuple[str, AnySpec]]) -> None:
        """Keep these children; durable on return."""
        key = f"{self._prefix}{max((int(k.rsplit('/', 1)[1]) for k in self._batches), default=0) + 1:09d}"
        if back := self._gone & set(children):
            self._drop_gone(back)  # an id that comes again must not be taken for the one that went
        _internal_kv_put(key.encode(), cloudpickle.dumps(dict(children)), overwrite=True)
        self._admit(key, children)

    def forget(self, ids: Iterable[str]) -> None:
        """Drop these children; durable on return."""
        newly = [id_ for id_ in ids if id_ in self._batch_of]
        for id_ in newly:
            key = self._batch_of.pop(id_)
            self._batches[key].discard(id_)
            self._gone.add(id_)
            if not self._batches[key]:
                del self._batches[key]
                _internal_kv_del(key.encode())
        if not self._batches:
            self._gone.clear()
        if newly:
            self._write_gone()

    def retire(self, ids: Collection[str]) -> None:
        """Keep which children of the specification were removed."""
        _internal_kv_put(self._retired_key, json.dumps(sorted(ids)).encode(), overwrite=True)

    def retired(self) -> set[str]:
        """Return which children of the specification were removed."""
        return set(json.loads(_internal_kv_get(self._retired_key) or b"[]"))

    def clear(self) -> None:
        """Keep nothing: the system is stopped."""
        for raw in (*_internal_kv_list(self._prefix.encode()), self._retired_key):
            _internal_kv_del(raw)

    def load(self) -> _Entries:
        """Return the children that are kept, in the order in which they were added."""
        self._gone = set(json.loads(_internal_kv_get(self._gone_key) or b"[]"))
        found: _Entries = {}
        for raw in sorted(_internal_kv_list(self._prefix.encode())):
            if raw == self._gone_key or (packed := _internal_kv_get(raw)) is None:
                continue
            children: _Entries = cloudpickle.loads(packed)
            kept = {id_: entry for id_, entry in children.items() if id_ not in self._gone}
            self._admit(raw.decode(), kept)
            found |= kept
        return found

    @property
    def _retired_key(self) -> bytes:
        return self._prefix.replace("/children/", "/retired").encode()

    @property
    def _gone_key(self) -> bytes:
        return f"{self._prefix}gone".encode()

    def _admit(self, key: str, children: Iterable[str]) -> None:
        self._batches[key] = set(children)
        self._batch_of |= dict.fromkeys(children, key)

    def _drop_gone(self, ids: set[str]) -> None:
        """Forget that these are gone, after rewriting the batches that still hold their old selves."""
        for raw in _internal_kv_list(self._prefix.encode()):
            if raw == self._gone_key or (packed := _internal_kv_get(raw)) is None:
                continue
            children: _Entries = cloudpickle.loads(packed)
            if ids & set(children):
                kept = {id_: entry for id_, entry in children.items() if id_ not in ids}
                _internal_kv_put(raw, cloudpickle.dumps(kept), overwrite=True)
        self._gone -= ids
        self._write_gone()

    def _write_gone(self) -> None:
        if self._gone:
            _internal_kv_put(self._gone_key, json.dumps(sorted(self._gone)).encode(), overwrite=True)
        else:
            _internal_kv_del(self._gone_key)

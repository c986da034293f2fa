"""`ModelSource`: where a program's model comes from, and the client made for it."""

from __future__ import annotations

from typing import Any

from dspex_ray.configuration import checked_lm, chosen_cache, chosen_limits, chosen_lm
from dspex_ray.lm.base import LM
from dspex_ray.lm.cache import CachedLM, CacheSettings, MemoryCache
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.resolve import EMBEDDED, resolve_lm


class ModelSource:
    """One model for a program and its copies: a name, a client the user made, or the process's default.

    With a cache, equal requests are asked once; `embedded/nearest` needs none. A client made here from a name keeps
    `limits` and is closed by `aclose`; one the user made has limits of its own and is the user's to close, but for a
    copy that came from another process. Pickles without the client it made. Raises ConfigurationError for what is
    neither a name nor a client.
    """

    def __init__(
        self, own: str | LM | None = None, cache: CacheSettings | None = None, limits: LMLimits | None = None
    ) -> None:
        self.own, self.cache, self.limits = checked_lm(own), cache, limits
        self._made: LM | None = None
        self._made_from: tuple[str | LM, CacheSettings, LMLimits | None] | None = None
        self._memory: MemoryCache | None = None  # of replies; outlives the clients made here
        self._is_copy = False  # of a client that the user made: it came from another process, so nobody else closes it
        self._others: dict[str | ModelSource, ModelSource] = {}  # by model name or part: their connections are shared

    @property
    def name(self) -> str | None:
        """The name of the program's own model; None if it uses the process's default."""
        return self.own if self.own is None or isinstance(self.own, str) else self.own.model

    def but(self, **changes: Any) -> ModelSource:
        """Return a source that differs in `own`, `cache` or `limits`."""
        other = ModelSource(**{"own": self.own, "cache": self.cache, "limits": self.limits, **changes})
        other._is_copy = self._is_copy and "own" not in changes
        return other

    def named(self, model: str) -> ModelSource:
        """Return the source of another model with the same settings; the same one each time."""
        if model not in self._others:
            self._others[model] = self.but(own=model)
        return self._others[model]

    def under(self, part: ModelSource) -> ModelSource:
        """Return what a part uses within a program of this source: its own settings where it has any."""
        own = {name: value for name in ("own", "cache", "limits") if (value := getattr(part, name)) is not None}
        if not own:
            return self
        if part not in self._others:
            self._others[part] = self.but(**own)
            if "own" in own:
                self._others[part]._is_copy = part._is_copy  # noqa: SLF001 - of this class
        return self._others[part]

    def settled(self) -> ModelSource:
        """Return a source of the same model, cache and limits that depends on no default of this process."""
        return ModelSource(chosen_lm(self.own), chosen_cache(self.cache), chosen_limits(self.limits))

    def client(self) -> LM:
        """Return the client, made on first use and again after the process's defaults changed or `aclose`.

        Raises UnknownNameError or ConfigurationError for a name that is not known or cannot be used.
        """
        chosen, cache, limits = chosen_lm(self.own), chosen_cache(self.cache), chosen_limits(self.limits)
        if not isinstance(chosen, str) and cache.kind == "off":
            return chosen
        if self._made is None or self._made_from != (chosen, cache, limits):
            self._made, self._made_from = self._new_client(chosen, cache, limits), (chosen, cache, limits)
        return self._made

    def _new_client(self, chosen: str | LM, cache: CacheSettings, limits: LMLimits | None) -> LM:
        lm = resolve_lm(chosen, limits=limits)
        if cache.kind == "off" or lm.model == EMBEDDED:
            return lm
        if self._memory is None or self._memory.max_bytes != cache.memory_bytes:
            self._memory = MemoryCache(cache.memory_bytes)
        return CachedLM(lm, cache, memory=self._memory)

    async def aclose(self) -> None:
        """Close the client made here, if any; the next use makes a new one."""
        made, self._made = self._made, None
        if made is not None and self._made_from is not None and isinstance(self._made_from[0], str):
            await made.aclose()
        elif self._is_copy and self.own is not None and not isinstance(self.own, str):
            await self.own.aclose()
        for other in self._others.values():
            await other.aclose()

    def __getstate__(self) -> dict[str, object]:
        unmade: dict[str, object] = {
            "_is_copy": True,
            "_made": None,
            "_made_from": None,
            "_memory": None,
            "_others": {},
        }
        return {"own": self.own, "cache": self.cache, "limits": self.limits, **unmade}

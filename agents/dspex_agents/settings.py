"""The process environment: read here, written here, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Values of secrets are looked up by name and never kept or shown."""

    lm: str | None = None
    store: str | None = None
    cache: str | None = None
    config: str | None = None
    ray_address: str | None = None
    trace: str | None = None
    trace_content: str | None = None
    _environ: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `environ`, by default the process environment. Empty values count as unset."""
        env = os.environ if environ is None else environ
        return cls(
            lm=env.get("DSPEX_LM") or None,
            store=env.get("DSPEX_STORE") or None,
            cache=env.get("DSPEX_CACHE") or None,
            config=env.get("DSPEX_CONFIG") or None,
            ray_address=env.get("RAY_ADDRESS") or None,
            trace=env.get("DSPEX_TRACE") or None,
            trace_content=env.get("DSPEX_TRACE_CONTENT") or None,
            _environ=env,
        )

    def secret(self, name: str) -> str | None:
        """Return the value of environment variable `name`, or None when it is unset or empty."""
        return self._environ.get(name) or None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without the environment: the other process reads its own secrets."""
        kept = (self.lm, self.store, self.cache, self.config, self.ray_address, self.trace, self.trace_content)
        return _rebuild, kept


def _rebuild(*kept: str | None) -> Settings:
    lm, store, cache, config, ray_address, trace, trace_content = kept
    return Settings(lm, store, cache, config, ray_address, trace, trace_content, os.environ)


def environment(name: str) -> str | None:
    """Return one variable of the process environment, None when it is unset or empty: quicker than all settings."""
    return os.environ.get(name) or None


def apply_environment(variables: Mapping[str, str]) -> None:
    """Set variables for this process and those it starts, keeping what the user has set already."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def pin_local_price_table() -> None:
    """Make litellm use the price table it ships instead of fetching one over the network at import."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

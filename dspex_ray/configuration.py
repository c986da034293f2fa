"""The process's own defaults: model, limits and cache of programs that have none of their own; how it is traced.

These are the only process-wide settings. A worker in another process does not see them, so whoever sends a program
there sends `Program.with_defaults()`.
"""

from __future__ import annotations

from enum import Enum, auto

from dspex_agents.settings import Settings, environment
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LM
from dspex_ray.lm.cache.settings import CacheSettings
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.resolve import EMBEDDED
from dspex_ray.tracing.content import Redactor
from dspex_ray.tracing.process import PROCESS
from dspex_ray.tracing.settings import checked_tracing


class Unchanged(Enum):
    """What stands for a setting that is left as it is."""

    UNCHANGED = auto()


UNCHANGED = Unchanged.UNCHANGED


class Configuration:
    """The values `configure` sets."""

    def __init__(self) -> None:
        self.lm: str | LM | None = None
        self.cache: CacheSettings | None = None
        self.limits: LMLimits | None = None


_CONFIGURATION = Configuration()


def configure(
    *,
    lm: str | LM | Unchanged | None = UNCHANGED,
    cache: str | CacheSettings | Unchanged | None = UNCHANGED,
    limits: LMLimits | Unchanged | None = UNCHANGED,
    tracing: object = UNCHANGED,
    content: bool | Redactor | Unchanged | None = UNCHANGED,
) -> None:
    """Set defaults of this process; None unsets one, what is not given stays.

    `lm` is a name such as `openai/gpt-4o-mini`, or a client; a name is resolved when it is first used. `cache` says
    where replies to equal requests are kept: `memory`, `disk`, a folder's path, `off`, or `CacheSettings`. `limits`
    caps how a model made from a name is asked. `tracing` says where spans go: `off`, `store`, `otlp`, `global` or an
    OpenTelemetry TracerProvider; `content` whether they hold what was said (by default in the store only), or a
    function from text to what may be kept of it. Raises ConfigurationError for anything else.
    """
    if not isinstance(lm, Unchanged):
        lm = checked_lm(lm)
    if not isinstance(cache, Unchanged):
        cache = checked_cache(cache)
    if not isinstance(tracing, Unchanged):
        PROCESS.use(checked_tracing(tracing, None if isinstance(content, Unchanged) else content))
    elif not isinstance(content, Unchanged):
        PROCESS.keep_content(content)
    if not isinstance(limits, Unchanged):
        _CONFIGURATION.limits = checked_limits(limits)
    if not isinstance(lm, Unchanged):
        _CONFIGURATION.lm = lm
    if not isinstance(cache, Unchanged):
        _CONFIGURATION.cache = cache


def checked_lm(lm: object) -> str | LM | None:
    """Return `lm` if it is a model name, a client or None. Raises ConfigurationError otherwise."""
    if lm is None or (isinstance(lm, str) and lm.strip()) or (not isinstance(lm, type) and isinstance(lm, LM)):
        return lm
    raise ConfigurationError(
        f"lm must be a model name such as {EMBEDDED!r}, or an object with the LM methods, got {lm!r}."
    )


def chosen_lm(own: str | LM | None = None, settings: Settings | None = None) -> str | LM:
    """Return the model to use: `own`, else the configured one, else `DSPEX_LM`, else `embedded/nearest`."""
    return own or _CONFIGURATION.lm or (settings or Settings.from_env()).lm or EMBEDDED


def checked_cache(cache: object) -> CacheSettings | None:
    """Return `cache` as settings, None for None. Raises ConfigurationError for what is neither text nor settings."""
    if cache is None:
        return None
    if isinstance(cache, str | CacheSettings):
        return CacheSettings.of(cache)
    raise ConfigurationError(f"cache must be 'off', 'memory', 'disk', a folder's path or CacheSettings, got {cache!r}.")


def chosen_cache(own: CacheSettings | None = None, settings: Settings | None = None) -> CacheSettings:
    """Return the cache to use: `own`, else the configured one, else `DSPEX_CACHE`, else none."""
    if chosen := own or _CONFIGURATION.cache:
        return chosen
    return CacheSettings.of(settings.cache if settings else environment("DSPEX_CACHE"))  # asked at each model call


def checked_limits(limits: object) -> LMLimits | None:
    """Return `limits` if they are some or None. Raises ConfigurationError otherwise."""
    if limits is None or isinstance(limits, LMLimits):
        return limits
    raise ConfigurationError(f"limits must be LMLimits, such as LMLimits(requests_per_minute=500), got {limits!r}.")


def chosen_limits(own: LMLimits | None = None) -> LMLimits | None:
    """Return the limits to use: `own`, else the configured ones, else none."""
    return own or _CONFIGURATION.limits

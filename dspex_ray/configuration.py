"""The process's own default model: what a program without a model of its own asks.

This is the only process-wide setting. A worker in another process does not see it, so whoever sends a program there
sends `chosen_lm(program's own)` along.
"""

from __future__ import annotations

from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LM
from dspex_ray.lm.resolve import EMBEDDED


class Configuration:
    """The values `configure` sets."""

    def __init__(self) -> None:
        self.lm: str | LM | None = None


_CONFIGURATION = Configuration()


def configure(*, lm: str | LM | None) -> None:
    """Set the default model of this process: a name such as `openai/gpt-4o-mini`, a client, or None to unset it.

    Raises ConfigurationError for anything else. The name is resolved when it is first used.
    """
    _CONFIGURATION.lm = checked_lm(lm)


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

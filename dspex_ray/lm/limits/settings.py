"""`LMLimits`: what a model may be asked at most."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dspex_ray.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class LMLimits:
    """Caps on one model, for all processes that share a `ModelLimitsAgent`, else for each client on its own.

    `requests_per_minute` and `tokens_per_minute` (prompt and completion) hold in any 60 seconds; `concurrency` is how
    many requests are open at once. None is no cap. Raises ConfigurationError for a cap below 1.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            cap = getattr(self, field.name)
            if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
                msg = f"limits: {field.name} must be a whole number of at least 1, or None for no cap, got {cap!r}."
                raise ConfigurationError(msg)

    @property
    def any(self) -> bool:
        """Whether there is a cap at all."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    @property
    def rated(self) -> bool:
        """Whether there is a cap on requests or tokens a minute."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

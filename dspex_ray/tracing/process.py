"""Whether and how this process traces. Off unless `configure(tracing=...)` or `DSPEX_TRACE` says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError
from dspex_ray.tracing.open_span import Span
from dspex_ray.tracing.settings import TracingSettings, checked_content, checked_tracing


class Tracer(Protocol):
    """Makes spans."""

    def start(self, name: str, kind: str, attributes: dict[str, Any]) -> Span:
        """Return a new span below the current one; it begins now, and is the current one while it is entered.

        `kind` is one of OpenTelemetry's: INTERNAL, CLIENT, SERVER.
        """
        ...

    def flush(self, timeout_s: float) -> bool:
        """Send off what has ended, and say whether all of it left within `timeout_s` seconds."""
        ...

    def close(self, timeout_s: float) -> None:
        """Send off what has ended; no span is started after it."""
        ...


class ProcessTracing:
    """The tracer of one process; made when the first span asks for it, unless `configure` did."""

    def __init__(self) -> None:
        self.settings: TracingSettings | None = None
        self.tracer: Tracer | None = None
        self.is_open = True
        """Whether the environment has still to be asked."""

    def use(self, settings: TracingSettings | None) -> None:
        """Trace so from now on; None leaves it to the environment. Raises MissingExtraError and ConfigurationError."""
        tracer = None if settings is None else settings.tracer()
        if self.tracer is not None:
            self.tracer.close(_FLUSH_S)
        self.settings, self.tracer, self.is_open = settings, tracer, settings is None

    def keep_content(self, content: object) -> None:
        """Trace as before, and keep so much of what is said. Raises ConfigurationError while tracing is off."""
        active()
        if self.settings is None or self.settings.mode == "off":
            raise ConfigurationError("content says what spans hold; say where they go too, such as tracing='store'.")
        self.use(replace(self.settings, content=checked_content(content)))

    def decide(self, settings: Settings | None = None) -> Tracer | None:
        """Ask the environment, once. Raises what `use` raises."""
        env = settings or Settings.from_env()
        self.is_open = False  # also where the environment is wrong: one error is enough
        if env.trace is not None:
            try:
                self.use(checked_tracing(env.trace, env.trace_content))
            except ConfigurationError as error:
                raise ConfigurationError(f"The environment (DSPEX_TRACE, DSPEX_TRACE_CONTENT): {error}") from error
        return self.tracer


_FLUSH_S = 5.0
PROCESS = ProcessTracing()


def active() -> Tracer | None:
    """Return this process's tracer, None while tracing is off."""
    return PROCESS.decide() if PROCESS.is_open else PROCESS.tracer


def flush(timeout_s: float = _FLUSH_S) -> bool:
    """Send off the spans that have ended; say whether all of them left within `timeout_s` seconds."""
    return PROCESS.tracer is None or PROCESS.tracer.flush(timeout_s)

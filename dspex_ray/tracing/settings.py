"""How spans are kept, and how much of what was said they hold."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from dspex_ray.errors import ConfigurationError
from dspex_ray.tracing.content import Content, Redactor
from dspex_ray.tracing.modes import Mode

if TYPE_CHECKING:
    from dspex_ray.tracing.process import Tracer

NEEDS_EXTRA = "needs OpenTelemetry: pip install 'dspex-ray[otel]'."
_ON, _OFF = ("on", "true", "1", "yes"), ("off", "false", "0", "no")


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`mode` says where spans go; `provider` is a TracerProvider for the mode `provider`.

    `content` is True or False, whether prompts, replies, arguments and results are kept, or a function from text to
    the text to be kept. None keeps them in the store and nowhere else.
    """

    mode: Mode = "off"
    content: bool | Redactor | None = None
    provider: Any = None

    def tracer(self) -> Tracer | None:
        """Return a tracer, None for `off`. Raises ConfigurationError where OpenTelemetry's exporter is missing."""
        keeps = self.mode == "store" if self.content is None else self.content
        content = Content(keeps)
        if self.mode == "off":
            return None
        # loaded only where spans are made: OpenTelemetry's SDK costs a tenth of a second, SQLAlchemy more
        if self.mode == "store":
            made: Tracer = importlib.import_module("dspex_ray.tracing.kept").kept_tracer(content)
            return made
        try:
            by_otel = importlib.import_module("dspex_ray.tracing.otel")
        except ImportError as error:
            raise ConfigurationError(f"tracing={self.mode!r} {NEEDS_EXTRA}") from error
        made = by_otel.otel_tracer(self.mode, self.provider, content)
        return made  # noqa: RET504 - typed on the line above

    def portable(self) -> TracingSettings:
        """Return what another process can do: a provider object stays here, so that process does not trace."""
        return TracingSettings("off") if self.mode == "provider" else self


def checked_tracing(tracing: object, content: object = None) -> TracingSettings | None:
    """Return settings, None for None. Raises ConfigurationError for what is no way to trace."""
    kept = checked_content(content)
    if tracing is None:
        return None
    modes = [mode for mode in get_args(Mode) if mode != "provider"]
    if isinstance(tracing, str):
        mode = tracing.strip().lower()
        if mode in modes:
            return TracingSettings(mode, kept)  # type: ignore[arg-type] # it is one of them
    elif callable(getattr(tracing, "get_tracer", None)) and not isinstance(tracing, type):
        return TracingSettings("provider", kept, tracing)
    raise ConfigurationError(
        f"tracing must be one of {', '.join(map(repr, modes))} or an OpenTelemetry TracerProvider, got {tracing!r}."
    )


def checked_content(content: object) -> bool | Redactor | None:
    """Return `content` if it is True, False, None or a function. Raises ConfigurationError otherwise."""
    if content is None or isinstance(content, bool):
        return content
    if isinstance(content, str) and content.strip().lower() in _ON + _OFF:  # from the environment
        return content.strip().lower() in _ON
    if callable(content):
        return cast("Redactor", content)  # what it returns is made text where it is used
    raise ConfigurationError(f"content must be True, False or a function from text to text, got {content!r}.")

"""Where spans may go."""

from __future__ import annotations

from typing import Literal

Mode = Literal["off", "store", "otlp", "global", "provider"]
"""Nowhere; into our own store; to an OTLP endpoint; to OpenTelemetry's global provider; to a provider given."""

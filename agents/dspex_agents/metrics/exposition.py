"""The figures as Prometheus reads them: as text, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.registry import Collector

_END_S = 5.0


def exposition(collector: Collector) -> str:
    """Return the figures of now in Prometheus's text format."""
    return generate_latest(_registry(collector)).decode()


@contextmanager
def served(collector: Collector, port: int, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve the figures over HTTP while inside; yields the address. Port 0 takes a free one.

    There is no authentication: whoever reaches the host reads the figures. Raises OSError when the port cannot be used.
    """
    server, thread = start_http_server(port, host, _registry(collector))
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_END_S)


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry

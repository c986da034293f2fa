"""`dspex agents metrics`: a system's figures as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dspex_agents.agent import TreeNode
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter
from dspex_ray.cli.agents.options import SystemName
from dspex_ray.cli.agents.systems import Systems, choose, running_systems
from dspex_ray.cli.agents.waiting import ended_by_signal
from dspex_ray.cli.options import Debug, Json, RunningAddress
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import ConfigurationError
from dspex_ray.serving.address import loopback

if TYPE_CHECKING:
    from prometheus_client.registry import Collector


def metrics(
    context: typer.Context,
    serve: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve them on this port until Ctrl-C; 0 takes a free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Loopback addresses only: there is no authentication.")] = "127.0.0.1",
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Print a system's figures in Prometheus's text format, or serve them over HTTP."""
    at = _loopback(host)
    with running_systems(context, address) as systems:
        from dspex_agents.metrics.collector import SystemCollector  # noqa: PLC0415 - 50 ms that `--help` need not take

        name = choose(system, systems.names())
        collector = SystemCollector(NamedSystem(systems, name))
        if serve is not None:
            _serve(collector, at, serve, as_json=json)
        elif json:
            print_json({"system": name, "metrics": metrics_json(collector)})
        else:
            from dspex_agents.metrics.exposition import exposition  # noqa: PLC0415 - likewise

            out.out(exposition(collector), end="")


class NamedSystem:
    """A system that is looked up at every look: one that is stopped and started again goes on being seen."""

    def __init__(self, systems: Systems, name: str) -> None:
        self.name, self._systems = name, systems

    def tree(self, timeout_s: float) -> TreeNode:
        """See `System.tree`."""
        return self._systems.find(self.name).tree(timeout_s)

    def dead_letters(
        self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000, timeout_s: float = 10.0
    ) -> tuple[DeadLetter, ...]:
        """See `System.dead_letters`."""
        return self._systems.find(self.name).dead_letters(which, limit, timeout_s)


def metrics_json(collector: Collector) -> list[dict[str, Any]]:
    """Return every value with its name, kind and labels."""
    return [
        {"name": sample.name, "kind": family.type, "labels": sample.labels, "value": sample.value}
        for family in collector.collect()
        for sample in family.samples
    ]


def _serve(collector: Collector, host: str, port: int, *, as_json: bool) -> None:
    with ended_by_signal() as ended, _served(collector, host, port) as url:
        if as_json:
            print_json({"url": url})
        else:
            out.print(f"Serving metrics at {url}; stop it with Ctrl-C.")
        ended.wait()


@contextmanager
def _served(collector: Collector, host: str, port: int) -> Iterator[str]:
    from dspex_agents.metrics.exposition import served  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        try:
            url = stack.enter_context(served(collector, port, host))
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} on {host} cannot be used: {error}. Choose another one with --serve; 0 takes any free one."
            ) from error
        yield url


def _loopback(host: str) -> str:
    try:
        return loopback(host)
    except ConfigurationError:
        raise ConfigurationError(
            f"Refusing to serve metrics on {host!r}: there is no authentication, so anybody who reaches that address "
            "could read them. Serve on 127.0.0.1, and put a reverse proxy that authenticates in front, or use an SSH "
            "tunnel."
        ) from None

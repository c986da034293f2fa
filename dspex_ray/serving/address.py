"""Where endpoints may listen and what they may be called, checked before anything is started."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import closing
from dataclasses import dataclass

from dspex_ray.errors import ConfigurationError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where Serve's HTTP proxy listens."""

    host: str
    port: int


def check_name(name: str) -> None:
    """Raise ConfigurationError when the name cannot be a part of a URL."""
    if not _NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot be an endpoint's name, which is a part of its URL. Use 1 to 63 letters, digits, hyphens "
            "and underscores, beginning with a letter or digit."
        )
        raise ConfigurationError(msg)


def check_replicas(replicas: tuple[int, int]) -> None:
    """Raise ConfigurationError unless the pair is (fewest, most)."""
    fewest, most = replicas
    if not 1 <= fewest <= most:
        msg = f"replicas={replicas} is not (fewest, most) with 1 <= fewest <= most."
        raise ConfigurationError(msg)


def loopback(host: str) -> str:
    """Return the host as an IPv4 loopback address. Raises ConfigurationError for any other."""
    address = DEFAULT_HOST if host == "localhost" else host
    try:
        allowed = ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        allowed = False
    if not allowed:
        msg = (
            f"Refusing to serve on {host!r}: endpoints have no authentication yet, so anybody who reaches that address "
            "could spend your model budget. Serve on 127.0.0.1, and put a reverse proxy that authenticates in front, "
            "or use an SSH tunnel."
        )
        raise ConfigurationError(msg)
    return address


def free_port(address: HttpAddress) -> int:
    """Return the port, or any free one for 0. Raises ConfigurationError when something listens there."""
    try:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        msg = (
            f"Port {address.port} on {address.host} cannot be used: {error}. Choose another one, for example "
            f"port={DEFAULT_PORT + 1}, or port=0 for any free port."
        )
        raise ConfigurationError(msg) from error


def same_address(running: HttpAddress, wanted: HttpAddress) -> HttpAddress:
    """Return where Serve runs. Raises ConfigurationError when that is not where the caller wants to be."""
    try:
        loopback(running.host)
    except ConfigurationError as error:
        msg = f"Serve already runs in this cluster on {running.host}:{running.port}, which is not loopback. {error}"
        raise ConfigurationError(msg) from None
    if wanted.host != running.host or wanted.port not in {0, running.port}:
        msg = (
            f"Serve already runs in this cluster on {running.host}:{running.port} and listens on one address only, so "
            f"{wanted.host}:{wanted.port} is not possible. Deploy with port={running.port}, or stop Serve first."
        )
        raise ConfigurationError(msg)
    return running

"""Does a Ray cluster answer at an address? Asked before Ray is, which would go on trying for minutes."""

from __future__ import annotations

import re
import socket

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # RFC 9113, 3.4, empty SETTINGS
_SETTINGS, _FRAME_HEAD = 4, 9
_TLS_ALERT = 0x15
_ADDRESS = re.compile(r"(?:ray://)?(?P<host>\[[0-9A-Fa-f:]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")


def why_silent(address: str, timeout_s: float = 3.0) -> str | None:
    """Return why no Ray cluster answers at `host:port` (or `ray://host:port`), or None when one does.

    Ray speaks gRPC, so a cluster's first word is an HTTP/2 SETTINGS frame; one behind TLS answers with a TLS alert.
    Takes at most `timeout_s` to connect and as long to hear.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        return "an address is host:port"
    try:
        with socket.create_connection((parts["host"].strip("[]"), int(parts["port"])), timeout_s) as connection:
            connection.sendall(_PREFACE)
            heard = connection.recv(_FRAME_HEAD)
    except TimeoutError:
        return f"nothing was heard within {timeout_s:.0f} s"
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    is_ray = (len(heard) > 3 and heard[3] == _SETTINGS) or heard[:1] == bytes((_TLS_ALERT,))  # noqa: PLR2004 - its place
    return None if is_ray else "something listens there, but it is not Ray"

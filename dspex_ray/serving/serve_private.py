"""The few private parts of Ray Serve we rely on, in one place (Ray 2.60)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError

from dspex_ray.serving.address import HttpAddress

# ray/serve/_private/constants.py: SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
_CONTROLLER = "SERVE_CONTROLLER_ACTOR"
_NAMESPACE = "serve"
_POLL_S = 0.02


def controller() -> Any | None:
    """Return Serve's controller, or None when Serve is not running in this cluster."""
    try:
        handle: Any = ray.get_actor(_CONTROLLER, namespace=_NAMESPACE)
    except ValueError:
        return None
    return handle


def http_address(timeout_s: float) -> HttpAddress | None:
    """Return where the running Serve listens, or None when Serve is not running (or is just going away)."""
    handle = controller()
    if handle is None:
        return None
    try:
        config: Any = ray.get(handle.get_http_config.remote(), timeout=timeout_s)
    except RayActorError:
        return None
    return HttpAddress(str(config.host), int(config.port))


def wait_for_controller(deadline: float, given_up: Callable[[], bool]) -> None:
    """Wait until the controller is registered, or whoever starts it has given up.

    Raises TimeoutError at `deadline` (`time.monotonic()`).
    """
    while controller() is None and not given_up():
        if time.monotonic() > deadline:
            msg = "Serve's controller did not start"
            raise TimeoutError(msg)
        time.sleep(_POLL_S)


def shut_down(deadline: float) -> None:
    """Stop Serve with all its applications, and wait until its controller is gone.

    `serve.shutdown()` alone blocks for up to 30 s and makes Ray print an error of its own when the controller ends as
    it should, because it waits in a call on it. Raises TimeoutError at `deadline` (`time.monotonic()`).
    """
    handle = controller()
    if handle is not None:
        try:
            ray.get(handle.graceful_shutdown.remote(wait=False), timeout=max(0.1, deadline - time.monotonic()))
        except RayActorError:
            handle = None
    while handle is not None and controller() is not None:
        if time.monotonic() > deadline:
            msg = "Serve did not stop in time"
            raise TimeoutError(msg)
        time.sleep(_POLL_S)
    serve.shutdown()  # type: ignore[no-untyped-call]  # finds no controller now; forgets the client and the handles this process has cached

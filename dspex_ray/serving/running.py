"""What is served in the connected cluster, and how it is stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import serve

from dspex_ray.errors import ClusterError, DspexError
from dspex_ray.serving import serve_private
from dspex_ray.serving.endpoint import Endpoint
from dspex_ray.serving.start import proxy_folder

DEPLOYMENT = "dspex-program"
CALL_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 30.0

_PROBE_TIMEOUT_S = 2.0


def serving_status() -> list[dict[str, Any]]:
    """Return name, url, status, version, running replicas and traffic of every program served here, by name.

    `version` is None while the endpoint gives no answer; `traffic` is what one of its replicas says of its plan.
    Raises ClusterError when Ray is not connected.
    """
    require_ray()
    with quiet_serve():
        address = serve_private.http_address(CALL_TIMEOUT_S)
        if address is None:
            return []
        found = []
        for name, application in sorted(serve.status().applications.items()):
            deployment = application.deployments.get(DEPLOYMENT)
            if deployment is None:
                continue
            replicas = {str(state): count for state, count in deployment.replica_states.items()}
            url = f"http://{address.host}:{address.port}/{name}"
            told = _told(url)
            found.append(
                {
                    "name": name,
                    "url": url,
                    "status": application.status.value.lower(),
                    "version": told.get("version"),
                    "replicas": replicas.get("RUNNING", 0),
                    "traffic": told.get("traffic", {}),
                }
            )
        return found


def stop_endpoint(name: str) -> None:
    """Stop one endpoint, and Serve itself when no application is left. A name that is not served is fine.

    Requests in work are finished first, within the deployment's `drain_timeout_s`.
    """
    require_ray()
    with quiet_serve():
        if serve_private.controller() is None:
            return
        if set(serve.status().applications) - {name}:
            serve.delete(name)
        else:
            stop_serving()


def stop_serving(timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Stop every endpoint and Serve itself, with its HAProxy. Takes about 2 s when no request is in work.

    Raises ClusterError when something is still there after `timeout_s`.
    """
    require_ray()
    with quiet_serve():
        address = serve_private.http_address(CALL_TIMEOUT_S)
        try:
            serve_private.shut_down(time.monotonic() + timeout_s)
        except TimeoutError as error:
            msg = f"Serve did not stop within {timeout_s} s; a replica may still be working on a request. Try again."
            raise ClusterError(msg) from error
        if address is not None:
            shutil.rmtree(proxy_folder(address.port), ignore_errors=True)


def require_ray() -> None:
    """Raise ClusterError when this process is not connected to Ray."""
    if not ray.is_initialized():
        msg = "Ray is not connected. Call ray.init() first, or ray.init(address=...) for a running cluster."
        raise ClusterError(msg)


def answering_version(url: str) -> str | None:
    """Return the version that answers at the URL now, or None when none does."""
    version = _told(url).get("version")
    return None if version is None else str(version)


def _told(url: str) -> dict[str, Any]:
    try:
        return Endpoint("", url, "").status(timeout_s=_PROBE_TIMEOUT_S)
    except DspexError:
        return {}


@contextmanager
def quiet_serve() -> Iterator[None]:
    """Keep Serve's progress lines out of the caller's terminal; warnings pass."""
    logger = logging.getLogger("ray.serve")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)

"""A deployed program as its caller sees it: an address, a small HTTP client, and the way to stop it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from dspex_ray.errors import ClusterError, LMTimeoutError
from dspex_ray.serving.problem import MEDIA_TYPE, to_error

if TYPE_CHECKING:
    from dspex_ray.store.plans import PlanRevision
    from dspex_ray.traffic.control import EndpointTraffic

DEFAULT_TIMEOUT_S = 130.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `url` takes the input as JSON by POST; `/openapi.json` and `/healthz` below it describe it."""

    name: str
    url: str
    version: str
    _stop: Callable[[str], None] | None = field(default=None, repr=False, compare=False)
    _traffic: EndpointTraffic | None = field(default=None, repr=False, compare=False)

    def request(self, *, timeout_s: float = DEFAULT_TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        """Send one input and return its output: a convenience for scripts; use an HTTP client of yours for load.

        Raises InputError, OutputError or an LMError like a call in this process would, LMTimeoutError when nothing
        came within `timeout_s`, and ClusterError when nothing listens at `url`.
        """
        return _call(self.url, json.dumps(fields).encode(), timeout_s)

    def status(self, *, timeout_s: float = 5.0) -> dict[str, Any]:
        """Return what the endpoint says about itself: `status`, `name`, `version` and its ledger's counts.

        Raises ClusterError when nothing listens at `url`.
        """
        return _call(f"{self.url}/healthz", None, timeout_s)

    @property
    def traffic(self) -> EndpointTraffic:
        """Who gets which version. Raises ClusterError when this process did not deploy the endpoint."""
        if self._traffic is None:
            msg = f"{self.url} was not deployed by this process. Use `dspex traffic`, or EndpointTraffic on its store."
            raise ClusterError(msg)
        return self._traffic

    def split(self, weights: Mapping[str, float], *, sticky_header: str | None = None, why: str = "") -> PlanRevision:
        """Share requests among versions by weight, such as `{"3": 0.9, "4": 0.1}`; see `EndpointTraffic.split`."""
        return self.traffic.split(weights, sticky_header=sticky_header, why=why)

    def shadow(self, version: str, share: float = 1.0, *, why: str = "") -> PlanRevision:
        """Let a version answer copies of a share of the requests, for nobody; see `EndpointTraffic.shadow`."""
        return self.traffic.shadow(version, share, why=why)

    def rollback(self, *, why: str = "") -> PlanRevision:
        """Put the traffic plan before in force again, that of a former deployment too; see `EndpointTraffic`."""
        return self.traffic.rollback(why=why)

    def stop(self) -> None:
        """Take the endpoint out of service; the last one takes the HTTP server with it. Twice is harmless.

        Raises ClusterError when this process did not deploy it and so cannot stop it.
        """
        if self._stop is None:
            msg = (
                f"{self.url} was not deployed by this process. Stop it with `dspex_ray.serving.running.stop_endpoint`."
            )
            raise ClusterError(msg)
        self._stop(self.name)


def _call(url: str, body: bytes | None, timeout_s: float) -> dict[str, Any]:
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})  # noqa: S310 - an http URL we built
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310 - as above
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise _remote_error(url, error) from None
    except TimeoutError as error:
        msg = f"No answer from {url} within {timeout_s} s."
        raise LMTimeoutError(msg) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        msg = f"Nothing answers at {url}: {error}. Is the endpoint deployed, and its Ray cluster up?"
        raise ClusterError(msg) from error


def _remote_error(url: str, error: urllib.error.HTTPError) -> Exception:
    with error:
        content_type = error.headers.get_content_type()
        text = error.read()
    if content_type != MEDIA_TYPE:
        return ClusterError(f"{url} answered {error.code} {error.reason}, and not as one of our endpoints does.")
    return to_error(json.loads(text), error.headers.get("retry-after"))

"""Deploying programs on Ray Serve: one proxy on loopback, one application a program."""

from __future__ import annotations

import re
import time
from concurrent.futures import Future
from contextlib import ExitStack
from typing import NoReturn

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.schema import ApplicationStatus, LoggingConfig

from dspex_ray.errors import ClusterError
from dspex_ray.parcel import Parcel
from dspex_ray.serving import serve_private
from dspex_ray.serving.address import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    HttpAddress,
    check_name,
    check_replicas,
    free_port,
    loopback,
    same_address,
)
from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.endpoint import Endpoint
from dspex_ray.serving.replica import ProgramReplica
from dspex_ray.serving.running import (
    CALL_TIMEOUT_S,
    DEPLOYMENT,
    answering_version,
    quiet_serve,
    require_ray,
    stop_endpoint,
)
from dspex_ray.serving.start import raise_start_error, serve_starting

_POLL_S = 0.05
_RETRY_AFTER_S = 1.0
_HEAD_NODE = {"node:__internal_head__": 0.001}


def deploy_program(  # noqa: PLR0913 - all keyword-only, each a separate choice of the caller
    program: Parcel,
    *,
    name: str,
    version: str,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    replicas: tuple[int, int] = (1, 4),
    sink: Parcel | None = None,
    lender: Parcel | None = None,
    meter: Parcel | None = None,
    traffic: Parcel | None = None,
    limits: ServingLimits | None = None,
) -> Endpoint:
    """Serve the program at `http://{host}:{port}/{name}` and return when it answers there.

    An endpoint of the same name is replaced without a failed request; others stay. `replicas` are the fewest and the
    most processes; port 0 takes any free port. `sink` holds a factory of a CallSink, called in each replica;
    `lender` holds what lends slices of models' limits there, which are each replica's own without; `meter` a factory of
    what holds budgets there, without which none is held; `traffic` one of what shares requests among versions, without
    which the program answers them all. Needs a connected Ray (`ray.init`); the first deployment starts Serve on it.

    Raises ConfigurationError for a name, host, port or number of replicas that cannot be, ClusterError when Ray is
    not connected or the program does not start within `limits.start_timeout_s`.
    """
    limits = limits or ServingLimits()
    check_name(name)
    check_replicas(replicas)
    address = HttpAddress(loopback(host), port)
    require_ray()
    deadline = time.monotonic() + limits.start_timeout_s
    application = _deployment(replicas, limits).bind(program, sink, name, version, limits, lender, meter, traffic)
    with quiet_serve(), ExitStack() as stack:
        running = serve_private.http_address(CALL_TIMEOUT_S)
        if running is None:
            address = HttpAddress(address.host, free_port(address))
            started = stack.enter_context(serve_starting(address, deadline))
        else:
            address, started = same_address(running, address), None
        endpoint = Endpoint(name, f"http://{address.host}:{address.port}/{name}", version, stop_endpoint)
        _submit(application, name)
        _await_answer(endpoint, started, deadline)
    return endpoint


def _deployment(replicas: tuple[int, int], limits: ServingLimits) -> serve.Deployment:
    deployment: serve.Deployment = serve.deployment(
        name=DEPLOYMENT,
        autoscaling_config=AutoscalingConfig(
            min_replicas=replicas[0],
            initial_replicas=replicas[0],
            max_replicas=replicas[1],
            target_ongoing_requests=limits.target_ongoing_requests,
            look_back_period_s=12.0,
            upscale_delay_s=4.0,
            downscale_delay_s=120.0,
        ),
        max_ongoing_requests=limits.max_ongoing_requests,
        max_queued_requests=limits.max_queued_requests,
        backpressure_config=BackpressureConfig(retry_after_s=_RETRY_AFTER_S),
        graceful_shutdown_timeout_s=limits.drain_timeout_s,
        graceful_shutdown_wait_loop_s=0.1,
        max_constructor_retry_count=1,
        max_surge_percent=100,  # a new version starts beside the old one, which goes on answering if the new one fails
        # Replicas listen where the proxy does, on loopback, so they must share its node. They reserve no CPU: they
        # wait for models most of the time, and a cluster full of agents must not keep an endpoint from starting.
        ray_actor_options={"num_cpus": 0, "resources": dict(_HEAD_NODE)},
    )(ProgramReplica)
    return deployment


def _submit(application: serve.Application, name: str) -> None:
    target = serve.RunTarget(
        application, name=name, route_prefix=f"/{name}", logging_config=LoggingConfig(enable_access_log=False)
    )
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def _await_answer(endpoint: Endpoint, started: Future[None] | None, deadline: float) -> None:
    """Wait until Serve calls the application running and the proxy routes to the new version, a little later.

    Raises ClusterError with Serve's reason when it fails.
    """
    name = endpoint.name
    while True:
        if started is not None:
            raise_start_error(started)
        application = serve.status().applications.get(name)
        state = None if application is None else application.status
        if state == ApplicationStatus.RUNNING and answering_version(endpoint.url) == endpoint.version:
            return
        if application is not None and state == ApplicationStatus.DEPLOY_FAILED:
            reasons = [deployment.message for deployment in application.deployments.values() if deployment.message]
            _fail(endpoint, _last_line(reasons or [application.message]))
        if time.monotonic() > deadline:
            label = "unknown" if state is None else state.value.lower()
            _fail(endpoint, f"it is still {label} when the time is up. Is the cluster overloaded?")
        time.sleep(_POLL_S)


def _fail(endpoint: Endpoint, reason: str) -> NoReturn:
    """Raise ClusterError; an endpoint that answers with its version before goes on, a new one is taken away."""
    before = answering_version(endpoint.url)
    if before is None:
        stop_endpoint(endpoint.name)
    kept = "" if before is None else f" Version {before!r} goes on answering."
    msg = f"The endpoint {endpoint.name!r} did not start with version {endpoint.version!r}: {reason}{kept}"
    raise ClusterError(msg)


def _last_line(messages: list[str]) -> str:
    """Return the line of a remote traceback that says what went wrong."""
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b.*:", line)]
    return (told or lines or ["no reason given; see Serve's logs"])[-1]

"""The Serve deployment: one process that runs one program behind the HTTP application."""

from __future__ import annotations

from collections.abc import Callable

from ray import serve
from starlette.applications import Starlette

from dspex_ray.calls.buffer import CallBuffer, CallSink
from dspex_ray.errors import ProgramError
from dspex_ray.lm.limits.lender import SHARED_LENDER, Lender
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program import Program
from dspex_ray.serving.application import Metering, build_application
from dspex_ray.serving.base import ProgramService, ServingLimits
from dspex_ray.serving.cluster_ledger import Traffic
from dspex_ray.serving.program_service import ProgramServiceFor

SinkFactory = Callable[[], CallSink]


# A late-bound ASGI application costs as much CPU a request as a plain `__call__(request)` (0.24 ms each, measured in
# the HAProxy mode), and is the very application that is tested without Ray.
@serve.ingress()
class ProgramReplica:
    """Unpacks its program when it starts and answers HTTP with it until it is stopped.

    Raises ProgramError, which fails the deployment, when the parcel cannot be opened here.
    """

    def __init__(
        self,
        program: Parcel,
        sink: Parcel | None,
        name: str,
        version: str,
        limits: ServingLimits | None = None,
        lender: Parcel | None = None,
        meter: Parcel | None = None,
        traffic: Parcel | None = None,
    ) -> None:
        self._service = as_service(program.open())
        self._traffic: Traffic | None = (
            traffic.open()(name, version, program, self._service) if traffic is not None else None
        )
        factory: SinkFactory | None = sink.open() if sink is not None else None
        self._ledger = CallBuffer(factory()) if factory is not None else None
        self._metering: Callable[[], Metering] | None = meter.open() if meter is not None else None
        self._name, self._version, self._limits = name, version, limits
        self._lender: Lender | None = lender.open() if lender is not None else None
        if self._lender is not None:
            SHARED_LENDER.offer(self._lender)  # until the end of this process

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return the application; Serve calls it once, after the constructor, and runs its lifespan."""
        traffic = self._traffic
        return build_application(
            self._service if traffic is None else traffic.router,
            name=self._name,
            version=self._version,
            ledger=self._ledger,
            metering=self._metering,
            witness=None if traffic is None else traffic.tally,
            followers=() if traffic is None else traffic.followers,
            limits=self._limits,
            echo_request_id=False,
        )


def as_service(opened: object) -> ProgramService:
    """Return what a parcel held as a service. Raises ProgramError for anything that cannot answer inputs."""
    if isinstance(opened, Program):
        return ProgramServiceFor(opened)
    if isinstance(opened, ProgramService):
        return opened
    kind = f"{type(opened).__module__}:{type(opened).__qualname__}"
    msg = f"{kind} is no program: only an instance of a Program can be served."
    raise ProgramError(msg)

"""Does the head of a Ray cluster let us in? Asked before `ray.init`, which tries for long and does not say why not."""

from __future__ import annotations

from typing import Any

import grpc  # type: ignore[import-untyped] # it has no types
from ray._private.grpc_utils import init_grpc_channel  # noqa: TID251 - Ray offers no call with a timeout before `init`
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

_messages: Any = gcs_service_pb2  # generated, without types
_CLIENT_SCHEME = "ray://"
_WRONG = {
    "UNAUTHENTICATED": "it wants another token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH as on its nodes",
    "UNIMPLEMENTED": "Ray listens there, but not its head: give the port of `ray start --head`, by default 6379",
}


def why_refused(address: str, timeout_s: float = 10.0) -> str | None:
    """Return why the head at `host:port` does not take us in, or None when it does. Takes at most `timeout_s`."""
    if address.startswith(_CLIENT_SCHEME):
        return None  # another protocol
    channel = init_grpc_channel(address)
    try:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)  # type: ignore[no-untyped-call] # generated
        stub.GetClusterId(_messages.GetClusterIdRequest(), timeout=timeout_s)
    except grpc.RpcError as error:
        code, details = error.code().name, str(error.details())
        return _WRONG.get(code, f"its head did not answer within {timeout_s:.0f} s ({code}: {details})")
    finally:
        channel.close()
    return None

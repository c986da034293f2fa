"""Serve's first start: a port that is taken, and the way back to nothing."""

from __future__ import annotations

import socket
import time

import pytest
from served_programs import BreaksOnArrival, Echo

from dspex_ray.errors import ClusterError, ConfigurationError
from dspex_ray.parcel import Parcel
from dspex_ray.serving.deploy import deploy_program
from dspex_ray.serving.program_service import pack_program
from dspex_ray.serving.running import serving_status, stop_serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def test_a_taken_port_is_named_and_nothing_starts(ray_cluster: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(ConfigurationError, match=f"Port {port} on"):
            deploy_program(pack_program(Echo()), name="echo", version="v1", port=port)
        assert time.monotonic() - started < 2.0
    assert serving_status() == []


def test_a_first_program_that_does_not_start_takes_serve_with_it_and_the_next_one_starts(ray_cluster: str) -> None:
    with pytest.raises(ClusterError, match="no such tokenizer file"):
        deploy_program(Parcel.of(BreaksOnArrival()), name="echo", version="v1", port=0)
    assert serving_status() == []
    endpoint = deploy_program(pack_program(Echo()), name="echo", version="v1", port=0)
    try:
        assert endpoint.request(message="hi")["message"] == "hi"
    finally:
        endpoint.stop()
    assert serving_status() == []
    stop_serving()

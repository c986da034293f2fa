"""Fixtures of all suites: one Ray cluster a session, started on first use, and a check that nothing is left over."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(ROOT),
    str(ROOT / "tests" / "support"),
    str(ROOT / "tests" / "agents_tests"),
]  # sample agents and programs, importable in worker processes too
DATA = ROOT.parent / "shared" / "data"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads of numpy would only push each other


def _isolate_ray_token() -> None:
    """Give this test run a Ray token of its own. Ray reads the variables once, when it is imported."""
    token = Path(tempfile.mkdtemp(prefix="dspex-test-")) / "token"
    token.write_text(secrets.token_hex(32), encoding="ascii")
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    atexit.register(shutil.rmtree, token.parent, ignore_errors=True)


_isolate_ray_token()


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0, what: str = "the condition") -> None:
    """Wait until the condition holds; fail with its name after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not hold within {timeout_s} s")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Start one local cluster with an isolated token, and fail if a system of a test still runs at the end."""
    from dspex_agents.runtime.ray_runtime import connect_cluster, disconnect_cluster  # noqa: PLC0415 - ray loads only here

    address = connect_cluster(num_cpus=8, join=False)
    yield address
    import ray  # noqa: PLC0415 - likewise

    with contextlib.suppress(RuntimeError):
        wait_until(lambda: not _test_actors(), 30.0, f"the end of all actors of tests, {_test_actors()} left,")
    disconnect_cluster()
    assert not ray.is_initialized()


def _test_actors() -> list[str]:
    import ray  # noqa: PLC0415 - ray loads only where it is needed

    return [a["name"] for a in ray.util.list_named_actors(all_namespaces=True) if a["namespace"] != "serve"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data beside the project; tests that need it skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA


@pytest.fixture
def wait() -> Callable[..., None]:
    """Return `wait_until`."""
    return wait_until

"""Resource tokens: never over the limit, and back when the owner is gone."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import CountingIds
from dspex_agents.errors import SpecError
from dspex_agents.services.resource_tokens import ResourceExhaustedError, ResourceTokens


def tokens(**limits: float) -> ResourceTokens:
    return ResourceTokens(limits or {"memory_mb": 1024, "gpu": 2}, CountingIds())


def test_a_token_counts_until_it_is_given_back() -> None:
    held = tokens()
    token = held.acquire("gpu", 2, "a@1", 5.0)
    assert (token.id, token.resource, token.amount, token.owner, token.acquired_at) == ("token-1", "gpu", 2, "a@1", 5.0)
    assert held.usage()["gpu"].used == 2
    assert held.release(token.id)
    assert held.usage()["gpu"].used == 0
    assert not held.release(token.id), "it is not out any more"


def test_when_too_little_is_free_the_error_says_who_holds_what() -> None:
    held = tokens()
    held.acquire("memory_mb", 200, "small@1", 0.0)
    held.acquire("memory_mb", 300, "big@1", 0.0)
    held.acquire("memory_mb", 400, "big@1", 0.0)
    held.acquire("gpu", 1, "other@1", 0.0)
    with pytest.raises(ResourceExhaustedError) as caught:
        held.acquire("memory_mb", 500, "late@1", 1.0)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.holders == {"small@1": 200, "big@1": 700}
    assert str(error) == "500 of 'memory_mb' wanted, 124 of 1024 free. Held by: 'big@1' 700, 'small@1' 200."
    assert (error.executed, error.retryable) == (False, True)


def test_what_an_owner_held_comes_back_when_it_is_gone() -> None:
    held = tokens()
    kept = held.acquire("gpu", 1, "alive@1", 0.0)
    for resource in ("gpu", "memory_mb"):
        held.acquire(resource, 1, "dead@1", 0.0)
    reborn = held.acquire("memory_mb", 1, "dead@2", 0.0)
    assert [token.owner for token in held.release_gone({"alive@1", "dead@2"})] == ["dead@1", "dead@1"]
    assert held.usage()["gpu"].holders == {"alive@1": 1}
    assert held.release_owner("dead@2") == (reborn,)
    assert held.release_owner("dead@2") == ()
    assert held.release(kept.id)


def test_usage_tells_when_a_resource_becomes_scarce() -> None:
    held = tokens(slots=10)
    held.acquire("slots", 8, "a", 0.0)
    assert not held.usage()["slots"].scarce
    held.acquire("slots", 1, "a", 0.0)
    assert held.usage()["slots"].scarce


def test_ten_tenths_fit_into_one() -> None:
    held = tokens(cpu=1.0)
    for _ in range(10):
        held.acquire("cpu", 0.1, "a", 0.0)
    with pytest.raises(ResourceExhaustedError):
        held.acquire("cpu", 0.1, "a", 0.0)


def test_what_can_never_be_handed_out_is_refused_by_name() -> None:
    held = tokens()
    with pytest.raises(SpecError, match=r"No resource 'gpus'. Known: gpu, memory_mb"):
        held.acquire("gpus", 1, "a", 0.0)
    for amount in (0, -1, 3, float("nan")):
        with pytest.raises(SpecError, match="over 0 and at most 2"):
            held.acquire("gpu", amount, "a", 0.0)
    for limit in (0, -1, float("inf"), float("nan")):
        with pytest.raises(SpecError, match="'x': the limit must be a positive number"):
            tokens(x=limit)
    with pytest.raises(SpecError, match="alert_share"):
        ResourceTokens({"x": 1}, CountingIds(), alert_share=0)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["acquire", "acquire", "release", "gone"]), st.integers(0, 3), st.integers(1, 5)),
        max_size=60,
    )
)
def test_what_is_held_is_what_was_acquired_and_not_released_and_never_over_the_limit(
    steps: list[tuple[str, int, int]],
) -> None:
    held, out = tokens(x=10), []
    for step, owner, amount in steps:
        if step == "acquire":
            fits = sum(token.amount for token in out) + amount <= 10
            try:
                out.append(held.acquire("x", amount, str(owner), 0.0))
            except ResourceExhaustedError:
                assert not fits
            else:
                assert fits
        elif step == "release" and out:
            assert held.release(out.pop(amount % len(out)).id)
        elif step == "gone":
            assert set(held.release_owner(str(owner))) == {token for token in out if token.owner == str(owner)}
            out = [token for token in out if token.owner != str(owner)]
        assert held.usage()["x"].used == sum(token.amount for token in out)

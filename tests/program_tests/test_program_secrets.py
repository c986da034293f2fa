"""Secrets of a program: no model is asked for one, and none is saved."""

from __future__ import annotations

import pytest

import dspex_ray as dspex
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ProgramError
from dspex_ray.example import Example


class Fetch(dspex.Program):
    """Fetch the page."""

    class Input(dspex.Schema):
        page: str
        token: dspex.Secret

    class Output(dspex.Schema):
        text: str

    demos = dspex.Demos(max=2)


def with_demo(token: str) -> Fetch:
    return Fetch().with_demo_pool(DemoPool([Example("d1", {"page": "p", "token": token}, {"text": "t"})]))


def test_a_demonstration_with_a_secret_given_outright_is_not_saved() -> None:
    with pytest.raises(ProgramError, match="demonstration 'd1' holds a secret in 'token'") as told:
        with_demo("s3cr3t").state()
    assert "s3cr3t" not in str(told.value)


def test_a_secret_named_by_its_variable_is_saved_by_name() -> None:
    assert "env:FETCH_TOKEN" in str(with_demo("env:FETCH_TOKEN").state())


def test_no_model_may_be_asked_for_a_secret() -> None:
    with pytest.raises(ProgramError, match=r"Leak\.Output\.key is a Secret, and no model may be asked for one"):

        class Leak(dspex.Program):
            """Guess the key."""

            class Input(dspex.Schema):
                hint: str

            class Output(dspex.Schema):
                key: dspex.Secret

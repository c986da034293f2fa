"""Settings: what is read from the environment, and what never leaves it."""

from __future__ import annotations

import pickle

import pytest

from dspex_agents.settings import Settings, apply_environment

ENVIRON = {
    "DSPEX_LM": "openai/x",
    "DSPEX_STORE": "a.db",
    "DSPEX_CONFIG": "",
    "RAY_ADDRESS": "10.0.0.1:6379",
    "OPENAI_API_KEY": "sk-s3cret",
    "EMPTY": "",
}


def test_settings_are_read_once_and_empty_ones_count_as_unset() -> None:
    settings = Settings.from_env(ENVIRON)
    assert (settings.lm, settings.store, settings.config) == ("openai/x", "a.db", None)
    assert settings.ray_address == "10.0.0.1:6379"
    assert (settings.secret("OPENAI_API_KEY"), settings.secret("EMPTY"), settings.secret("NO")) == (
        "sk-s3cret",
        None,
        None,
    )
    assert Settings.from_env({}) == Settings()


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPEX_LM", "openai/from-env")
    monkeypatch.setenv("A_KEY", "k1")
    settings = Settings.from_env()
    assert (settings.lm, settings.secret("A_KEY")) == ("openai/from-env", "k1")


def test_a_secret_shows_neither_in_the_repr_nor_in_the_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_env(ENVIRON)
    assert "s3cret" not in repr(settings)
    packed = pickle.dumps(settings)
    assert b"s3cret" not in packed
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-other-process")
    again = pickle.loads(packed)
    assert again == settings
    assert again.secret("OPENAI_API_KEY") == "of-the-other-process"


def test_applying_variables_keeps_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_BY_USER", "mine")
    monkeypatch.setenv("NOT_SET", "x")
    monkeypatch.delenv("NOT_SET")
    apply_environment({"SET_BY_USER": "ours", "NOT_SET": "ours"})
    now = Settings.from_env()
    assert (now.secret("SET_BY_USER"), now.secret("NOT_SET")) == ("mine", "ours")

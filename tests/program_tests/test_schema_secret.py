from __future__ import annotations

import json
import logging
import pickle
from typing import Any

import pytest

from dspex_agents.errors import AgentSystemError
from dspex_agents.settings import Settings
from dspex_agents.state.snapshot import fields_of
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ConfigurationError, InputError, ProgramError
from dspex_ray.example import make_example
from dspex_ray.programs.program import Program
from dspex_ray.prompting.prompt import demo_messages, render
from dspex_ray.schema import Schema, Secret, field, plain_secrets, secret_fields

KEY = "sk-very-secret"


class Account(Schema):
    name: str
    key: Secret


class Login(Schema):
    question: str
    account: Account | None = None
    token: Secret | None = None


class Answer(Schema):
    answer: str


def _all_texts(value: Login) -> str:
    logging.getLogger("secrets").warning("%s %r", value, value)
    return " ".join((repr(value), str(value), f"{value.token}", value.model_dump_json(), str(value.model_dump())))


def _login() -> Login:
    return Login.parse({"question": "Hi", "account": {"name": "a", "key": KEY}, "token": KEY})


def test_a_secret_is_revealed_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    made = _login()
    assert made.token is not None
    assert made.token.reveal() == KEY
    assert KEY not in _all_texts(made) + caplog.text
    assert json.loads(made.model_dump_json())["token"] == "**********"


def test_a_reference_is_read_from_the_environment_at_each_use(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Login.parse({"question": "Hi", "token": "env:DSPEX_TEST_KEY"})
    assert made.token == Secret.from_env("DSPEX_TEST_KEY")
    with pytest.raises(ConfigurationError, match="DSPEX_TEST_KEY, which holds a secret, is not set"):
        made.token.reveal()
    monkeypatch.setenv("DSPEX_TEST_KEY", KEY)
    assert made.token.reveal() == KEY
    assert made.token.reveal(Settings.from_env({"DSPEX_TEST_KEY": "other"})) == "other"
    assert KEY not in _all_texts(made)
    assert Login.parse(made.model_dump(mode="json")) == made


@pytest.mark.parametrize("value", ["", "  ", 5, None, ["x", KEY], {"value": KEY}, "env:", "env:A-B", "**********"])
def test_a_wrong_secret_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Account.parse({"name": "a", "key": value})
    assert [path for path, _ in caught.value.problems] == ["key"]
    assert KEY not in str(caught.value)
    with pytest.raises(ValueError, match="key") as direct:
        Account(name="a", key=value)
    assert KEY not in str(direct.value)


def test_faults_beside_a_secret_do_not_show_it() -> None:
    with pytest.raises(InputError) as caught:
        Login.parse({"question": 5, "account": {"name": 5, "key": KEY}, "token": KEY, "tokn": KEY})
    assert [path for path, _ in caught.value.problems] == ["question", "account.name", "tokn"]
    assert KEY not in str(caught.value)
    with pytest.raises(ValueError, match="question") as direct:
        Login(account={"name": KEY}, token=KEY, key=KEY)  # type: ignore[call-arg, arg-type]
    assert KEY not in str(direct.value)


def test_a_mask_that_was_written_out_is_not_taken_for_a_secret() -> None:
    with pytest.raises(InputError, match=r"the mask of a secret.*write the value, or env:NAME"):
        Login.parse(_login().model_dump(mode="json"))


def test_a_saved_state_refuses_a_secret_and_keeps_a_reference() -> None:
    with pytest.raises(AgentSystemError, match=r"Secret\.from_env\('NAME'\)") as caught:
        fields_of(_login(), ["token"])
    assert KEY not in str(caught.value)
    kept = fields_of(Login(question="Hi", token=Secret.from_env("KEY")), ["token"])
    assert kept == {"token": "env:KEY"}


def test_prompts_leave_out_the_fields_that_hold_a_secret() -> None:
    assert secret_fields(Login) == {"account", "token"}
    messages = render(Answer, "Answer.", (), _login())
    assert messages[-1].content == "Hi"
    example = make_example({"question": "Hi", "token": "env:KEY"}, {"answer": "Ho"})
    assert [message.content for message in demo_messages(Login, Answer, example)] == ["Hi", '{"answer": "Ho"}']


def test_a_programs_state_holds_no_secret() -> None:
    class Guarded(Program):
        """Answer."""

        Input = Login
        Output = Answer

        api_key = Secret(KEY)

    program = Guarded().with_demo_pool(DemoPool([make_example({"question": "Hi"}, {"answer": "Ho"})]))
    assert KEY not in json.dumps(program.state()) + repr(program)


def test_a_secret_travels_between_processes_but_a_reference_carries_no_value() -> None:
    assert pickle.loads(pickle.dumps(Secret(KEY))) == Secret(KEY)
    reference = Secret.from_env("KEY")
    assert pickle.loads(pickle.dumps(reference)) == reference
    assert {Secret(KEY): 1}[Secret(KEY)] == 1
    assert Secret(KEY) != Secret("other")


@pytest.mark.parametrize("value", ["", 5])
def test_an_empty_secret_cannot_be_made(value: Any) -> None:
    with pytest.raises(ProgramError, match="A secret is text"):
        Secret(value)
    with pytest.raises(ProgramError, match="An environment variable's name"):
        Secret.from_env(value)


def test_the_json_schema_of_a_secret_says_that_it_is_only_given() -> None:
    assert Account.model_json_schema()["properties"]["key"] == {
        "format": "password",
        "title": "Key",
        "type": "string",
        "writeOnly": True,
    }


def test_a_default_in_plain_text_becomes_a_secret_and_no_schema_shows_it() -> None:
    class Client(Schema):
        key: Secret = field(KEY)  # type: ignore[assignment]
        other: Secret = Secret.from_env("OTHER_KEY")

    class Special(Client):
        name: str = "x"

    for schema in (Client, Special):
        made = schema()
        assert made.key == Secret(KEY)
        written = [json.dumps(schema.model_json_schema(mode=mode)) for mode in ("validation", "serialization")]
        assert KEY not in " ".join([repr(made), repr(schema.model_fields), *written])
    with pytest.raises(ProgramError, match="Schema Wrong: a default breaks its own field: key: expected a secret"):

        class Wrong(Schema):
            key: Secret = field("")  # type: ignore[assignment]


def test_secrets_that_must_not_be_saved_are_found_at_any_depth() -> None:
    class Many(Schema):
        accounts: list[Account]
        by_name: dict[str, Secret]

    made = Many.parse(
        {
            "accounts": [{"name": "a", "key": "env:KEY"}, {"name": "b", "key": KEY}],
            "by_name": {"x": KEY, "y": "env:KEY"},
        }
    )
    assert plain_secrets(made) == ("accounts[1].key", "by_name.x")
    assert secret_fields(Many) == {"accounts", "by_name"}

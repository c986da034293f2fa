"""`dspex traffic`: the plan of an endpoint is changed, shown and rolled back; mistakes change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.cli.main import _run  # what `main` runs; that one also takes the process's signals
from dspex_ray.store import open_store
from dspex_ray.traffic.control import EndpointTraffic

PATH = "shop:Route"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dspex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command beside a store with versions 1 to 3 and the endpoint `route`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSPEX_STORE", raising=False)
    store = open_store()
    for number in range(3):
        store.save_version({"program": PATH, "values": {"t": number}, "demo_pool": None, "lm": None}, {}, now=1.0)
    EndpointTraffic("route", store).deployed(PATH, "1")
    store.database.close()

    def run(*words: str) -> tuple[int, str, str]:
        code = _run(["traffic", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def in_force() -> Any:
    return EndpointTraffic("route", open_store()).show()


def test_a_split_is_kept_and_shown_with_who_and_why(dspex: Run) -> None:
    code, out, _ = dspex("split", "route", "1=90%", "2=0.1", "--sticky", "X-User", "--by", "ann", "--why", "a try")
    assert code == 0
    assert [(arm.version, arm.weight) for arm in in_force().plan.arms] == [("1", 0.9), ("2", 0.1)]
    assert in_force().plan.sticky_header == "x-user"
    assert "revision 2, change by ann" in out
    assert "a try" in out
    assert ["90.00%  version 1" in out, "10.00%  version 2" in out, "sticky by x-user" in out] == [True] * 3
    shown = json.loads(dspex("show", "route", "--json")[1])
    assert (shown["revision"], shown["plan"]["arms"][1]["weight"]) == (2, 0.1)


def test_rules_and_shadows_come_and_go(dspex: Run) -> None:
    dspex("rule", "route", "team", "--header", "x-team", "--prefix", "red", "--to", "2")
    dspex("shadow", "route", "3", "--share", "10%")
    out = dspex("show", "route")[1]
    assert "rule team: x-team: red* -> version 2" in out
    assert "shadow: version 3 gets copies of 10.00%" in out
    assert dspex("rule", "route", "team", "--remove")[0] == 0
    assert dspex("shadow", "route", "3", "--share", "0")[0] == 0
    assert (in_force().plan.rules, in_force().plan.shadows) == ((), ())


def test_a_rollback_puts_the_plan_before_in_force_and_all_are_shown(dspex: Run) -> None:
    dspex("split", "route", "1=0.5", "2=0.5")
    assert dspex("rollback", "route", "--why", "errors")[0] == 0
    assert in_force().plan.versions == ("1",)
    told = json.loads(dspex("show", "route", "--history", "--json")[1])["revisions"]
    assert [(one["kind"], one["why"]) for one in told][1:] == [("change", ""), ("rollback", "errors")]
    assert "rollback" in dspex("show", "route", "--history")[1]


def test_a_ramp_begins_with_its_first_step_and_is_shown(dspex: Run) -> None:
    code, out, _ = dspex(
        "ramp", "route", "--to", "2", "--steps", "1%,0.5", "--hold", "2m", "--guard", "errors=0.02", "--by", "ann"
    )
    assert code == 0
    assert "ramp from 1 to 2, running, step 1 of 2 (0.01)" in " ".join(out.split())
    assert [round(arm.weight, 9) for arm in in_force().plan.arms] == [0.99, 0.01]
    kept = json.loads(dspex("ramp", "route", "--status", "--json")[1])
    assert [(step["weight"], step["hold_s"], step["requests"]) for step in kept["ramp"]["steps"]] == [
        (0.01, 120.0, 50),
        (0.5, 120.0, 50),
    ]
    assert [(one["measure"], one["margin"]) for one in kept["ramp"]["guards"]] == [("errors", 0.02)]
    assert (kept["by"], kept["state"]["status"]) == ("ann", "running")
    again = dspex("ramp", "route", "--to", "3")
    assert (again[0], "begun by ann, runs already" in " ".join(again[2].split())) == (2, True)
    assert dspex("rollback", "route")[0] == 0
    assert in_force().plan.versions == ("1",)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("split route 1=0.5 9=0.5", "Unknown version of shop:Route '9'"),
        ("split route 1=0.5 2=0.4", "the weights sum to 0.9, not to 1"),
        ("split route 1=0.5 1=0.5", "Version '1' is given twice"),
        ("split route 1=0.5 2", "such as 3=0.9 or 3=90%, got '2'"),
        ("split route 1=half 2=0.5", "a number or a percentage"),
        ("split route 1=1.5 2=-0.5", "is between 0 and 1, got 1.5"),
        ("split rout 1=1", "Unknown endpoint 'rout'. Did you mean 'route'"),
        ("shadow route 2 --share nan", "a number or a percentage"),
        ("shadow route 2 --share 2", "above 0 and at most 1"),
        ("rule route team --header x-team --to 2", "either --value or --prefix"),
        ("rule route team --header x_@ --value a --to 2", "is no header's name"),
        ("rule route team --remove", "has no rule 'team'"),
        ("rule route team --remove --to 2", "goes with no other option"),
        ("rollback route", "no way back"),
        ("ramp route", "by --to, or give --status"),
        ("ramp route --to 2 --status", "by --to, or give --status"),
        ("ramp route --status", "route has had no ramp"),
        ("ramp route --to 9", "Unknown version of shop:Route '9'"),
        ("ramp route --to 1", "it leads from '1' to itself"),
        ("ramp route --to 2 --steps 50%,10%", "each step has more weight than the one before"),
        ("ramp route --to 2 --hold soon", "--hold takes a number and one of s, m, h and d"),
        ("ramp route --to 2 --guard taste=1", "with one of errors, latency_s, cost_usd; got 'taste=1'"),
        ("ramp route --to 2 --guard errors=-1", "the margin of guard 'errors' is 0 or more"),
        ("show nothing", "Unknown endpoint 'nothing'"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(dspex: Run, words: str, told: str) -> None:
    found, _, err = dspex(*words.split())
    assert (found, told in " ".join(err.split())) == (2, True), err
    assert in_force().revision == 1

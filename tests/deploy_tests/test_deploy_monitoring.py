"""Alert rules, scrape configuration and dashboard: taken by promtool, and about metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from dspex_agents.metrics.dashboard import dashboard
from dspex_agents.metrics.table import METRICS
from tests.support.deploy_files import DEPLOY, documents, told, tool, unknown_words

ALERTS_TEXT = (DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8")
RULES: list[dict[str, Any]] = [rule for group in documents(ALERTS_TEXT)[0]["groups"] for rule in group["rules"]]
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dspex-agents.json").read_text(encoding="utf-8"))
LABELS = {metric.name: set(metric.labels) for metric in METRICS}


@pytest.fixture
def promtool() -> str:
    found = tool("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    return found


def selectors(node: Any) -> list[Any]:
    """Return all vector selectors of a parsed PromQL expression."""
    if isinstance(node, promql_parser.VectorSelector):
        return [node]
    parts = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")]
    parts += getattr(node, "args", None) or []
    return [each for part in parts if part is not None and not isinstance(part, str) for each in selectors(part)]


def test_promtool_takes_the_rules_and_the_scrape_configuration(promtool: str) -> None:
    rules = told([promtool, "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "prometheus" / "alerts.yaml"])
    assert rules.returncode == 0, rules.stdout + rules.stderr
    config = told([promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yaml"])
    assert config.returncode == 0, config.stdout + config.stderr


def test_each_alert_fires_when_it_should_and_a_sound_system_is_silent(promtool: str, tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "alerts_cases.yaml").read_text(encoding="utf-8")
    written = tmp_path / "cases.yaml"
    written.write_text(cases.replace("%RULES%", str(DEPLOY / "prometheus" / "alerts.yaml")), encoding="utf-8")
    result = told([promtool, "test", "rules", written])
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(cases.count(rule["alert"]) >= 2 for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_about_metrics_and_labels_of_the_table(rule: dict[str, Any]) -> None:
    used = selectors(promql_parser.parse(rule["expr"]))
    assert used
    for each in used:
        if each.name == "up":
            continue
        assert each.name in LABELS
        assert {matcher.name for matcher in each.matchers.matchers} <= LABELS[each.name]
    own = set().union(*(LABELS.get(each.name, {"instance", "job"}) for each in used))
    assert set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))) <= own


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_and_a_runbook_whose_commands_exist(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"].endswith(".")
    commands = re.findall(r"`dspex ([^`]+)`", rule["annotations"]["runbook"])
    assert commands
    assert not [words for words in commands if unknown_words(words.split())]


def test_the_dashboard_is_the_one_that_the_table_gives() -> None:
    assert dashboard() == BOARD, "run: python -m dspex_agents.metrics.dashboard > deploy/grafana/dspex-agents.json"


def test_the_dashboard_has_a_panel_for_every_metric_and_its_queries_are_promql() -> None:
    assert [panel["title"] for panel in BOARD["panels"]] == [metric.name for metric in METRICS]
    for panel in BOARD["panels"]:
        query = panel["targets"][0]["expr"].replace("$__rate_interval", "5m")
        assert {each.name for each in selectors(promql_parser.parse(query))} == {panel["title"]}
        assert panel["datasource"]["uid"] == "${source}"
    corners = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]}
    assert len(corners) == len(BOARD["panels"])

"""Every rule and every panel asks for what somebody exports, parses, and finds numbers on a day like any other."""

import math
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.processes import ROOT
from tests.observability.panels import ASKED, Asked, named
from tests.observability.rules import ALWAYS, FOLDER, grouped_by, hurried_expression, metrics_in, rules, selectors_in
from tests.observability.stack import Stack

WITHIN_S = 30.0
PROMETHEUS_MAKES = {"up", "ALERTS"}
UNITS = (
    (r"ratio_rate|_share\b|_share_configured\b|_perc\b|_GPU_UTIL\b", "percentunit"),
    (r"_seconds(_bucket)?\b", "s"),
    (r"_bytes\b|DCGM_FI_DEV_FB_", "bytes"),
    (r"_TEMP\b", "celsius"),
    (r"_POWER_USAGE\b", "watt"),
)


RULES = [*rules("alert"), *rules("record")]
EXPRESSIONS = list(dict.fromkeys([*(rule["expr"] for rule in RULES), *(one.expression for one in ASKED)]))
NAMES = [rule.get("alert") or rule["record"] for rule in RULES]


@pytest.fixture(scope="module")
def exported(stack: Stack) -> set[str]:
    """Give the name of every metric that Prometheus was told of, or records."""
    recorded = "|".join(rule["record"] for rule in rules("record"))
    wanted = len(rules("record")) + 5
    stack.prometheus.wait(lambda: len(stack.prometheus.query(f'up == 1 or {{__name__=~"{recorded}"}}')) >= wanted, 30)
    return set(stack.prometheus.ask("label/__name__/values")) | PROMETHEUS_MAKES


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_names_only_what_somebody_exports(rule: dict[str, Any], exported: set[str]) -> None:
    named = metrics_in(rule["expr"])
    assert named <= exported, named - exported
    assert named or rule["expr"].startswith("vector(")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_a_selector_asks_for_is_there(expression: str, stack: Stack, exported: set[str]) -> None:
    for name, matchers in selectors_in(expression):
        assert stack.prometheus.query(name + matchers), (name, matchers)
    for label in grouped_by(expression):
        having = f'{{__name__=~"({"|".join(metrics_in(expression))}).*",{label}!=""}}'
        assert stack.prometheus.query(having), having


@pytest.mark.parametrize("one", ASKED, ids=[one.panel for one in ASKED])
def test_a_panel_shows_numbers(one: Asked, stack: Stack, exported: set[str]) -> None:
    assert metrics_in(one.expression) <= exported, metrics_in(one.expression) - exported
    query = hurried_expression(one.expression)
    # Some things happen seldom: the log is moved into the file every few seconds.
    found: list[dict[str, Any]] = []
    stack.prometheus.wait(lambda: found.extend(stack.prometheus.query(query)) or bool(found), WITHIN_S)
    values = [float(series["value"][1]) for series in found]
    assert all(math.isfinite(value) for value in values), (one.expression, values)
    assert not [one.legend for series in found if "{{" in named(one.legend, series["metric"])]


@pytest.mark.parametrize("one", ASKED, ids=[one.panel for one in ASKED])
def test_a_panel_has_the_unit_of_what_it_shows(one: Asked) -> None:
    if one.expression.startswith(("max by (alertname)", "rate(process_cpu", "(")) or "_bytes / " in one.expression:
        return  # counts, cores and shares, whatever they are made of
    named = metrics_in(re.sub(r"scalar\([^)]*\)", "1", one.expression))
    unit = next((unit for pattern, unit in UNITS if any(re.search(pattern, name) for name in named)), None)
    assert one.unit == unit or (unit is None and one.unit in ("short", "ops", "reqps"))


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_what_an_alert_watches_is_on_a_dashboard(rule: dict[str, Any]) -> None:
    recorded = {record["record"]: record["expr"] for record in rules("record")}

    def watched(expression: str) -> set[str]:
        named = metrics_in(expression)
        return named | {below for name in named & recorded.keys() for below in watched(recorded[name])}

    shown = {name for one in ASKED for name in watched(one.expression)}
    assert watched(rule["expr"]) & shown or rule["alert"] in ALWAYS


def test_on_a_good_day_no_alert_fires_but_the_watchdog(stack: Stack) -> None:
    groups = stack.prometheus.ask("rules")["groups"]
    assert not [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"]
    assert len([rule for group in groups for rule in group["rules"]]) == len(RULES)
    assert stack.prometheus.firing() == ALWAYS


def test_prometheus_takes_the_configuration_the_rules_and_the_metrics(stack: Stack) -> None:
    subprocess.run(["promtool", "check", "config", FOLDER / "prometheus.yml"], check=True, timeout=60)
    _, of_the_api = stack.call("GET", "/metrics")
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.backup_port}/metrics", timeout=10) as answer:
        of_the_sidecar = answer.read()
    for told in (of_the_api, of_the_sidecar):
        checked = subprocess.run(["promtool", "check", "metrics"], input=told, capture_output=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize("path", sorted((FOLDER / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_when_they_should_not(path: Path) -> None:
    checked = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tried_both_ways() -> None:
    tried = [
        one["name"].partition(",")[0]
        for path in (FOLDER / "tests").glob("*.yml")
        for one in yaml.safe_load(path.read_text())["tests"]
    ]
    alerts = {rule["alert"] for rule in rules("alert")}
    both = {f"{alert} fires" for alert in alerts} | {f"{alert} does not fire" for alert in alerts - ALWAYS}
    assert set(tried) == both


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info", "none")
    page, _, place = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert place in [heading.lower() for heading in headings]

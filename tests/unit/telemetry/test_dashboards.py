"""The dashboards are what the code writes, each panel a question with a description, a unit and one data source."""

import json
from typing import Any

import pytest
import yaml

from grafana.boards.__main__ import BOARDS, FOLDER, written
from grafana.boards.panels import Panel

PANELS = [(board.uid, panel) for board in BOARDS for panel in board.panels]


def test_the_files_are_what_the_code_writes() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert kept == written(), "run `just dashboards`"


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=[f"{uid}: {panel.title}" for uid, panel in PANELS])
def test_a_panel_asks_a_question_and_says_what_answers_it(uid: str, panel: Panel) -> None:
    assert panel.title.endswith("?")
    assert panel.description.endswith(".")
    assert all(query.legend for query in panel.queries)
    for query in panel.queries:
        assert "rate(" not in query.expr or "[$__rate_interval]" in query.expr
    assert panel.leads_to is None or panel.leads_to in {board.uid for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=[board.uid for board in BOARDS])
def test_a_dashboard_fits_the_screen_and_cannot_be_changed_by_hand(board: Any) -> None:
    made = json.loads(written()[f"{board.uid}.json"])
    assert made["editable"] is False
    for panel in made["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_grafana_finds_the_dashboards_and_their_source_where_they_are() -> None:
    folder = FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"], source["editable"]) == ("prometheus", "prometheus", False)
    scraped = yaml.safe_load((FOLDER.parents[1] / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"] == {"timeInterval": scraped["scrape_interval"]}, "$__rate_interval is made of it"
    (provider,) = yaml.safe_load((folder / "dashboards" / "sovereign.yaml").read_text())["providers"]
    assert provider["options"]["path"].endswith(f"/{FOLDER.name}")
    assert provider["allowUiUpdates"] is False


def test_the_overview_leads_to_every_other_dashboard() -> None:
    overview = BOARDS[0]
    others = {board.uid for board in BOARDS[1:]}
    assert {panel.leads_to for panel in overview.panels} - {None} == others

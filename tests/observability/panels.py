"""What the dashboards ask of Prometheus."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from tests.fixtures.processes import ROOT


class Asked(NamedTuple):
    """One expression of a panel."""

    panel: str
    unit: str
    legend: str
    expression: str


def asked() -> Iterator[Asked]:
    """Yield what the dashboards ask, as Grafana would, with its variables filled in."""
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            unit = panel["fieldConfig"]["defaults"]["unit"]
            for target in panel["targets"]:
                name = f"{path.stem}: {panel['title']} {target['refId']}"
                yield Asked(name, unit, target["legendFormat"], filled(target["expr"]))


def filled(expression: str) -> str:
    """Return an expression with its variables filled in."""
    done = expression.replace("$__rate_interval", "3m").replace("$project", ".*")
    assert "$" not in done
    return done


def named(legend: str, labels: dict[str, str]) -> str:
    """Fill a legend in."""
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


ASKED = list(asked())

"""What the dashboards ask of Prometheus."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from tests.fixtures.processes import ROOT


class Asked(NamedTuple):
    """One expression of a panel."""

    panel: str
    unit: str
    expression: str


def asked() -> Iterator[Asked]:
    """Yield what the dashboards ask, as Grafana would, with its variables filled in."""
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            unit = panel["fieldConfig"]["defaults"]["unit"]
            for target in panel["targets"]:
                yield Asked(f"{path.stem}: {panel['title']} {target['refId']}", unit, filled(target["expr"]))


def filled(expression: str) -> str:
    """Return an expression with its variables filled in."""
    done = expression.replace("$__rate_interval", "3m").replace("$project", ".*")
    assert "$" not in done
    return done


ASKED = list(asked())

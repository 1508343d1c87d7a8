"""`just dashboards-preview`: a stack runs for a minute and a half, its model server slow in the middle; what the panels
ask is asked of its Prometheus, and drawn into data/dashboards, a page for each dashboard.
"""

import app  # noqa: F401, I001 - first, so that sqlite3 is the fixed engine

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.prepare import DRAWING
from tests.fixtures.processes import ROOT, stop
from tests.observability.panels import filled, named
from tests.observability.rules import hurried_expression
from tests.observability.stack import SCRAPE_S, Prometheus, Stack, whole_stack
from tests.observability.traffic import all_kinds, going_on

PART_S = 30
SLOW = {"vllm:time_to_first_token_seconds": 1.5, "vllm:inter_token_latency_seconds": 0.03}
FOLDER = ROOT / "data" / "dashboards"


def main() -> None:
    """Run, ask, draw."""
    began = time.time()
    with tempfile.TemporaryDirectory() as folder, whole_stack(Path(folder)) as stack:
        live(stack)
        pages = {
            path.stem: page(path, stack.prometheus, began) for path in (ROOT / "grafana/dashboards").glob("*.json")
        }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "pages.json").write_text(json.dumps(pages))
    script = Path(__file__).with_name("draw.py")
    env = os.environ | {"PYTHONPATH": str(DRAWING.folder)}
    subprocess.run([sys.executable, str(script), str(FOLDER)], check=True, env=env, timeout=300)
    print(f"drawn into {FOLDER.relative_to(ROOT)}")


def live(stack: Stack) -> None:
    """Have a good time, a slow one, and a good one again."""
    all_kinds(stack)
    with going_on(stack, every_s=0.2):
        time.sleep(PART_S)
        stop(stack.model)
        slow = stack.run_model(token_ms=30, first_token_ms=1500)
        stack.vllm.at_least = SLOW
        time.sleep(PART_S)
        stop(slow)
        stack.vllm.at_least = {}
        stack.run_model()
        time.sleep(PART_S)


def page(path: Path, prometheus: Prometheus, since: float) -> dict[str, Any]:
    """Return a dashboard's panels, each with the series of its queries."""
    board = json.loads(path.read_text())
    return {"title": board["title"], "panels": [drawn(panel, prometheus, since) for panel in board["panels"]]}


def drawn(panel: dict[str, Any], prometheus: Prometheus, since: float) -> dict[str, Any]:
    """Return a panel with what Prometheus knows for it."""
    lines = []
    for target in panel["targets"]:
        window = {"start": f"{since:.1f}", "end": f"{time.time():.1f}", "step": str(SCRAPE_S)}
        found = prometheus.ask("query_range", query=hurried_expression(filled(target["expr"])), **window)["result"]
        lines += [(named(target["legendFormat"], one["metric"]), one["values"]) for one in found]
    shown = panel["fieldConfig"]["defaults"]
    return {
        "title": panel["title"],
        "kind": panel["type"],
        "unit": shown["unit"],
        "steps": shown.get("thresholds", {"steps": []})["steps"],
        "words": {value: one["text"] for told in shown.get("mappings", ()) for value, one in told["options"].items()},
        "only_names": panel["options"].get("textMode") == "name",
        "place": panel["gridPos"],
        "lines": lines,
    }


if __name__ == "__main__":
    main()

"""Draws pages of panels with matplotlib, in an environment that has nothing else: `draw.py FOLDER` reads pages.json."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

ROW_INCHES = 0.42
WIDTH_INCHES = 16
SHOWN_LINES = 8
SCALES = {"bytes": (1e9, "GB"), "percentunit": (0.01, "%"), "s": (1, "s"), "celsius": (1, "°C"), "watt": (1, "W")}


def draw(page: dict[str, Any], file: Path) -> None:
    """Draw one dashboard."""
    rows = max(panel["place"]["y"] + panel["place"]["h"] for panel in page["panels"])
    figure = pyplot.figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES + 0.6), layout="constrained")
    figure.suptitle(page["title"], fontsize=14)
    grid = figure.add_gridspec(rows, 24)
    for panel in page["panels"]:
        place = panel["place"]
        axes = figure.add_subplot(grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]])
        axes.set_title(panel["title"], fontsize=9)
        (_number if panel["kind"] == "stat" else _lines)(axes, panel)
    figure.savefig(file, dpi=70)
    pyplot.close(figure)


def _number(axes: Any, panel: dict[str, Any]) -> None:
    axes.axis("off")
    scale, unit = SCALES.get(panel["unit"], (1, ""))
    told = [f"{name}: {float(values[-1][1]) / scale:.3g} {unit}" for name, values in panel["lines"]]
    axes.text(0.5, 0.5, "\n".join(told) or "-", ha="center", va="center", fontsize=9)


def _lines(axes: Any, panel: dict[str, Any]) -> None:
    scale, unit = SCALES.get(panel["unit"], (1, ""))
    largest = sorted(panel["lines"], key=lambda line: -max(float(value) for _, value in line[1]))
    began = min((line[1][0][0] for line in largest), default=0)
    for name, values in largest[:SHOWN_LINES]:
        axes.plot([at - began for at, _ in values], [float(value) / scale for _, value in values], label=name, lw=1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if largest:
        axes.legend(fontsize=6, loc="upper left")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, one in json.loads((folder / "pages.json").read_text()).items():
        draw(one, folder / f"{name}.png")

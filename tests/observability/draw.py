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
SCALES = {
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    "s": ((1, "s"), (1e-3, "ms")),
    "percentunit": ((0.01, "%"),),
    "celsius": ((1, "°C"),),
    "watt": ((1, "W"),),
    "ops": ((1, "each second"),),
    "reqps": ((1, "each second"),),
}
COLOURS = {"green": "tab:green", "orange": "tab:orange", "red": "tab:red"}

Panel = dict[str, Any]


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


def _number(axes: Any, panel: Panel) -> None:
    axes.axis("off")
    told = [(name, float(values[-1][1])) for name, values in panel["lines"]]
    step = min(0.22, 0.9 / max(1, len(told)))
    for row, (name, value) in enumerate(told or [("–", 0.0)]):
        text = name if panel["only_names"] or not told else f"{name}: {_said(panel, value)}"
        place = 0.5 + step * ((len(told) - 1) / 2 - row)
        axes.text(0.5, place, text, ha="center", va="center", fontsize=11, color=_colour(panel, value))


def _said(panel: Panel, value: float) -> str:
    if str(int(value)) in panel["words"]:
        return str(panel["words"][str(int(value))])
    scale, unit = _scale(panel, value)
    return f"{value / scale:,.0f} {unit}" if value / scale >= 1000 else f"{value / scale:.4g} {unit}"


def _colour(panel: Panel, value: float) -> str:
    reached = [step["color"] for step in panel["steps"] if step.get("value") is None or value >= step["value"]]
    return COLOURS.get(reached[-1], "black") if reached else "black"


def _scale(panel: Panel, largest: float) -> tuple[float, str]:
    """Return the unit in which a value reads well, as Grafana does."""
    scales = SCALES.get(panel["unit"], ((1, ""),))
    return next((one for one in scales if largest >= one[0]), scales[-1] if largest else scales[0])


def _lines(axes: Any, panel: Panel) -> None:
    largest = sorted(panel["lines"], key=lambda line: -_most(line))
    top = max(map(_most, largest), default=0)
    scale, unit = _scale(panel, top)
    began = min((line[1][0][0] for line in largest), default=0)
    for name, values in largest[:SHOWN_LINES]:
        label = name if _most((name, values)) else None
        axes.plot([at - began for at, _ in values], [float(value) / scale for _, value in values], label=label, lw=1)
    for step in panel["steps"]:
        if step.get("value") is not None and step["value"] <= 2 * top:
            axes.axhline(step["value"] / scale, color=COLOURS[step["color"]], lw=0.8, ls="--")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05 if top else 1)
    axes.set_ylabel(unit, fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if top:
        axes.legend(fontsize=6, loc="upper left")
    else:
        axes.text(0.5, 0.5, "0" if largest else "–", transform=axes.transAxes, ha="center", va="center", fontsize=9)


def _most(line: tuple[str, list[list[Any]]]) -> float:
    return max(float(value) for _, value in line[1])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, one in json.loads((folder / "pages.json").read_text()).items():
        draw(one, folder / f"{name}.png")

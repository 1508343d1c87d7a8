"""Writes every dashboard to grafana/dashboards."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.boards.gpu import GPU
from grafana.boards.keys import KEYS
from grafana.boards.latency import LATENCY
from grafana.boards.overview import OVERVIEW
from grafana.boards.panels import built
from grafana.boards.runs import RUNS
from grafana.boards.state import STATE

BOARDS = (OVERVIEW, LATENCY, GPU, RUNS, STATE, KEYS)
FOLDER = Path(__file__).parents[1] / "dashboards"


def written() -> dict[str, str]:
    """Return the text of each dashboard's file, by its name."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{board.uid}.json": encoder.encode(built(board).build()) + "\n" for board in BOARDS}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")

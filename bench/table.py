"""The table of figures: its rows, and how it is written out."""

from collections.abc import Sequence

from msgspec import Struct


class Row(Struct, frozen=True):
    """One line of the table."""

    what: str
    figure: str
    bare: str = ""
    aim: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """Return what stands in each column."""
        return self.what, self.figure, self.bare, self.aim


HEADER = Row("what", "through the API", "bare model server", "aim")


def lines(rows: Sequence[Row]) -> list[str]:
    """Write rows under a header, every column as wide as its widest cell."""
    cells = [row.cells() for row in (HEADER, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def side_by_side(values: Sequence[float]) -> str:
    """Write milliseconds at growing sizes, and how many times the first the last is."""
    return " / ".join(f"{value:.2f}" for value in values) + f" ms, growth {values[-1] / values[0]:.2f}×"

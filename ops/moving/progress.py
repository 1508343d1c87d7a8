"""How far a move has come, on standard error: a line that is written over, or one every few seconds in a log."""

import sys
import time
from typing import TextIO

import click

TERMINAL_S, LOG_S = 0.2, 5.0
MEGABYTE = 1_000_000


class Progress:
    """Tells of objects and bytes, how many of them a second, and how much of the whole that is."""

    def __init__(self, total_bytes: int | None, stream: TextIO | None = None) -> None:
        self._total = total_bytes
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._began = self._told = time.monotonic()
        self._open = False

    def tell(self, objects: int, size: int) -> None:
        """Say how far it is, unless that was said just now."""
        now = time.monotonic()
        if now - self._told >= (TERMINAL_S if self._terminal else LOG_S):
            self._told = now
            self._write(line_of(objects, size, self._total, now - self._began))

    def clear(self) -> None:
        """Make room on a terminal for something that stays."""
        if self._open:
            click.echo("\r\x1b[K", nl=False, file=self._stream)
            self._open = False

    def _write(self, text: str) -> None:
        click.echo(f"\r\x1b[K{text}" if self._terminal else text, nl=not self._terminal, file=self._stream)
        self._open = self._terminal


def line_of(objects: int, size: int, total: int | None, elapsed_s: float) -> str:
    """Write how far it is: `12,000 objects, 3.4 of 10.2 MB (33 %), 5,210 objects/s`."""
    of = f" of {total / MEGABYTE:.1f} MB ({min(size / total, 1):.0%})" if total else " MB"
    rate = objects / elapsed_s if elapsed_s > 0 else 0
    return f"{objects:,} objects, {size / MEGABYTE:.1f}{of}, {rate:,.0f} objects/s"

"""What is on disk and what readers were told, as the rules of the state machine look at it."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, select

from app.db.database import ReadTx
from app.db.tables import MessageRow, RunRow, StepRow, ThreadRow, table
from app.engine.events import MessageStarted, OutputsSubmitted, TurnRequeued
from app.engine.journal import past_of
from app.engine.turn import Stamped
from tests.conformance.sse import ServerEvent

RUNS, THREADS, MESSAGES, STEPS = table(RunRow), table(ThreadRow), table(MessageRow), table(StepRow)


class Snapshot:
    """What is on disk at one moment."""

    def __init__(self, tx: ReadTx) -> None:
        self.threads = {row.id: row for row in tx.all(select(THREADS))}
        self.runs = {row.id: row for row in tx.all(select(RUNS).order_by(RUNS.c.created_at, RUNS.c.id))}
        self.messages = {row.id: row for row in tx.all(select(MESSAGES)) if row.run_id is not None}
        self.made: dict[str, list[tuple[int, str, Row[Any]]]] = defaultdict(list)
        for row in self.messages.values():
            self.made[row.run_id].append((row.position, "message", row))
        for row in tx.all(select(STEPS).where(STEPS.c.type == "tool_calls")):
            self.made[row.run_id].append((row.position, "calls", row))
        for things in self.made.values():
            things.sort(key=lambda thing: thing[0])
        self.given_up = {message for run in self.runs for message in given_up(past_of(tx, run))}

    def with_status(self, *statuses: str) -> list[Row[Any]]:
        """The runs that are in one of these."""
        return [run for run in self.runs.values() if run.status in statuses]


def given_up(events: list[Stamped]) -> Iterator[str]:
    """Yield the messages of attempts that did not count."""
    attempt: list[str] = []
    for stamped in events:
        match stamped.event:
            case MessageStarted(message_id=message):
                attempt.append(message)
            case OutputsSubmitted():
                attempt.clear()
            case TurnRequeued():
                yield from attempt
                attempt.clear()


def stored_text(row: Row[Any]) -> str:
    """Return the text of a message's row."""
    return "".join(part["text"]["value"] for part in json.loads(row.content))


def texts_told(events: list[ServerEvent]) -> Iterator[tuple[str, str, str]]:
    """Yield each message that a reader saw end: its id, its deltas together, and its text as it ended."""
    deltas: dict[str, list[str]] = defaultdict(list)
    for event in events:
        if event.event == "thread.message.delta":
            told = json.loads(event.data)
            deltas[told["id"]] += [part["text"]["value"] for part in told["delta"]["content"]]
        elif event.event in ("thread.message.completed", "thread.message.incomplete"):
            told = json.loads(event.data)
            whole = "".join(part["text"]["value"] for part in told["content"])
            if whole or told["status"] == "completed":  # nothing is kept of an answer that was cut before it began
                yield told["id"], "".join(deltas[told["id"]]), whole

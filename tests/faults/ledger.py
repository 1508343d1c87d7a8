"""What clients were told, kept outside the database, and how it compares with what a killed server left on disk."""

import json
import shutil
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = frozenset({"completed", "cancelled", "failed", "expired", "incomplete"})


@dataclass
class Ledger:
    """Everything that was acknowledged, by id; `tried` is what was asked for without an answer yet."""

    tried: set[str] = field(default_factory=set)
    messages: dict[str, tuple[str, str]] = field(default_factory=dict)
    inputs: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    cancelled: dict[str, str] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    deleting: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def frozen(self) -> "Ledger":
        """Return what stands here now: the comparison goes on in a thread while the next server starts."""
        return Ledger(**{name: type(value)(value) for name, value in vars(self).items()})


@dataclass
class OnDisk:
    """The rows of one file, as a killed server left them."""

    faults: list[str]
    threads: dict[str, str | None]
    messages: list[Any]
    runs: dict[str, Any]
    details: dict[str, list[str]]
    requeued: int

    @property
    def unended(self) -> list[Any]:
        """The runs that have not ended."""
        return [run for run in self.runs.values() if run["ended_at"] is None]


def copied(database: Path, to: Path) -> Path:
    """Copy a dead server's file with its write-ahead log; looking at the copy leaves the recovery to the server."""
    to.mkdir(exist_ok=True)
    for name in (database.name, f"{database.name}-wal"):
        (to / name).unlink(missing_ok=True)
        if (database.parent / name).exists():
            shutil.copy(database.parent / name, to / name)
    (to / f"{database.name}-shm").unlink(missing_ok=True)
    return to / database.name


def read(database: Path) -> OnDisk:
    """Read a copy."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        integrity = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        faults = [f"integrity: {said}" for said in integrity if said != "ok"]
        faults += [f"a row of {row[0]} refers to no {row[2]}" for row in orphans]
        details = defaultdict(list)
        for row in connection.execute("SELECT run_id, step_details FROM run_steps WHERE type='tool_calls'"):
            details[row["run_id"]].append(row["step_details"])
        told = 'SELECT count(*) FROM run_events WHERE instr(CAST(events AS TEXT), \'"e":"requeued"\')'
        return OnDisk(
            faults=faults,
            threads=dict(connection.execute("SELECT id, active_run_id FROM threads").fetchall()),
            messages=connection.execute(
                "SELECT id, thread_id, run_id, role, status, content FROM messages ORDER BY thread_id, position"
            ).fetchall(),
            runs={row["id"]: row for row in connection.execute("SELECT * FROM runs")},
            details=details,
            requeued=connection.execute(told).fetchone()[0],
        )


def text_of(row: Any) -> str:
    """Return the text of a message's row."""
    return "".join(part["text"]["value"] for part in json.loads(row["content"]))


def compare(ledger: Ledger, disk: OnDisk) -> list[str]:
    """Return every difference between what was told and what is there, and every broken rule."""
    stored = {row["id"]: row for row in disk.messages}
    said = Counter(text_of(row) for row in disk.messages if row["role"] == "user")
    faults = list(disk.faults)
    faults += [f"doubled: {text}" for text, times in said.items() if times > 1]
    faults += [f"never sent: {text}" for text in said if text not in ledger.tried]
    faults += [f"deleted but there: {thread}" for thread in ledger.deleted if thread in disk.threads]
    for thread, text in ledger.threads.items():
        if thread not in ledger.deleting and (thread not in disk.threads or said[text] != 1):
            faults.append(f"lost: {thread} or its first message")
    for message, (thread, text) in (ledger.messages | ledger.answers).items():
        if thread in disk.threads and (message not in stored or text_of(stored[message]) != text):
            faults.append(f"lost: {message} of {thread}: {text}")
    return faults + runs_compared(ledger, disk, said) + rules_broken(ledger, disk)


def runs_compared(ledger: Ledger, disk: OnDisk, said: Counter[str]) -> list[str]:
    """Compare the runs that clients know with those on disk."""
    faults = []
    for run, (thread, text, _) in ledger.inputs.items():
        if thread in disk.threads and (run not in disk.runs or said[text] != 1):
            faults.append(f"lost: {run} of {thread} or its input")
    for run, status in (ledger.ended | ledger.cancelled).items():
        if run in disk.runs and disk.runs[run]["status"] != status:
            faults.append(f"{run} was {status} and is {disk.runs[run]['status']}")
    for call, (run, thread, output) in ledger.outputs.items():
        if thread in disk.threads and not any(call in text and output in text for text in disk.details[run]):
            faults.append(f"lost: the output of {call} of {run}")
    return faults


def rules_broken(ledger: Ledger, disk: OnDisk) -> list[str]:
    """Return what no file may ever show, whenever its server was killed."""
    active = {run["thread_id"]: run["id"] for run in disk.unended}
    faults = [] if len(active) == len(disk.unended) else ["two active runs on a thread"]
    faults += [
        f"{thread} is locked by {lock}, its active run is {active.get(thread)}"
        for thread, lock in disk.threads.items()
        if lock != active.get(thread)
    ]
    for run in disk.runs.values():
        if (run["status"] in ENDED) != (run["ended_at"] is not None):
            faults.append(f"{run['id']} is {run['status']} and its end {run['ended_at']}")
        if run["status"] not in ENDED - {"failed", "expired", "incomplete"} and run["ended_at"] is not None:
            faults.append(f"{run['id']} ended {run['status']} ({run['last_error']}) though only its server was killed")
    return faults + answers_broken(ledger, disk)


def answers_broken(ledger: Ledger, disk: OnDisk) -> list[str]:
    """Return the runs with two answers, with a wrong one, or completed without one."""
    answers = defaultdict(list)
    for row in disk.messages:
        if row["role"] == "assistant":
            answers[row["run_id"]].append(row)
    faults = [f"{run} answered {len(rows)} times" for run, rows in answers.items() if len(rows) > 1]
    for run in disk.runs.values():
        made = [(row["status"], text_of(row)) for row in answers[run["id"]]]
        wanted = ledger.inputs.get(run["id"])
        if run["status"] == "completed" and ([status for status, _ in made] != ["completed"]):
            faults.append(f"{run['id']} completed with {made}")
        elif run["status"] == "completed" and wanted is not None and made[0][1] != wanted[2]:
            faults.append(f"{run['id']} should say {wanted[2]} and says {made[0][1]}")
    return faults

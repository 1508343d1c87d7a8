"""Twelve troubles: each is told by an alert, and a panel shows its cause. With OPERATE_TABLE set to a file, the table
between its markers is written anew.

Some at once, each on a stack of its own: nearly all of it is waiting.
"""

import math
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from app.db.sqlite_connection import PRAGMAS
from tests.fixtures.processes import stop
from tests.observability.panels import ASKED, named
from tests.observability.rules import FASTER, hurried_expression, rules
from tests.observability.stack import AS_USUAL, KEY, Around, Stack, whole_stack
from tests.observability.traffic import TEXT, begun, chat, going_on, message

WITHIN_S = 120.0
SHOWN_WITHIN_S = 10.0
RESULT_WITHIN_S = 500.0
AT_ONCE = 6
PARTS = 5
"""That Prometheus asks."""
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
DISK = """
mount -t tmpfs -o size=64m none "$0"
{ until [ -e "$1" ]; do sleep 0.1; done; dd if=/dev/zero of="$0/fill" bs=1M count=60; } &
shift
exec "$@"
"""
MARKERS = re.compile(r"(<!-- troubles -->\n).*?(<!-- end of troubles -->)", re.DOTALL)
FOR = {rule["alert"]: rule.get("for", "at once") for rule in rules("alert")}


class Seen(NamedTuple):
    """What was seen of a trouble: which alerts fired, after how many seconds, and what the panel showed."""

    trouble: str
    alerts: dict[str, float]
    panel: str


Make = Callable[[Stack, ExitStack], None]
Shown = Mapping[str, float]


def vllm_killed(stack: Stack, _: ExitStack) -> None:
    """Kill the model server: nobody answers on its port, and its memory is free."""
    stop(stack.model, signal.SIGKILL)
    stack.vllm.down = True
    stack.gpu.says.update(DCGM_FI_DEV_FB_USED=900, DCGM_FI_DEV_FB_FREE=47_260)


def vllm_slow(stack: Stack, until_over: ExitStack) -> None:
    """Let every first token take six seconds, of some chats more than go on anyway."""
    stop(stack.model)
    stack.run_model(first_token_ms=6000)
    stack.vllm.at_least = {"vllm:time_to_first_token_seconds": 6}
    pool = until_over.enter_context(ThreadPoolExecutor(10))
    for _ in range(60):
        pool.submit(chat, stack, streamed=True)
    until_over.callback(pool.shutdown, cancel_futures=True)


def queue_flooded(stack: Stack, _: ExitStack) -> None:
    """Ask for thirty runs at once of a model that is slow to answer: two run, twenty may wait."""
    stop(stack.model)
    stack.run_model(first_token_ms=20_000)
    assistant = stack.made("/v1/assistants", {"model": "llama"})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: begun(stack, assistant), range(30)))


def disk_nearly_full(stack: Stack, _: ExitStack) -> None:
    """Fill the disk of the state to less than a tenth."""
    (stack.folder / "fill").touch()


def wal_growing(stack: Stack, until_over: ExitStack) -> None:
    """Read from the database in one transaction that does not end, while much is written."""
    reader = until_over.enter_context(closing(sqlite3.connect(f"file:{stack.database}?mode=ro", uri=True)))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchone()
    body = {"messages": [message(TEXT * 10)] * 30}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stack.made("/v1/threads", body), range(64)))


def backup_stopped(stack: Stack, _: ExitStack) -> None:
    """Kill the sidecar."""
    stop(stack.backup, signal.SIGKILL)


def backups_full(stack: Stack, _: ExitStack) -> None:
    """Fill the disk of the backups: the sidecar runs, and can store nothing."""
    (stack.folder / "fill").touch()


def drill_fails(stack: Stack, _: ExitStack) -> None:
    """Turn a bit over in every stored file once a drill went well: the next one cannot restore."""
    stack.prometheus.wait(lambda: GOOD_DRILL.is_seen(stack), WITHIN_S)
    for path in (stack.folder / "backups" / "objects").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            path.chmod(0o600)
            path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))


def key_misused(stack: Stack, _: ExitStack) -> None:
    """Try keys."""
    for number in range(60):
        assert stack.call("GET", "/v1/models", key=f"sk-{number}")[0] == 401


def clock_jumps(stack: Stack, _: ExitStack) -> None:
    """Set the API's clock an hour ahead."""
    (stack.folder / "clock").write_text("+3600")


def client_never_reads(stack: Stack, until_over: ExitStack) -> None:
    """Ask for much, eight times, and take none of it."""
    thread = stack.made("/v1/threads", {"messages": [message(TEXT * 10)] * 30})
    for _ in range(8):
        client = until_over.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", stack.api_port))
        request = (
            f"GET /v1/threads/{thread}/messages?limit=100 HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        )
        client.sendall(request.encode())


def database_locked(stack: Stack, until_over: ExitStack) -> None:
    """Hold the database for writing from another program."""
    assert "journal_mode=WAL" in PRAGMAS
    holder = until_over.enter_context(closing(sqlite3.connect(stack.database, isolation_level=None)))
    holder.execute("BEGIN IMMEDIATE")


class Sign(NamedTuple):
    """A line of a panel that is above a bound, or below it."""

    panel: str
    legend: str
    bound: float
    above: bool = True

    def value(self, stack: Stack) -> float:
        """Return what the line is at now; nan where there is none."""
        return shown(stack, self.panel).get(self.legend, math.nan)

    def is_seen(self, stack: Stack) -> bool:
        """Tell whether it is there."""
        value = self.value(stack)
        return value > self.bound if self.above else value < self.bound

    def can_come(self, stack: Stack) -> bool:
        """Tell whether there is a line, and it is on the good side."""
        return not math.isnan(self.value(stack)) and not self.is_seen(stack)


class Trouble(NamedTuple):
    """How a trouble is made, the alerts that tell of it, and the sign that shows it.

    `around` prepares a folder for it, and says what is around programs.
    """

    make: Make
    alerts: set[str]
    sign: Sign
    around: Callable[[Path], Mapping[str, Around]] = lambda _: AS_USUAL


def small_disk(program: str, name: str) -> Callable[[Path], Mapping[str, Around]]:
    """Put a folder that a program writes to on a disk of its own, which is filled at a word."""

    def prepare(folder: Path) -> Mapping[str, Around]:
        (folder / name).mkdir()
        places = (str(folder / name), str(folder / "fill"))
        return {program: Around(("unshare", "--map-root-user", "--mount", "sh", "-c", DISK, *places))}

    return prepare


def clock_of_its_own(folder: Path) -> Mapping[str, Around]:
    """Give the API a clock that can be set."""
    assert FAKETIME is not None, "libfaketime is missing: apt-get install libfaketime"
    (folder / "clock").write_text("+0")
    env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(folder / "clock")}
    return {"serve": Around(env=env | {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})}


def drilled_often(_: Path) -> Mapping[str, Around]:
    """Have a drill every minute, which is as often as can be."""
    return {"backup": Around(env={"BACKUP_DRILL_EVERY_S": "60"})}


GOOD_DRILL = Sign("Did the last drill restore one?", "well", 0.5)
NO_GOOD_DRILL = GOOD_DRILL._replace(above=False)
TROUBLES: dict[str, Trouble] = {
    "vLLM killed": Trouble(
        vllm_killed,
        {"VllmDown", "ModelServerAway", "VramDropped"},
        Sign("Do the model servers answer?", "main", 0.5, above=False),
    ),
    "vLLM slow": Trouble(
        vllm_slow,
        {"FirstTokenBudgetFast"},
        Sign("Which layer makes clients wait for the first token?", "vLLM: first token", 5),
    ),
    "queue flooded": Trouble(queue_flooded, {"QueueNearlyFull"}, Sign("Do turns wait for a slot?", "waiting", 16)),
    "disk nearly full": Trouble(
        disk_nearly_full,
        {"DiskNearlyFull", "StorageFailing"},
        Sign("How much room has the state?", "free", 0.1, above=False),
        small_disk("serve", "state"),
    ),
    "WAL growing": Trouble(wal_growing, {"WalLarge"}, Sign("How large is the state?", "log", 268_435_456)),
    "backup stopped": Trouble(
        backup_stopped, {"TargetDown", "BackupStale"}, Sign("Does everything answer?", "backup", 0.5, above=False)
    ),
    "disk of the backups full": Trouble(
        backups_full,
        {"BackupFailing", "BackupStale"},
        Sign("Why do backups fail?", "disk_full", 0),
        small_disk("backup", "backups"),
    ),
    "drill failed": Trouble(drill_fails, {"BackupDrillFailed"}, NO_GOOD_DRILL, drilled_often),
    "key misuse": Trouble(key_misused, {"AuthFailureBurst"}, Sign("Are keys being tried?", "unknown", 0.1)),
    "clock jump": Trouble(clock_jumps, {"ClockJumped"}, Sign("Did the clock jump?", "jumps", 0.5), clock_of_its_own),
    "client that never reads": Trouble(
        client_never_reads, {"ClientsNotReading"}, Sign("Do clients not read?", "cut off", 0.5)
    ),
    "database locked": Trouble(
        database_locked,
        {"DatabaseBusy", "StorageFailing"},
        Sign("Does somebody else hold the database?", "busy", 0.5),
    ),
}
FIRST = ("drill failed", "disk of the backups full", "backup stopped", "WAL growing")
"""Those that take longest."""


def shown(stack: Stack, panel: str) -> Shown:
    """Return what a panel shows now, by its legend."""
    asked = [one for one in ASKED if one.panel.rpartition(" ")[0].endswith(f": {panel}")]
    assert asked, panel
    return {
        named(one.legend, series["metric"]): float(series["value"][1])
        for one in asked
        for series in stack.prometheus.query(hurried_expression(one.expression))
    }


def made(name: str, folder: Path) -> Seen:
    """Make a trouble on a stack that was well; return what was seen of it."""
    make, alerts, sign, around = TROUBLES[name]
    with whole_stack(folder, around(folder)) as stack, going_on(stack), ExitStack() as until_over:
        ask = stack.prometheus
        ask.wait(lambda: len(ask.query("up == 1")) == PARTS, WITHIN_S)
        ask.wait(lambda: sign.can_come(stack) and not ask.firing() & alerts, WITHIN_S)
        began = time.monotonic()
        make(stack, until_over)
        after_s: dict[str, float] = {}
        while not alerts <= after_s.keys():
            assert time.monotonic() - began < WITHIN_S, (after_s, ask.firing())
            after_s |= dict.fromkeys(ask.firing() & alerts - after_s.keys(), time.monotonic() - began)
            time.sleep(0.1)
        ask.wait(lambda: sign.is_seen(stack), SHOWN_WITHIN_S)
    return Seen(name, after_s, sign.panel)


@pytest.fixture(scope="module")
def troubles(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, "Future[Seen]"]]:
    """Begin to make the troubles that are asked for."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    asked = [one["trouble"] for one in params if "trouble" in one]
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {
            name: pool.submit(made, name, tmp_path_factory.mktemp("trouble"))
            for name in dict.fromkeys((*FIRST, *TROUBLES))
            if name in asked
        }
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_trouble_is_told_and_its_cause_is_shown(trouble: str, troubles: Mapping[str, "Future[Seen]"]) -> None:
    assert troubles[trouble].result(RESULT_WITHIN_S).alerts.keys() == TROUBLES[trouble].alerts


def test_all_of_them_make_a_table_for_the_operator(troubles: Mapping[str, "Future[Seen]"]) -> None:
    if len(troubles) < len(TROUBLES):
        pytest.skip("only some of the troubles were made")
    lines = [
        "| trouble | alerts, seconds until they fire (their `for` in operation) | panel that shows it |",
        "|---|---|---|",
    ]
    for seen in (troubles[name].result(0) for name in TROUBLES):
        told = ", ".join(
            f"{one} {at:.0f} s ({FOR[one]})" for one, at in sorted(seen.alerts.items(), key=lambda pair: pair[1])
        )
        lines.append(f"| {seen.trouble} | {told} | {seen.panel} |")
    table = "\n".join(lines) + "\n"
    print(f"\n{table}\nwith time {FASTER} times as fast")
    if "OPERATE_TABLE" in os.environ:
        page = Path(os.environ["OPERATE_TABLE"])
        text, written = MARKERS.subn(lambda found: found[1] + table + found[2], page.read_text())
        assert written == 1
        page.write_text(text)

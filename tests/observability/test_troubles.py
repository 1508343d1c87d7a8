"""Ten troubles: each is told by an alert, and a panel shows its cause. With OPERATE_TABLE set to a file, the table
between its markers is written anew.
"""

import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from app.db.sqlite_connection import PRAGMAS
from tests.fixtures.processes import stop
from tests.observability.panels import ASKED
from tests.observability.rules import ALWAYS, FASTER, hurried_expression, rules
from tests.observability.stack import KEY, Stack, whole_stack
from tests.observability.traffic import TEXT, begun, going_on, message

WITHIN_S = 60.0
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


SEEN: list[Seen] = []
Trouble = Callable[[Stack, ExitStack], None]


def vllm_killed(stack: Stack, _: ExitStack) -> None:
    """Kill the model server: nobody answers on its port, and its memory is free."""
    stop(stack.model, signal.SIGKILL)
    stack.vllm.down = True
    stack.gpu.says.update(DCGM_FI_DEV_FB_USED=900, DCGM_FI_DEV_FB_FREE=47_260)


def vllm_slow(stack: Stack, _: ExitStack) -> None:
    """Let every first token take six seconds."""
    stop(stack.model)
    stack.run_model(first_token_ms=6000)


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


TROUBLES: dict[str, tuple[Trouble, set[str], str]] = {
    "vLLM killed": (vllm_killed, {"VllmDown", "ModelServerAway", "VramDropped"}, "Is a model server away?"),
    "vLLM slow": (vllm_slow, {"FirstTokenBudgetFast"}, "Which layer makes clients wait for the first token?"),
    "queue flooded": (queue_flooded, {"QueueNearlyFull"}, "Do turns wait for a slot?"),
    "disk nearly full": (disk_nearly_full, {"DiskNearlyFull", "StorageFailing"}, "How much room has the state?"),
    "WAL growing": (wal_growing, {"WalLarge"}, "How large is the state?"),
    "backup stopped": (backup_stopped, {"TargetDown"}, "Does everything answer?"),
    "key misuse": (key_misused, {"AuthFailureBurst"}, "Are keys being tried?"),
    "clock jump": (clock_jumps, {"ClockJumped"}, "Did the clock jump?"),
    "client that never reads": (client_never_reads, {"ClientsNotReading"}, "Do clients not read?"),
    "database locked": (database_locked, {"DatabaseBusy", "StorageFailing"}, "Does somebody else hold the database?"),
}


@contextmanager
def prepared(trouble: Trouble, folder: Path) -> Iterator[Stack]:
    """Run a stack in surroundings in which a trouble can be made."""
    wrapper: list[str] = []
    env: dict[str, str] = {}
    if trouble is disk_nearly_full:
        (folder / "state").mkdir()
        wrapper = [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            DISK,
            str(folder / "state"),
            str(folder / "fill"),
        ]
    if trouble is clock_jumps:
        assert FAKETIME is not None, "libfaketime is missing: apt-get install libfaketime"
        (folder / "clock").write_text("+0")
        env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(folder / "clock")}
        env |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with whole_stack(folder, wrapper, env) as stack:
        yield stack


def shown(stack: Stack, panel: str) -> list[float]:
    """Return what a panel shows now."""
    expressions = [one.expression for one in ASKED if one.panel.rpartition(" ")[0].endswith(f": {panel}")]
    assert expressions, panel
    found = [series for one in expressions for series in stack.prometheus.query(hurried_expression(one))]
    return sorted(float(series["value"][1]) for series in found)


@pytest.mark.parametrize("name", TROUBLES)
def test_a_trouble_is_told_and_its_cause_is_shown(name: str, tmp_path: Path) -> None:
    make, alerts, panel = TROUBLES[name]
    with prepared(make, tmp_path) as stack, going_on(stack), ExitStack() as until_over:
        stack.prometheus.wait(lambda: len(stack.prometheus.query("sovereign_http_requests_total")) > 2, WITHIN_S)
        stack.prometheus.wait(lambda: stack.prometheus.firing() <= ALWAYS, WITHIN_S)
        before = shown(stack, panel)
        began = time.monotonic()
        make(stack, until_over)
        after_s: dict[str, float] = {}
        while not alerts <= after_s.keys():
            assert time.monotonic() - began < WITHIN_S, (after_s, stack.prometheus.firing())
            after_s |= {one: time.monotonic() - began for one in stack.prometheus.firing() & alerts - after_s.keys()}
            time.sleep(0.1)
        assert shown(stack, panel) != before
    SEEN.append(Seen(name, after_s, panel))


def test_all_of_them_make_a_table_for_the_operator() -> None:
    if len(SEEN) < len(TROUBLES):
        pytest.skip("only some of the troubles were made")
    lines = [
        "| trouble | alerts, seconds until they fire (their `for` in operation) | panel that shows it |",
        "|---|---|---|",
    ]
    for seen in SEEN:
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

"""`kill -9` at random instants, hundreds of times, under load: nothing acknowledged is lost, doubled or stuck."""

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from tests.faults.clients import Clients
from tests.faults.ledger import compare, copied, read
from tests.fixtures.processes import ROOT, START_TIMEOUT_S, stand_in
from tests.fixtures.servers import API_KEY, MODEL

SEED = int(os.environ.get("FAULTS_SEED", "20260101"))
LANES = 2
KILLS = int(os.environ.get("FAULTS_KILLS", "104"))  # of each lane
CLIENTS = 8  # of each lane
TOKEN_MS = 4
WHILE_STARTING = 0.25
STARTING_S = 1.3
SERVING_S = 1.5
SETTLE_EVERY = 13
SETTLED_WITHIN_S = 5.0


@dataclass
class Figures:
    """What one lane went through."""

    kills: int = 0
    while_starting: int = 0
    settled_s: list[float] = field(default_factory=list)
    requeued: int = 0
    faults: list[str] = field(default_factory=list)


class Lane:
    """A server that is killed and started again on one file, and its clients."""

    def __init__(self, number: int, folder: Path, model_url: str) -> None:
        self.figures = Figures()
        self._random = random.Random(SEED + number)
        self._database = folder / f"lane{number}" / "sovereign_assistant.db"
        self._scratch = folder / f"lane{number}-copy"
        self._port = port_below_the_ephemeral(self._random)
        self._env = {
            "API_KEY": API_KEY,
            "API_PORT": str(self._port),
            "DATABASE_URL": f"sqlite:///{self._database}",
            "MODEL_URL": model_url,
            "LOG_LEVEL": "ERROR",
        }
        self._database.parent.mkdir()
        self._log = (self._database.parent / "log").open("ab")
        self.log_path = Path(self._log.name)
        self.clients = Clients(f"lane{number}", f"http://127.0.0.1:{self._port}/v1", API_KEY, SEED + number)
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ops", "serve"],
            cwd=ROOT,
            env=inherited | self._env,
            stdout=self._log,
            stderr=self._log,
        )

    async def _ready(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        async with aiohttp.ClientSession() as http:
            while True:
                assert self._process is not None
                assert self._process.poll() is None, f"the server did not start: {self.log_path.read_text()[-2000:]}"
                with suppress(aiohttp.ClientError, OSError):
                    async with http.get(f"http://127.0.0.1:{self._port}/health/live") as answer:
                        if answer.status == 200:
                            return
                assert time.monotonic() < deadline, "the server does not answer"
                await asyncio.sleep(0.02)

    def _kill(self) -> None:
        self.clients.up.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def run(self) -> Figures:
        """Go through every kill; return what was found."""
        tasks: list[asyncio.Task[None]] = []
        try:
            self._start()
            await self._ready()
            await self.clients.open()
            tasks = [asyncio.create_task(self.clients.keep_on()) for _ in range(CLIENTS)]
            self.clients.up.set()
            for number in range(KILLS):
                await self._live_and_die(number)
            await self._end()
            broken = [task for task in tasks if task.done()]
            self.figures.faults += [f"a client broke: {task.exception()!r}" for task in broken]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.clients.close()
            self._kill()
            self._log.close()
        return self.figures

    async def _live_and_die(self, number: int) -> None:
        """Let the server live for a while, kill it, and compare its file with the ledger while the next one starts."""
        if number and self._random.random() < WHILE_STARTING:
            self.figures.while_starting += 1
            await asyncio.sleep(self._random.uniform(0, STARTING_S))
        else:
            await self._ready()
            if number % SETTLE_EVERY == SETTLE_EVERY - 1:
                await self._settle([*self.clients.pool])
            self.clients.up.set()
            await asyncio.sleep(self._random.uniform(0, SERVING_S))
        self._kill()
        self.figures.kills += 1
        copy = copied(self._database, self._scratch)
        known = self.clients.ledger.frozen()
        self._start()
        disk = await asyncio.to_thread(read, copy)
        self._found(f"after kill {number + 1}", compare(known, disk))

    async def _settle(self, threads: list[str]) -> None:
        began = time.monotonic()
        stuck = await self.clients.settle(threads, SETTLED_WITHIN_S)
        self.figures.settled_s.append(time.monotonic() - began)
        self._found("stuck", [stuck] if stuck else [])

    async def _end(self) -> None:
        """After the last start everything ends or waits for its client, without anybody's help."""
        await self._ready()
        await self._settle([*self.clients.ledger.threads])
        self._kill()
        disk = await asyncio.to_thread(read, copied(self._database, self._scratch))
        self.figures.requeued = disk.requeued
        self._found("at the end", compare(self.clients.ledger, disk))
        stuck = [run for run in disk.unended if run["status"] != "requires_action"]
        self._found("stuck", [f"{run['id']} is {run['status']}" for run in stuck])

    def _found(self, when: str, faults: list[str]) -> None:
        self.figures.faults += [f"{when}: {fault}" for fault in faults]
        assert len(self.figures.faults) < 20, "\n".join(self.figures.faults)


def port_below_the_ephemeral(source: random.Random) -> int:
    """Return a port that no outgoing connection can be given while the server is dead."""
    for _ in count():
        port = source.randint(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


async def go_through(folder: Path, model_url: str) -> list[Lane]:
    """Run every lane beside the others."""
    lanes = [Lane(number, folder, model_url) for number in range(LANES)]
    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(lane.run())
    return lanes


def test_no_kill_loses_doubles_or_holds_up_what_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with stand_in(tmp_path / "standin", "--model", MODEL, "--token-ms", str(TOKEN_MS)) as model_url:
        lanes = asyncio.run(go_through(tmp_path, model_url))
    figures = told(lanes, time.monotonic() - began)
    with capsys.disabled():
        print(f"\n{figures}")
    assert [fault for lane in lanes for fault in lane.figures.faults + lane.clients.strange] == []
    assert sum(lane.figures.kills for lane in lanes) == LANES * KILLS
    for lane in lanes:
        assert min(lane.clients.counts[act] for act in ("append", "poll", "stream", "tool rounds", "cancels")) > 0
        assert lane.figures.requeued > 0, "no run was ever taken up again: the kills missed"


def told(lanes: list[Lane], took_s: float) -> str:
    """Say what was done, for whoever reads the log."""
    books = [lane.clients.ledger for lane in lanes]
    counts = [lane.clients.counts for lane in lanes]
    settled = [seconds for lane in lanes for seconds in lane.figures.settled_s]
    lines = {
        "kills": sum(lane.figures.kills for lane in lanes),
        "of them while starting": sum(lane.figures.while_starting for lane in lanes),
        "threads acknowledged": sum(len(book.threads) for book in books),
        "of them deleted": sum(len(book.deleted) for book in books),
        "messages acknowledged": sum(len(book.messages) for book in books),
        "runs acknowledged": sum(len(book.inputs) for book in books),
        "ends told": sum(len(book.ended) for book in books),
        "answers told in full": sum(len(book.answers) for book in books),
        "tool outputs acknowledged": sum(len(book.outputs) for book in books),
        "cancels acknowledged": sum(count["cancels"] for count in counts),
        "requests cut off": sum(count["cut off"] for count in counts),
        "attempts taken up again": sum(lane.figures.requeued for lane in lanes),
        "slowest to settle (s)": round(max(settled), 2),
        "seed": SEED,
        "wall time (s)": round(took_s),
    }
    return "\n".join(f"{name:>28}: {value}" for name, value in lines.items())

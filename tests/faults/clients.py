"""Clients that write, run, stream, call tools, cancel and delete on one server, and note what they were told."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import Any

import aiohttp

from tests.conformance.sse import SseParser
from tests.faults.ledger import ENDED, Ledger

POLL_S = 0.03
PAUSE_S = 0.01
POOL = 10
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
Json = dict[str, Any]


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


class Clients:
    """The clients of one server. They stop while `up` is clear; whatever breaks under them they try anew."""

    def __init__(self, name: str, url: str, key: str, seed: int) -> None:
        self.ledger = Ledger()
        self.up = asyncio.Event()
        self.pool: list[str] = []
        self.counts: Counter[str] = Counter()
        self.strange: list[str] = []
        self._name = name
        self._url = url
        self._key = key
        self._random = random.Random(seed)
        self._numbers = count(1)
        self.assistant = ""

    async def open(self) -> None:
        """Make the assistant that all runs use."""
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"}, timeout=aiohttp.ClientTimeout(total=10)
        )
        self.assistant = (await self.post("/assistants", {"model": "sovereign-standin", "tools": [TOOL]}))["id"]

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def post(self, path: str, body: Json | None = None) -> Json:
        """POST; raise Refused unless it was taken."""
        async with self._http.post(self._url + path, json=body or {}) as answer:
            return await self._taken(answer)

    async def get(self, path: str) -> Json:
        """GET; raise Refused unless it is there."""
        async with self._http.get(self._url + path) as answer:
            return await self._taken(answer)

    async def _taken(self, answer: aiohttp.ClientResponse) -> Json:
        body: Json = await answer.json()
        if answer.status != 200:
            raise Refused(answer.status, body["error"]["message"])
        return body

    async def keep_on(self) -> None:
        """Be one client until cancelled."""
        acts = (self.append, self.poll, self.stream, self.poll_tools, self.stream_and_cancel, self.renew)
        while True:
            await self.up.wait()
            act = self._random.choices(acts, (8, 3, 3, 4, 2, 1))[0]
            try:
                await act()
                self.counts[act.__name__] += 1
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.counts["cut off"] += 1
            except Refused as refused:
                self._judge(refused)
            await asyncio.sleep(PAUSE_S)

    def _judge(self, refused: Refused) -> None:
        """A lock, a thread that another client deleted and a full queue are no faults."""
        expected = ("active run", "is active", "No thread found", "Cannot cancel", "do not accept tool outputs")
        if refused.status not in (400, 404, 429) or not any(part in refused.message for part in expected):
            self.strange.append(str(refused))

    def _text(self) -> str:
        text = f"{self._name} {next(self._numbers)}"
        self.ledger.tried.add(text)
        return text

    async def _thread(self) -> str:
        """Pick a thread of the pool, or add one."""
        if len(self.pool) >= POOL:
            return self._random.choice(self.pool)
        text = self._text()
        made = (await self.post("/threads", {"messages": [{"role": "user", "content": text}]}))["id"]
        self.ledger.threads[made] = text
        self.pool.append(made)
        return str(made)

    async def append(self) -> None:
        """Add a message."""
        thread, text = await self._thread(), self._text()
        made = await self.post(f"/threads/{thread}/messages", {"role": "user", "content": text})
        self.ledger.messages[made["id"]] = (thread, text)

    def _wish(self, **fields: Any) -> tuple[str, str, Json]:
        """Return an input, the answer that it will get, and the run that asks for it."""
        answer = f"{self._name} answers {next(self._numbers)}" + " word" * self._random.randint(0, 60)
        text = f"say exactly: {answer}"
        self.ledger.tried.add(text)
        message = {"role": "user", "content": text}
        run = {"assistant_id": self.assistant, "additional_messages": [message], "tool_choice": "none"}
        return text, answer, run | fields

    async def _run(self, thread: str, **fields: Any) -> Json:
        text, answer, body = self._wish(**fields)
        try:
            run = await self.post(f"/threads/{thread}/runs", body)
        except Refused as refused:
            if "already has an active run" in refused.message:
                await self._help(thread, refused.message.split()[-1].rstrip("."))
            raise
        self.ledger.inputs[run["id"]] = (thread, text, answer)
        return run

    async def _until_over(self, thread: str, run: str) -> None:
        while True:
            found = await self.get(f"/threads/{thread}/runs/{run}")
            if found["status"] in ENDED:
                self.ledger.ended[run] = found["status"]
                return
            if found["status"] == "requires_action":
                await self._submit(found)
            await asyncio.sleep(POLL_S)

    async def _submit(self, run: Json) -> None:
        thread = run["thread_id"]
        calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = [{"tool_call_id": call["id"], "output": f"found {next(self._numbers)}"} for call in calls]
        await self.post(f"/threads/{thread}/runs/{run['id']}/submit_tool_outputs", {"tool_outputs": outputs})
        for output in outputs:
            self.ledger.outputs[output["tool_call_id"]] = (run["id"], thread, output["output"])
        self.counts["tool rounds"] += 1

    async def _help(self, thread: str, run: str) -> None:
        """Give a run that waits, perhaps since before a crash, what it waits for."""
        found = await self.get(f"/threads/{thread}/runs/{run}")
        if found["status"] == "requires_action":
            await self._submit(found)

    async def poll(self) -> None:
        """Run and poll."""
        thread = await self._thread()
        run = await self._run(thread)
        await self._until_over(thread, run["id"])

    async def poll_tools(self) -> None:
        """Run with a tool call and poll."""
        thread = await self._thread()
        run = await self._run(thread, tool_choice="required")
        await self._until_over(thread, run["id"])

    async def stream(self) -> None:
        """Run and read the stream to its end."""
        await self._stream(await self._thread(), cancel_after=None)

    async def stream_and_cancel(self) -> None:
        """Cancel a run in the middle of its stream."""
        await self._stream(await self._thread(), cancel_after=self._random.randint(1, 30))

    async def _stream(self, thread: str, cancel_after: int | None) -> None:
        text, answer, body = self._wish(stream=True)
        parser, deltas, run = SseParser(), 0, ""
        async with self._http.post(f"{self._url}/threads/{thread}/runs", json=body) as response:
            if response.status != 200:
                await self._taken(response)
            async for data in response.content.iter_any():
                for event in parser.feed(data):
                    name = event.event or ""
                    told = {} if name in ("done", "error") else json.loads(event.data)
                    if name == "thread.run.created":
                        run = told["id"]
                        self.ledger.inputs[run] = (thread, text, answer)
                    deltas += name == "thread.message.delta"
                    self._note(thread, name, told)
                if cancel_after is not None and deltas >= cancel_after:
                    cancel_after = None
                    await self._cancel(thread, run)

    def _note(self, thread: str, name: str, told: Json) -> None:
        """Keep what a stream said for good."""
        if name == "thread.message.completed":
            self.ledger.answers[told["id"]] = (thread, told["content"][0]["text"]["value"])
        elif name.startswith("thread.run.") and "step" not in name and told["status"] in ENDED:
            self.ledger.ended[told["id"]] = told["status"]

    async def _cancel(self, thread: str, run: str) -> None:
        await self.post(f"/threads/{thread}/runs/{run}/cancel")
        self.ledger.cancelled[run] = "cancelled"
        self.counts["cancels"] += 1

    async def renew(self) -> None:
        """Take a thread out of use, now and then by deleting it, whatever goes on in it."""
        if len(self.pool) < POOL:
            return
        thread = self.pool.pop(self._random.randrange(len(self.pool)))
        if self._random.random() < 0.5:
            self.ledger.deleting.add(thread)
            async with self._http.delete(f"{self._url}/threads/{thread}") as answer:
                await self._taken(answer)
            self.ledger.deleted.add(thread)

    async def settle(self, threads: Iterable[str], within_s: float) -> str | None:
        """Wait until no run goes on in these threads; return one that does not end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        for thread in threads:
            while thread not in self.ledger.deleting:
                runs = (await self.get(f"/threads/{thread}/runs?limit=1"))["data"]
                if not runs or runs[0]["status"] in ENDED | {"requires_action"}:
                    break
                if loop.time() > deadline:
                    return f"{runs[0]['id']} is still {runs[0]['status']} after {within_s} s"
                await asyncio.sleep(POLL_S)
        return None

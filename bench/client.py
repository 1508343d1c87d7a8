"""The calls that scenarios make: straight to the model server, and through the API. Each returns its times."""

import time
from collections.abc import Sequence
from typing import Any

import aiohttp
from msgspec import Struct, json

from bench.rig import Rig

Body = dict[str, Any]

INSTRUCTIONS = "You are a trading assistant."
TOOL = {
    "type": "function",
    "function": {
        "name": "get_gold_price",
        "description": "The price of gold in a currency.",
        "parameters": {"type": "object", "properties": {"currency": {"type": "string"}}, "required": ["currency"]},
    },
}
OUTPUT = "2,031.40"
CALLED = {"id": "call_1", "type": "function", "function": {"name": "get_gold_price", "arguments": '{"currency":"EUR"}'}}
ANSWERED = (
    {"role": "assistant", "content": "", "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "call_1", "content": OUTPUT},
)

TEXT_DELTA, CALL_DELTA = b'"delta":{"content":"', b'"tool_calls":[{'
MESSAGE_DELTA, STEP_DELTA = b"event: thread.message.delta", b"event: thread.run.step.delta"
OUTPUT_DELTA, RESPONDED = b"event: response.output_text.delta", b"event: response.completed\n"
COMPLETED, REQUIRES_ACTION = b"event: thread.run.completed\n", b"event: thread.run.requires_action\n"


class Times(Struct, frozen=True):
    """Seconds from sending a request: to its first token, and to its end. `chunks` counts pieces of text or calls."""

    first_s: float
    whole_s: float
    chunks: int

    def then(self, later: "Times") -> "Times":
        """Return the times of two calls made one after the other, as of one."""
        return Times(self.first_s, self.whole_s + later.whole_s, self.chunks + later.chunks)


class Client:
    """One pool of connections to both servers."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {rig.key}"}, connector=aiohttp.TCPConnector(limit=0)
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """GET from the API."""
        return await self._call("GET", path)

    async def post(self, path: str, body: Body) -> Any:
        """POST to the API."""
        return await self._call("POST", path, json=body)

    async def delete(self, path: str) -> None:
        """DELETE from the API."""
        await self._call("DELETE", path)

    async def assistant(self, *tools: Body) -> str:
        """Make an assistant; return its id."""
        made = await self.post("/assistants", {"model": self._rig.served, "instructions": INSTRUCTIONS, "tools": tools})
        return str(made["id"])

    async def direct(self, text: str, history: Sequence[Body] = ()) -> Times:
        """Stream a chat completion from the model server."""
        times, _ = await self._ask(*history, {"role": "user", "content": text})
        return times

    async def relayed(self, text: str) -> Times:
        """Stream the same chat completion through the API."""
        system, question = {"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}
        body = {"model": self._rig.served, "stream": True, "messages": [system, question]}
        return await self.chat(self._rig.api, body)

    async def chat(self, url: str, body: Body) -> Times:
        """Stream a chat completion from one of the two servers."""
        times, _ = await self._stream(url + "/chat/completions", body, TEXT_DELTA, b"[DONE]")
        return times

    async def direct_with_tool(self, text: str) -> Times:
        """Stream the two completions of a tool call from the model server: the call, then the answer."""
        question = {"role": "user", "content": text}
        calling, _ = await self._ask(question, piece=CALL_DELTA, tools=[TOOL])
        answering, _ = await self._ask(question, *ANSWERED, tools=[TOOL])
        return calling.then(answering)

    async def response(self, text: str, *, store: bool = True) -> Times:
        """Stream a response."""
        body = {**self._response(text, store=store), "stream": True}
        times, _ = await self._stream(self._rig.api + "/responses", body, OUTPUT_DELTA, RESPONDED)
        return times

    async def plain_response(self, text: str, *, store: bool = True) -> Times:
        """Make a response and wait for the whole of it."""
        started = time.perf_counter()
        made = await self.post("/responses", self._response(text, store=store))
        assert made["status"] == "completed", made
        whole_s = time.perf_counter() - started
        return Times(whole_s, whole_s, 1)

    def _response(self, text: str, *, store: bool) -> Body:
        return {"model": self._rig.served, "instructions": INSTRUCTIONS, "input": text, "store": store}

    async def run(self, assistant: str, text: str) -> Times:
        """Create a thread with a message and stream a run over it, in one call."""
        times, _ = await self._run("/threads/runs", _thread_and_run(assistant, text))
        return times

    async def run_with_tool(self, assistant: str, text: str) -> Times:
        """Do the same with an assistant that calls a tool, and stream its answer to the output."""
        calling, told = await self._run("/threads/runs", _thread_and_run(assistant, text), STEP_DELTA, REQUIRES_ACTION)
        run = json.decode(told.split(REQUIRES_ACTION)[1].removeprefix(b"data: ").split(b"\n")[0])
        calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": OUTPUT} for call in calls], "stream": True}
        answering, _ = await self._run(f"/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs", outputs)
        return calling.then(answering)

    async def run_on(self, thread: str, assistant: str) -> Times:
        """Stream a run over a thread."""
        times, _ = await self._run(f"/threads/{thread}/runs", {"assistant_id": assistant, "stream": True})
        return times

    async def start_on(self, thread: str, assistant: str) -> float:
        """Create a run over a thread and wait for its end; return how many seconds the creation took."""
        started = time.perf_counter()
        run = await self.post(f"/threads/{thread}/runs", {"assistant_id": assistant})
        taken = time.perf_counter() - started
        async with self._session.get(f"{self._rig.api}/threads/{thread}/runs/{run['id']}/events") as answer:
            told = await answer.read()
        assert COMPLETED in told, told[-500:]
        return taken

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        async with self._session.request(method, self._rig.api + path, **options) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def _ask(self, *messages: Body, piece: bytes = TEXT_DELTA, **options: Any) -> tuple[Times, bytes]:
        system = {"role": "system", "content": INSTRUCTIONS}
        body = {"model": self._rig.served, "stream": True, "messages": [system, *messages], **options}
        return await self._stream(self._rig.model + "/chat/completions", body, piece, b"[DONE]")

    async def _run(
        self, path: str, body: Body, piece: bytes = MESSAGE_DELTA, end: bytes = COMPLETED
    ) -> tuple[Times, bytes]:
        return await self._stream(self._rig.api + path, body, piece, end)

    async def _stream(self, url: str, body: Body, piece: bytes, end: bytes) -> tuple[Times, bytes]:
        started = time.perf_counter()
        first, received = 0.0, []
        async with self._session.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            async for data in answer.content.iter_any():
                received.append(data)
                if not first and piece in b"".join(received[-2:]):
                    first = time.perf_counter()
        whole = b"".join(received)
        assert first, whole[-500:]
        assert end in whole, whole[-500:]
        return Times(first - started, time.perf_counter() - started, whole.count(piece)), whole


def _thread_and_run(assistant: str, text: str) -> Body:
    thread = {"messages": [{"role": "user", "content": text}]}
    return {"assistant_id": assistant, "stream": True, "thread": thread}

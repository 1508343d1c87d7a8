"""Reads event streams with the time at which each piece came, without an SDK in between."""

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2

from tests.conformance.sse import ServerEvent, SseParser
from tests.fixtures.servers import API_KEY, MODEL

TIMEOUT = httpx2.Timeout(30)


class Arrival(NamedTuple):
    """A piece of text, and when it came: seconds since the request, and which read of the socket brought it."""

    text: str
    at_s: float
    read: int


def client_of(url: str) -> httpx2.Client:
    """Return a client of one server; its connection is kept, so that no measurement opens one."""
    return httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=TIMEOUT)


def new_assistant(client: httpx2.Client) -> str:
    """Make an assistant; return its id."""
    return str(client.post("/assistants", json={"model": MODEL}).json()["id"])


def new_thread(client: httpx2.Client, text: str) -> str:
    """Make a thread with a user's message; return its id."""
    return str(client.post("/threads", json={"messages": [{"role": "user", "content": text}]}).json()["id"])


def timed(client: httpx2.Client, path: str, body: dict[str, Any]) -> Iterator[tuple[ServerEvent, float, int]]:
    """Post a request and yield each event as it arrives, with its time and its read."""
    parser, began = SseParser(), time.perf_counter()
    with client.stream("POST", path, json=body | {"stream": True}) as answer:
        assert answer.status_code == 200
        for read, data in enumerate(answer.iter_raw()):
            now = time.perf_counter() - began
            for event in parser.feed(data):
                yield event, now, read


def run_arrivals(client: httpx2.Client, assistant_id: str, thread_id: str) -> list[Arrival]:
    """Stream a run; return when each delta of its text arrived."""
    return [
        Arrival(delta_text(event), at_s, read)
        for event, at_s, read in timed(client, f"/threads/{thread_id}/runs", {"assistant_id": assistant_id})
        if event.event == "thread.message.delta"
    ]


def delta_text(event: ServerEvent) -> str:
    """Return the text that a message's delta adds."""
    return "".join(part["text"]["value"] for part in json.loads(event.data)["delta"]["content"])


def chat_arrivals(model: httpx2.Client, text: str) -> list[Arrival]:
    """Stream the same answer straight from the model server."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    arrivals = []
    for event, at_s, read in timed(model, "/chat/completions", body):
        choices = json.loads(event.data)["choices"] if event.data != b"[DONE]" else []
        content = choices[0]["delta"].get("content") if choices else None
        if content:
            arrivals.append(Arrival(content, at_s, read))
    return arrivals

"""A conversation from the first assistant to the last message, over both databases."""

import json
from typing import Any

import pytest

from tests.conformance.sse import parse

pytestmark = pytest.mark.anyio


async def start(api: Any, text: str) -> tuple[str, str]:
    assistant = (await api.post("/v1/assistants", json={"model": "sovereign-standin"})).json()
    body = {"messages": [{"role": "user", "content": text}]}
    thread = (await api.post("/v1/threads", json=body)).json()
    return assistant["id"], thread["id"]


async def test_a_streamed_run_tells_every_event_in_order(api_on_each: Any) -> None:
    api = api_on_each
    assistant, thread = await start(api, "say exactly: hello there, world")
    answer = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": True})
    assert answer.status_code == 200
    events = parse(answer.content)
    names = [event.event for event in events]
    deltas = names.count("thread.message.delta")
    assert names == [
        "thread.run.created",
        "thread.run.queued",
        "thread.run.in_progress",
        "thread.run.step.created",
        "thread.run.step.in_progress",
        "thread.message.created",
        "thread.message.in_progress",
        *["thread.message.delta"] * deltas,
        "thread.message.completed",
        "thread.run.step.completed",
        "thread.run.completed",
        "done",
    ]
    assert deltas > 1
    message = json.loads(events[names.index("thread.message.completed")].data)
    assert message["content"][0]["text"]["value"] == "hello there, world"
    stored = (await api.get(f"/v1/threads/{thread}/messages/{message['id']}")).json()
    assert stored == message

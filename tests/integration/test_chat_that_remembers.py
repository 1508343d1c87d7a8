"""`thread_id` and `store` beside a relayed chat: what the model is shown and what is kept, whatever ends the answer."""

import asyncio
import json
from typing import Any

import pytest

from tests.fakes import model_wire as wire
from tests.fakes.model_faults import cuts, replies, sends, stalls
from tests.fakes.model_wire import REFUSALS
from tests.fixtures.calls import assert_refused, get, new_thread, post
from tests.fixtures.rooms import Scripted

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
WHOLE = {
    "id": "chatcmpl-of-the-server",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello there", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}
ANSWER = replies(200, json.dumps(WHOLE).encode())
STREAMED = wire.answer("hello", " there")
LATER = {"role": "user", "content": "and silver?"}


async def ask(scripted: Scripted, thread: str, **more: Any) -> Any:
    body = {"model": "gpt-4o", "messages": [{"role": "system", "content": "Be brief."}, LATER], "thread_id": thread}
    return await scripted.client.post(CHAT, json={**body, **more})


def shown(scripted: Scripted) -> list[tuple[str, str]]:
    """Return what the model was shown last."""
    return [(message["role"], message["content"]) for message in scripted.asked[-1]["messages"]]


async def kept(scripted: Scripted, thread: str) -> list[tuple[str, str, str]]:
    """Return a thread's messages: role, status and text."""
    listed = (await get(scripted.client, f"/v1/threads/{thread}/messages", order="asc"))["data"]
    return [(one["role"], one["status"], one["content"][0]["text"]["value"]) for one in listed]


async def free(scripted: Scripted, thread: str) -> None:
    """Wait until a thread takes messages again, then ask nothing of it."""
    async with asyncio.timeout(5):
        while (await scripted.client.post(f"/v1/threads/{thread}/messages", json=LATER)).status_code != 200:
            await asyncio.sleep(0.01)


ASKED = [("user", "completed", "gold?"), ("user", "completed", "and silver?")]
ANSWERED = [*ASKED, ("assistant", "completed", "hello there")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thread_goes_before_what_is_said_and_keeps_it_with_the_answer(scripted: Scripted, stream: bool) -> None:
    thread = await new_thread(scripted.client, "gold?")
    scripted.model.script.append(sends(STREAMED) if stream else ANSWER)
    answer = await ask(scripted, thread, stream=stream)
    assert answer.status_code == 200, answer.text
    assert shown(scripted) == [("system", "Be brief."), ("user", "gold?"), ("user", "and silver?")]
    assert await kept(scripted, thread) == ANSWERED
    assert "thread_id" not in scripted.asked[-1]


async def test_an_answer_is_kept_before_the_client_is_told_that_it_is_whole(scripted: Scripted) -> None:
    thread = await new_thread(scripted.client, "gold?")
    scripted.model.script.append(sends(STREAMED[:-14], STREAMED[-14:]))
    answer = await ask(scripted, thread, stream=True)
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert await kept(scripted, thread) == ANSWERED


async def test_what_the_model_server_refuses_leaves_the_thread_as_it_was(scripted: Scripted) -> None:
    thread = await new_thread(scripted.client, "gold?")
    scripted.model.script.append(replies(*REFUSALS["queue full"]))
    assert (await ask(scripted, thread)).status_code == 503
    assert await kept(scripted, thread) == ASKED[:1]
    scripted.model.script.append(ANSWER)
    assert (await ask(scripted, thread)).status_code == 200
    assert await kept(scripted, thread) == ANSWERED


async def test_half_an_answer_is_kept_as_such(scripted: Scripted) -> None:
    thread = await new_thread(scripted.client, "gold?")
    scripted.model.script.append(cuts(wire.role(), wire.text("half")))
    answer = await ask(scripted, thread, stream=True)
    assert b'"error"' in answer.content
    assert await kept(scripted, thread) == [*ASKED, ("assistant", "incomplete", "half")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_leaves_a_thread_that_is_free(scripted: Scripted, stream: bool) -> None:
    thread = await new_thread(scripted.client, "gold?")
    scripted.model.script.append(stalls(wire.role(), wire.text("half")) if stream else stalls(head=False))
    asking = asyncio.create_task(ask(scripted, thread, stream=stream))
    await (await scripted.chat()).answered.wait()
    await asyncio.sleep(0.05)
    asking.cancel()
    await free(scripted, thread)
    said = await kept(scripted, thread)
    assert said[:2] == ASKED
    assert ("assistant", "incomplete", "half") in said or not stream


async def test_a_thread_that_a_chat_holds_takes_no_other_and_no_run(scripted: Scripted) -> None:
    api, thread = scripted.client, await new_thread(scripted.client, "gold?")
    scripted.model.script.append(stalls(wire.role()))
    asking = asyncio.create_task(ask(scripted, thread, stream=True))
    await (await scripted.chat()).answered.wait()
    refused = await ask(scripted, thread)
    assert refused.status_code == 400
    assert "already has an active run chatcmpl-" in refused.json()["error"]["message"]
    assistant = (await post(api, "/v1/assistants", {"model": "tiny"}))["id"]
    run = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant})
    assert run.status_code == 400
    asking.cancel()
    await free(scripted, thread)


async def test_an_unknown_thread_is_404_and_a_wrong_id_400(scripted: Scripted) -> None:
    unknown = "thread_000000000000000000000000"
    assert_refused(await ask(scripted, unknown), f"No thread found with id '{unknown}'.", status=404)
    assert (await ask(scripted, "conv_1")).status_code == 400
    assert scripted.asked == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_that_is_to_be_stored_can_be_listed_and_retrieved(scripted: Scripted, stream: bool) -> None:
    api = scripted.client
    scripted.model.script.append(sends(STREAMED) if stream else ANSWER)
    body = {"model": "gpt-4o", "messages": [LATER], "store": True, "metadata": {"desk": f"gold {stream}"}}
    answer = await api.post(CHAT, json={**body, "stream": stream})
    assert answer.status_code == 200, answer.text
    told = {"store", "metadata"} & scripted.asked[-1].keys()
    assert told == set()
    listed = (await get(api, CHAT, **{"metadata[desk]": f"gold {stream}"}))["data"]
    [stored] = listed
    assert stored["choices"][0]["message"]["content"] == "hello there"
    assert (await get(api, f"{CHAT}/{stored['id']}"))["metadata"] == {"desk": f"gold {stream}"}
    [message] = (await get(api, f"{CHAT}/{stored['id']}/messages"))["data"]
    assert message["content"] == "and silver?"


async def test_the_id_of_what_is_kept_is_asked_of_the_model_server(scripted: Scripted) -> None:
    scripted.model.script.append(ANSWER)
    await scripted.client.post(CHAT, json={"model": "gpt-4o", "messages": [LATER], "store": True})
    [request] = [one for one in scripted.model.requests if one.method == "POST"]
    assert len(request.headers["x-request-id"]) == 24


def told_ids(answer: Any) -> set[str]:
    """Return the ids that a client is told, in one piece or chunk by chunk."""
    if answer.headers["content-type"] == "application/json":
        return {answer.json()["id"]}
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    assert len(events) > 2
    return {json.loads(event)["id"] for event in events}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("theirs", ["chatcmpl-812", "gen-1"])
async def test_a_server_with_ids_of_its_own_leaves_the_client_one_that_works(
    scripted: Scripted, theirs: str, stream: bool
) -> None:
    whole = replies(200, json.dumps({**WHOLE, "id": theirs}).encode())
    scripted.model.script.append(sends(STREAMED.replace(b"chatcmpl-a1", theirs.encode())) if stream else whole)
    body = {"model": "gpt-4o", "messages": [LATER], "store": True, "stream": stream}
    [told] = told_ids(await scripted.client.post(CHAT, json=body))
    assert told != theirs
    stored = await get(scripted.client, f"{CHAT}/{told}")
    assert (stored["id"], stored["choices"][0]["message"]["content"]) == (told, "hello there")


async def test_an_answer_that_nobody_keeps_has_the_servers_own_id(scripted: Scripted) -> None:
    scripted.model.script.append(sends(STREAMED))
    body = {"model": "gpt-4o", "messages": [LATER], "stream": True}
    assert told_ids(await scripted.client.post(CHAT, json=body)) == {"chatcmpl-a1"}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}},
        {"type": "image_url", "image_url": "https://pictures.test/a.png"},
        {"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}},
        {"type": "video_url", "video_url": {}},
    ],
)
async def test_an_address_that_the_model_server_would_fetch_is_refused(
    scripted: Scripted, part: dict[str, Any]
) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]}
    for text in (json.dumps(body), json.dumps(body).replace("_url", "\\u005furl")):
        answer = await scripted.client.post(CHAT, content=text, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_image_url")
    assert scripted.asked == []


async def test_a_picture_in_its_own_address_goes_on(scripted: Scripted) -> None:
    scripted.model.script.append(ANSWER)
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": [part]}]}
    assert (await scripted.client.post(CHAT, json=body)).status_code == 200
    assert scripted.asked[-1]["messages"] == body["messages"]

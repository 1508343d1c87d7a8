"""store: false, input_tokens and compact: what comes of a turn of which nothing is written."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Table, func, select, true

from app.audit.actions import DONE
from app.db.tables import Base
from tests.fakes.model_faults import replies, stalls
from tests.fakes.model_tools import argued, calls, named
from tests.fakes.model_wire import REFUSALS, role, text
from tests.fixtures.calls import assert_refused, completed_run, get, new_assistant, new_thread, post
from tests.fixtures.responses import NEVER, PATH, PRICE, items_of, new_conversation, respond, shown, text_of, told
from tests.fixtures.rooms import Scripted, Served, served

pytestmark = pytest.mark.anyio

SUMMARY = "hello there\n\nWhat the user said, word for word:\n\none\n\ntwo"


def _done(rows: Table) -> ColumnElement[bool]:
    return rows.c.outcome == DONE if rows.name == "audit" else true()


async def rows_of(served: Served) -> dict[str, int]:
    """Count what is stored, by table, but for who was counted, and for what others were denied a moment ago."""
    tables = [rows for name, rows in Base.metadata.tables.items() if name not in ("usage", "api_keys", "servers")]

    def count(tx: Any) -> dict[str, int]:
        counted = ((rows.name, tx.first(select(func.count()).select_from(rows).where(_done(rows)))) for rows in tables)
        return {name: row[0] for name, row in counted}

    return await served.database.read(count)


async def test_nothing_is_written_of_what_is_not_stored(served_rooms: Served) -> None:
    api = served_rooms.client
    conversation = await new_conversation(api)
    first = await respond(api, "say exactly: one", conversation=conversation)
    before = await rows_of(served_rooms)
    for context in ({}, {"conversation": conversation}, {"previous_response_id": first["id"]}):
        for stream in (False, True):
            body = {"input": "say exactly: two", "store": False, "stream": stream, **context}
            answer = await api.post(PATH, json=body)
            response = told(answer)[-1][1]["response"] if stream else answer.json()
            assert (response["status"], text_of(response), response["store"]) == ("completed", "two", False)
            assert (await api.get(f"{PATH}/{response['id']}")).status_code == 404
    await post(api, f"{PATH}/input_tokens", {"input": "x", "previous_response_id": first["id"]})
    await post(api, f"{PATH}/compact", {"model": "sovereign-standin", "previous_response_id": first["id"]})
    assert await rows_of(served_rooms) == before


async def test_the_files_hold_no_word_of_it(conformance: Any, stand_in_url: str, tmp_path: Path) -> None:
    words = ("unspoken-question", "unspoken-instruction", "unspoken-answer")
    asked = {"input": f"say exactly: {words[2]} {words[0]}", "instructions": words[1]}
    async with served(conformance, DATABASE_URL=f"sqlite:///{tmp_path}/a.db", MODEL_URL=stand_in_url) as api:
        for stream in (False, True):
            await api.client.post(PATH, json={**asked, "store": False, "stream": stream})
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert not [word for word in words if word.encode() in kept]
        await respond(api.client, **{"said": asked.pop("input")}, **asked)
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert [word for word in words if word.encode() in kept] == [*words]


async def test_the_model_is_shown_the_same_whether_it_is_kept_or_not(scripted: Scripted) -> None:
    api = scripted.client
    conversation = await new_conversation(api)
    scripted.model.script.append(calls(named(0, "get_price"), argued(0, "{}")))
    first = await respond(api, "Price?", conversation=conversation, tools=[PRICE], instructions="Be brief.")
    said = [
        {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "7"},
        {"role": "developer", "content": "In pounds."},
        {"role": "user", "content": "And now?"},
    ]
    for context in ({"previous_response_id": first["id"]}, {"conversation": conversation}):
        asked = [await respond(api, said, store=store, tools=[PRICE], **context) for store in (False, True)]
        assert [response["status"] for response in asked] == ["completed"] * 2
        assert scripted.asked[-2] == scripted.asked[-1]
    assert len(await items_of(api, conversation)) == 6


async def test_what_is_not_stored_sees_nothing_that_came_after_its_predecessor(scripted: Scripted) -> None:
    api = scripted.client
    conversation = await new_conversation(api)
    for context in ({}, {"conversation": conversation}):
        first = await respond(api, "one", **context)
        await respond(api, "two", **(context or {"previous_response_id": first["id"]}))
        await respond(api, "x", previous_response_id=first["id"], store=False)
        assert shown(scripted.asked[-1]) == [("user", "one"), ("assistant", "hello there"), ("user", "x")]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_stored_ends_with_its_client(scripted: Scripted, stream: bool) -> None:
    scripted.model.script.append(stalls(role(), text("Well")))
    body = {"input": "x", "store": False, "stream": stream}
    asking = asyncio.create_task(scripted.client.post(PATH, json=body))
    exchange = await scripted.chat()
    await exchange.answered.wait()
    asking.cancel()
    await exchange.client_left()


async def test_input_tokens_are_counted_as_the_model_is_asked(rooms: Any) -> None:
    bare = await post(rooms, f"{PATH}/input_tokens", {"input": "one two three"})
    response = await respond(rooms, "one two three")
    assert bare == {"object": "response.input_tokens", "input_tokens": response["usage"]["input_tokens"]}
    asked = {"instructions": "Be brief.", "tools": [PRICE], "previous_response_id": response["id"]}
    more = await post(rooms, f"{PATH}/input_tokens", {"input": "four", **asked})
    assert more["input_tokens"] == (await respond(rooms, "four", **asked))["usage"]["input_tokens"]


async def test_input_tokens_are_estimated_where_nobody_can_count(scripted: Scripted) -> None:
    scripted.model.script.append(replies(404, b'{"detail":"Not Found"}'))
    few = await post(scripted.client, f"{PATH}/input_tokens", {"input": "one two three"})
    assert 4 <= few["input_tokens"] <= 16
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    said = [{"role": "user", "content": [{"type": "input_text", "text": "one two three"}, picture]}]
    assert await post(scripted.client, f"{PATH}/input_tokens", {"input": said}) == few


async def test_a_context_is_made_shorter_and_gone_on_from(scripted: Scripted) -> None:
    api = scripted.client
    first = await respond(api, "one", instructions="Be brief.")
    made = await post(api, f"{PATH}/compact", {"model": "tiny", "input": "two", "previous_response_id": first["id"]})
    assert (made["object"], made["usage"]["output_tokens"]) == ("response.compaction", 2)
    [compaction] = made["output"]
    carried = json.loads(base64.b64decode(compaction["encrypted_content"]))
    assert (compaction["type"], carried) == ("compaction", {"v": 1, "summary": SUMMARY})
    assert [role for role, _ in shown(scripted.asked[-1])] == ["system", "user", "assistant", "user", "user"]
    await respond(api, [*made["output"], {"role": "user", "content": "three"}])
    assert shown(scripted.asked[-1]) == [
        ("system", f"Summary of the conversation so far:\n{SUMMARY}"),
        ("user", "three"),
    ]


async def test_a_compaction_of_others_is_refused(rooms: Any) -> None:
    for content in ("gAAAAAB", "e30=", "????"):
        answer = await rooms.post(PATH, json={"input": [{"type": "compaction", "encrypted_content": content}]})
        text = "Invalid 'input[0].encrypted_content': it was not made by this server's /v1/responses/compact."
        assert_refused(answer, text, param="input[0].encrypted_content", code="invalid_value")


async def test_a_summary_that_fails_is_an_error(scripted: Scripted) -> None:
    scripted.model.script.append(replies(*REFUSALS["bad schema"]))
    answer = await scripted.client.post(f"{PATH}/compact", json={"model": "tiny", "input": "x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
    answer = await scripted.client.post(f"{PATH}/compact", json={"previous_response_id": NEVER})
    assert answer.json()["error"]["code"] == "previous_response_not_found"


@pytest.mark.parametrize("path", ["input_tokens", "compact"])
async def test_what_is_asked_at_once_needs_a_model_that_is_served(rooms: Any, path: str) -> None:
    answer = await rooms.post(f"{PATH}/{path}", json={"input": "x", "model": "nobodys"})
    text = "The model `nobodys` does not exist or you do not have access to it."
    assert_refused(answer, text, status=404, code="model_not_found")


async def test_a_run_and_what_is_not_stored_share_a_conversation(rooms: Any) -> None:
    thread, assistant = await new_thread(rooms, "say exactly: one"), await new_assistant(rooms)
    await completed_run(rooms, thread, assistant)
    response = await respond(
        rooms, "say exactly: two", conversation=f"conv{thread.removeprefix('thread')}", store=False
    )
    assert text_of(response) == "two"
    assert len((await get(rooms, f"/v1/threads/{thread}/messages"))["data"]) == 2

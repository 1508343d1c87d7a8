"""Stored chat completions on both databases: in lists and alone, with pages of their messages, until deleted."""

import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from app.kit.ids import new_completion_id
from tests.conformance.checker import Checker
from tests.fakes.callers import CALLER
from tests.fixtures.calls import Json, assert_refused, get, post
from tests.fixtures.rooms import Served, served
from tests.fixtures.servers import API_KEY, MODEL
from tests.fixtures.stored import ANSWER, ASKED, AT, TOKEN, WHERE, keep, several

pytestmark = pytest.mark.anyio

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_price", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "get_price", "parameters": {"type": "object"}}}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SAYS_WHAT = {"type": "text", "text": "What is this?"}
SHOWN: Json = {
    "object": "chat.completion",
    "model": "any",
    "choices": [
        {
            "index": 0,
            "message": {
                **{"role": "assistant", "content": "Gold rose.", "refusal": None, "audio": None, "reasoning": "Think."},
            },
            "logprobs": {"content": [TOKEN], "refusal": None},
            "finish_reason": "stop",
            "stop_reason": None,
        }
    ],
    "service_tier": None,
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    "prompt_logprobs": None,
    "kv_transfer_params": {"remote": 1},
}
NOT_ASKED = dict.fromkeys(
    (
        *("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed"),
        *("tools", "tool_choice", "response_format", "input_user"),
    )
)


async def ids(on: Served, path: str = WHERE, **query: Any) -> list[str]:
    return [item["id"] for item in (await get(on.client, path, **query))["data"]]


async def test_a_completion_is_shown_as_it_was_answered(served_rooms: Served) -> None:
    made = await keep(served_rooms)
    shown = await get(served_rooms.client, f"{WHERE}/{made}")
    assert shown == {**SHOWN, **NOT_ASKED, "id": made, "created": AT, "metadata": {}, "request_id": CALLER.request_id}


async def test_with_what_the_request_asked_for(served_rooms: Served) -> None:
    asked = {
        "temperature": 0.5,
        "seed": 7,
        "tools": TOOLS,
        "tool_choice": "auto",
        "user": "ada",
        "metadata": {"a": "b"},
    }
    made = await keep(served_rooms, asked={**asked, "store": True, "stream": True, "max_tokens": 5})
    shown = await get(served_rooms.client, f"{WHERE}/{made}")
    assert {name: shown[name] for name in NOT_ASKED} == {
        **NOT_ASKED,
        **{"temperature": 0.5, "seed": 7, "tools": TOOLS, "tool_choice": "auto", "input_user": "ada"},
    }
    assert shown["metadata"] == {"a": "b"}
    assert not {"user", "messages", "store", "stream", "max_tokens"} & shown.keys()


async def test_an_answer_that_tells_neither_model_nor_time_is_kept_all_the_same(served_rooms: Served) -> None:
    answer = {name: value for name, value in ANSWER.items() if name not in ("model", "created")}
    made = new_completion_id()
    await served_rooms.parts.stored.keep(CALLER, ASKED, {**answer, "id": made})
    shown = await get(served_rooms.client, f"{WHERE}/{made}")
    assert shown["model"] == ASKED["model"]
    assert abs(shown["created"] - time.time()) < 60


async def test_calls_of_tools_and_several_choices_are_kept(served_rooms: Served) -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choices = [{"index": n, "message": calling, "finish_reason": "tool_calls"} for n in range(2)]
    made = await keep(served_rooms, choices=choices)
    shown = await get(served_rooms.client, f"{WHERE}/{made}")
    assert shown["choices"] == [
        {**choice, "message": {**calling, "refusal": None}, "logprobs": None} for choice in choices
    ]


async def test_lists_begin_with_the_oldest(served_rooms: Served) -> None:
    model, kept = await several(served_rooms, *[{}] * 5)
    page = await get(served_rooms.client, WHERE, model=model)
    assert [item["id"] for item in page["data"]] == kept
    assert (page["first_id"], page["last_id"], page["has_more"]) == (kept[0], kept[-1], False)
    assert page["data"] == [await get(served_rooms.client, f"{WHERE}/{one}") for one in kept]
    assert await ids(served_rooms, model=model, order="desc") == kept[::-1]


async def test_lists_are_walked_with_after(served_rooms: Served) -> None:
    model, kept = await several(served_rooms, *[{}] * 5)
    for order, expected in (("asc", kept), ("desc", kept[::-1])):
        walked: list[str] = []
        after: Json = {}
        while True:
            page = await get(served_rooms.client, WHERE, model=model, order=order, limit=2, **after)
            walked += [item["id"] for item in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert walked == expected


async def test_metadata_and_model_choose_among_them(served_rooms: Served) -> None:
    both, one, none = {"desk": "metals", "who": "ada"}, {"desk": "metals"}, {"desk": "energy"}
    model, kept = await several(served_rooms, both, one, none)
    assert await ids(served_rooms, model=model, **{"metadata[desk]": "metals"}) == kept[:2]
    assert await ids(served_rooms, model=model, **{"metadata[desk]": "metals", "metadata[who]": "ada"}) == kept[:1]
    assert await ids(served_rooms, model=model, **{"metadata[desk]": "metal"}) == []
    everything = await ids(served_rooms, limit=100)
    assert set(kept) <= set(everything)


async def test_an_empty_list_has_no_cursors(served_rooms: Served) -> None:
    page = await get(served_rooms.client, WHERE, model="nobody's")
    assert page == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


@pytest.mark.parametrize(
    ("query", "text", "param", "code"),
    [
        (
            {"limit": "101"},
            "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead.",
            "limit",
            "integer_above_max_value",
        ),
        ({"order": "up"}, "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.", "order", "invalid_value"),
        (
            {"after": "chatcmpl-x"},
            "Invalid 'after': no object with id 'chatcmpl-x' found in this list.",
            "after",
            "invalid_value",
        ),
    ],
)
async def test_a_wrong_query_is_refused_in_both_lists(
    served_rooms: Served, query: dict[str, str], text: str, param: str, code: str
) -> None:
    made = await keep(served_rooms)
    for path in (WHERE, f"{WHERE}/{made}/messages"):
        answer = await served_rooms.client.get(path, params=query)
        assert_refused(answer, text, param=param, code=code)


async def test_a_model_that_no_database_could_hold_is_refused(served_rooms: Served) -> None:
    answer = await served_rooms.client.get(WHERE, params={"model": "a\0b"})
    pattern = "string does not match pattern. Expected a string that matches the pattern '^[^\\x00]*$'."
    assert_refused(answer, f"Invalid 'model': {pattern}", param="model", code="invalid_value")


async def test_a_cursor_is_one_of_the_list_that_was_asked_for(served_rooms: Served) -> None:
    model, (one, *_) = await several(served_rooms, {})
    answer = await served_rooms.client.get(WHERE, params={"after": one, "model": f"not {model}"})
    assert_refused(
        answer, f"Invalid 'after': no object with id '{one}' found in this list.", param="after", code="invalid_value"
    )


async def test_messages_are_listed_with_ids_in_their_order(served_rooms: Served) -> None:
    sent = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [SAYS_WHAT, PICTURE], "name": "ada"},
        {"role": "assistant", "tool_calls": [CALL], "function_call": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "12"},
    ]
    made = await keep(served_rooms, asked={"messages": sent})
    page = await get(served_rooms.client, f"{WHERE}/{made}/messages")
    bare = {"name": None, "refusal": None, "content_parts": None}
    assert page["data"] == [
        {**bare, **sent[0], "id": f"{made}-0"},
        {**bare, **sent[1], "id": f"{made}-1", "content": None, "content_parts": [SAYS_WHAT, PICTURE]},
        {**bare, "role": "assistant", "tool_calls": [CALL], "id": f"{made}-2", "content": None},
        {**bare, **sent[3], "id": f"{made}-3"},
    ]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (f"{made}-0", f"{made}-3", False)


async def test_messages_come_in_pages(served_rooms: Served) -> None:
    sent = [{"role": "user", "content": str(number)} for number in range(12)]
    made = await keep(served_rooms, asked={"messages": sent})
    where = f"{WHERE}/{made}/messages"
    all_of_them = [f"{made}-{number}" for number in range(12)]
    assert await ids(served_rooms, where) == all_of_them
    assert await ids(served_rooms, where, order="desc") == all_of_them[::-1]
    page = await get(served_rooms.client, where, after=f"{made}-1", limit=10)
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (all_of_them[2:], False)
    page = await get(served_rooms.client, where, after=f"{made}-1", limit=9)
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (all_of_them[2:11], True)
    assert await ids(served_rooms, where, order="desc", after=f"{made}-2") == all_of_them[1::-1]
    assert await ids(served_rooms, where, after=f"{made}-11") == []
    answer = await served_rooms.client.get(where, params={"after": f"{made}-12"})
    assert answer.status_code == 400


async def test_metadata_is_all_that_changes(served_rooms: Served) -> None:
    made = await keep(served_rooms, asked={"metadata": {"a": "b"}})
    where = f"{WHERE}/{made}"
    before = await get(served_rooms.client, where)
    for sent, expected in (({"c": "d"}, {"c": "d"}), ({}, {}), ({"e": ""}, {"e": ""}), (None, {})):
        assert await post(served_rooms.client, where, {"metadata": sent}) == {**before, "metadata": expected}
        assert await get(served_rooms.client, where) == {**before, "metadata": expected}
    answer = await served_rooms.client.post(where, json={})
    missing = "Missing required parameter: 'metadata'."
    assert_refused(answer, missing, param="metadata", code="missing_required_parameter")
    answer = await served_rooms.client.post(where, json={"metadata": {}, "model": "another"})
    assert_refused(answer, "Unknown parameter: 'model'.", param="model", code="unknown_parameter")
    answer = await served_rooms.client.post(where, json={"metadata": {"k": "x" * 513}})
    assert answer.json()["error"]["param"] == "metadata.k"


async def test_a_changed_completion_is_found_by_what_it_has_now(served_rooms: Served) -> None:
    model, (made,) = await several(served_rooms, {"phase": "before"})
    await post(served_rooms.client, f"{WHERE}/{made}", {"metadata": {"phase": "after"}})
    assert await ids(served_rooms, model=model, **{"metadata[phase]": "before"}) == []
    assert await ids(served_rooms, model=model, **{"metadata[phase]": "after"}) == [made]


async def assert_gone(api: Any, completion: str) -> None:
    """Demand that a completion be unknown to every operation."""
    unknown = f"No chat completion found with id '{completion}'."
    for answer in (
        await api.get(f"{WHERE}/{completion}"),
        await api.get(f"{WHERE}/{completion}/messages"),
        await api.post(f"{WHERE}/{completion}", json={"metadata": {"a": "b"}}),
        await api.delete(f"{WHERE}/{completion}"),
    ):
        assert_refused(answer, unknown, status=404)


async def test_deleting_says_so_once(served_rooms: Served) -> None:
    model, (gone, stays) = await several(served_rooms, {}, {})
    answer = await served_rooms.client.delete(f"{WHERE}/{gone}")
    assert answer.json() == {"id": gone, "object": "chat.completion.deleted", "deleted": True}
    await assert_gone(served_rooms.client, gone)
    assert await ids(served_rooms, model=model) == [stays]


async def test_another_projects_completions_are_unknown(served_rooms: Served) -> None:
    other = replace(CALLER, project_id="proj_other")
    model, (mine,) = await several(served_rooms, {"of": "me"})
    theirs = await keep(served_rooms, caller=other, model=model, asked={"metadata": {"of": "them"}})
    await assert_gone(served_rooms.client, theirs)
    assert await ids(served_rooms, model=model) == [mine]
    assert theirs not in await ids(served_rooms, limit=100, order="desc")
    answer = await served_rooms.client.get(WHERE, params={"after": theirs})
    text = f"Invalid 'after': no object with id '{theirs}' found in this list."
    assert_refused(answer, text, param="after", code="invalid_value")
    kept = await served_rooms.parts.stored.retrieve(other, theirs)
    assert kept["metadata"] == {"of": "them"}


async def test_the_scope_is_that_of_chats(served_rooms: Served) -> None:
    made = await keep(served_rooms)
    for scope, reads, changes in (("chat", 200, 200), ("assistants", 403, 403), ("read", 200, 403)):
        key = await post(served_rooms.client, "/admin/keys", {"name": scope, "scopes": [scope]})
        headers = {"Authorization": f"Bearer {key['key']}"}
        for path in (WHERE, f"{WHERE}/{made}", f"{WHERE}/{made}/messages"):
            assert (await served_rooms.client.get(path, headers=headers)).status_code == reads
        sent = {"metadata": {}}
        assert (await served_rooms.client.post(f"{WHERE}/{made}", json=sent, headers=headers)).status_code == changes
    assert (await served_rooms.client.delete(f"{WHERE}/{made}", headers=headers)).status_code == 403


async def test_they_are_as_the_servers_document_says(served_rooms: Served) -> None:
    made = await keep(served_rooms, asked={"tools": TOOLS, "temperature": 1, "seed": 3, "user": "ada"})
    document = await get(served_rooms.client, "/openapi.json")
    for path in ("", "/{completion_id}", "/{completion_id}/messages"):
        described = document["paths"][WHERE + path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        whole = {**described, "components": document["components"]}
        answer = await get(served_rooms.client, WHERE + path.format(completion_id=made))
        assert [fault.message for fault in Draft202012Validator(whole).iter_errors(answer)] == []
        without_id = {**answer, "data": [{}]} if "data" in answer else {}
        assert list(Draft202012Validator(whole).iter_errors(without_id))


@pytest.fixture(scope="module")
async def aliased(
    conformance: Checker, stand_in_url: str, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Served]:
    """An API that calls its model gpt-4o, too."""
    database = f"sqlite:///{tmp_path_factory.mktemp('aliased')}/sovereign_assistant.db"
    env = {"DATABASE_URL": database, "MODEL_URL": stand_in_url, "MODEL_ALIASES": f"gpt-4o={MODEL}"}
    async with served(conformance, **env) as on:
        yield on


async def test_a_completion_is_found_under_every_name_of_its_model(aliased: Served) -> None:
    kept = [await keep(aliased, model=name) for name in (MODEL, "gpt-4o")]
    await keep(aliased, model="another")
    for name in (MODEL, "gpt-4o"):
        assert await ids(aliased, model=name) == kept
    assert [item["model"] for item in (await get(aliased.client, WHERE, model="gpt-4o"))["data"]] == [MODEL, "gpt-4o"]


def sdk(on: Served, *, strict: bool) -> Any:
    """Return the official SDK's client; a strict one takes no answer that its types do not."""
    return openai.AsyncOpenAI(
        base_url="http://api/v1",
        api_key=API_KEY,
        max_retries=0,
        http_client=on.client,
        _strict_response_validation=strict,
    )


async def test_the_official_sdk_uses_them(served_rooms: Served) -> None:
    room = sdk(served_rooms, strict=True).chat.completions
    model, kept = await several(served_rooms, *[{"of": "the SDK"}] * 5)
    assert [item.id async for item in room.list(model=model, metadata={"of": "the SDK"}, limit=2)] == kept
    assert [item.id async for item in room.list(model=model, order="desc", after=kept[2])] == kept[1::-1]
    found = await room.retrieve(kept[0])
    assert (found.id, found.choices[0].message.content, found.usage.total_tokens) == (kept[0], "Gold rose.", 12)
    assert (await room.update(kept[0], metadata={"a": "b"})).metadata == {"a": "b"}
    # Its types, made from the document, have every message be the assistant's.
    lenient = sdk(served_rooms, strict=False).chat.completions
    (message,) = [item async for item in lenient.messages.list(kept[0], limit=1, order="asc")]
    assert (message.id, message.role, message.content) == (f"{kept[0]}-0", "user", "And gold?")
    deleted = await room.delete(kept[0])
    assert (deleted.id, deleted.object, deleted.deleted) == (kept[0], "chat.completion.deleted", True)
    with pytest.raises(openai.NotFoundError):
        await room.retrieve(kept[0])

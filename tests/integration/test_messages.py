"""Messages: content as a string or parts, attachments, updates, deletion, the filter by run. On both databases."""

import time
from typing import Any

import pytest

from tests.fixtures.calls import (
    assert_refused,
    completed_run,
    get,
    new_assistant,
    new_thread,
    post,
    texts_of,
)

pytestmark = pytest.mark.anyio

IMAGE = {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}
FILE = {"type": "image_file", "image_file": {"file_id": "file-1", "detail": "low"}}
CODE, SEARCH = {"type": "code_interpreter"}, {"type": "file_search"}


def text_part(value: str) -> dict[str, Any]:
    return {"type": "text", "text": {"value": value, "annotations": []}}


async def test_a_clients_message_has_every_field(rooms: Any) -> None:
    thread, before = await new_thread(rooms), int(time.time())
    made = await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "hello"})
    shown = dict(made)
    assert before <= shown.pop("created_at") <= time.time()
    assert shown == {
        "id": made["id"],
        "object": "thread.message",
        "thread_id": thread,
        "status": "completed",
        "incomplete_details": None,
        "completed_at": made["created_at"],
        "incomplete_at": None,
        "role": "user",
        "content": [text_part("hello")],
        "assistant_id": None,
        "run_id": None,
        "attachments": [],
        "metadata": {},
    }
    assert await get(rooms, f"/v1/threads/{thread}/messages/{made['id']}") == made


async def test_a_message_may_be_the_assistants(rooms: Any) -> None:
    thread = await new_thread(rooms)
    made = await post(rooms, f"/v1/threads/{thread}/messages", {"role": "assistant", "content": "hi"})
    assert (made["role"], made["assistant_id"], made["run_id"]) == ("assistant", None, None)


async def test_parts_are_kept_in_their_order(rooms: Any) -> None:
    thread = await new_thread(rooms)
    content = [{"type": "text", "text": "look"}, IMAGE, FILE, {"type": "text", "text": "well?"}]
    made = await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": content})
    address = {"url": "https://pictures.test/a.png", "detail": "auto"}
    assert made["content"] == [
        text_part("look"),
        {"type": "image_url", "image_url": address},
        FILE,
        text_part("well?"),
    ]
    assert await get(rooms, f"/v1/threads/{thread}/messages/{made['id']}") == made


@pytest.mark.parametrize(
    "text", [" ", "\n\t", "日本 📈 é\u0301", 'quotes " and \\', "null \0 inside", "x" * 256_000], ids=range(6)
)
async def test_text_is_kept_to_the_character(rooms: Any, text: str) -> None:
    thread = await new_thread(rooms)
    for content in (text, [{"type": "text", "text": text}]):
        made = await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": content})
        assert made["content"] == [text_part(text)]
    assert await texts_of(rooms, thread) == [text, text]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (None, []),
        ([], []),
        ([{"file_id": "file-1", "tools": [CODE]}], [{"file_id": "file-1", "tools": [CODE]}]),
        (
            [{"file_id": "file-1", "tools": [CODE, SEARCH, CODE]}],
            [{"file_id": "file-1", "tools": [CODE, SEARCH, CODE]}],
        ),
        ([{"file_id": "file-1"}], [{"file_id": "file-1", "tools": []}]),
        ([{"file_id": "file-1", "tools": None}], [{"file_id": "file-1", "tools": []}]),
        (
            [{"file_id": f"file-{n}", "tools": [SEARCH]} for n in range(30)],
            [{"file_id": f"file-{n}", "tools": [SEARCH]} for n in range(30)],
        ),
    ],
    ids=["null", "none", "one", "tools", "no tools", "null tools", "many"],
)
async def test_attachments_are_kept(rooms: Any, sent: Any, shown: Any) -> None:
    thread = await new_thread(rooms)
    body = {"role": "user", "content": "read", "attachments": sent}
    made = await post(rooms, f"/v1/threads/{thread}/messages", body)
    assert made["attachments"] == shown
    assert (await get(rooms, f"/v1/threads/{thread}/messages/{made['id']}"))["attachments"] == shown


MISSING, VALUE, TYPE, UNKNOWN = "missing_required_parameter", "invalid_value", "invalid_type", "unknown_parameter"


@pytest.mark.parametrize(
    ("body", "param", "text", "code"),
    [
        ({"content": "x"}, "role", "Missing required parameter: 'role'.", MISSING),
        ({"role": "user"}, "content", "Missing required parameter: 'content'.", MISSING),
        ({"role": "system", "content": "x"}, "role", "Invalid value for 'role': 'system'.", VALUE),
        (
            {"role": "user", "content": ""},
            "content",
            "Invalid 'content': empty string. Expected a string with minimum length 1, "
            "but got an empty string instead.",
            "empty_string",
        ),
        (
            {"role": "user", "content": []},
            "content",
            "Invalid 'content': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "empty_array",
        ),
        (
            {"role": "user", "content": 1},
            "content",
            "Invalid type for 'content': expected one of a string or an array, but got an integer instead.",
            TYPE,
        ),
        (
            {"role": "user", "content": None},
            "content",
            "Invalid type for 'content': expected one of a string or an array, but got null instead.",
            TYPE,
        ),
        (
            {"role": "user", "content": ["x"]},
            "content[0]",
            "Invalid type for 'content[0]': expected an object, but got a string instead.",
            TYPE,
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "video"}]},
            "content[1].type",
            "Invalid value for 'content[1].type': 'video'.",
            VALUE,
        ),
        (
            {"role": "user", "content": [{"text": "x"}]},
            "content[0].type",
            "Missing required parameter: 'content[0].type'.",
            MISSING,
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": {"value": "x"}}]},
            "content[0].text",
            "Invalid type for 'content[0].text': expected a string, but got an object instead.",
            TYPE,
        ),
        (
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": "a", "detail": "huge"}}]},
            "content[0].image_url.detail",
            "Invalid value for 'content[0].image_url.detail': 'huge'.",
            VALUE,
        ),
        (
            {"role": "user", "content": [{"type": "image_file", "image_file": {}}]},
            "content[0].image_file.file_id",
            "Missing required parameter: 'content[0].image_file.file_id'.",
            MISSING,
        ),
        (
            {"role": "user", "content": "x", "attachments": [{"tools": [CODE]}]},
            "attachments[0].file_id",
            "Missing required parameter: 'attachments[0].file_id'.",
            MISSING,
        ),
        (
            {"role": "user", "content": "x", "attachments": [{"file_id": "f", "tools": [{"type": "function"}]}]},
            "attachments[0].tools[0].type",
            "Invalid value for 'attachments[0].tools[0].type': 'function'.",
            VALUE,
        ),
        ({"role": "user", "content": "x", "file_ids": []}, "file_ids", "Unknown parameter: 'file_ids'.", UNKNOWN),
        (
            {"role": "user", "content": [{"type": "text", "text": "x", "cache": 1}]},
            "content[0].cache",
            "Unknown parameter: 'content[0].cache'.",
            UNKNOWN,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
async def test_a_message_that_is_wrong_is_refused(
    shared_api: Any, body: dict[str, Any], param: str, text: str, code: str
) -> None:
    thread = await new_thread(shared_api)
    answer = await shared_api.post(f"/v1/threads/{thread}/messages", json=body)
    assert_refused(answer, text, param=param, code=code)
    assert await texts_of(shared_api, thread) == []


async def test_only_metadata_can_be_changed(rooms: Any) -> None:
    thread = await new_thread(rooms)
    made = await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "x"})
    where = f"/v1/threads/{thread}/messages/{made['id']}"
    assert await post(rooms, where, {"metadata": {"seen": "yes"}}) == {**made, "metadata": {"seen": "yes"}}
    answer = await rooms.post(where, json={"content": "y"})
    assert_refused(answer, "Unknown parameter: 'content'.", param="content", code="unknown_parameter")


async def test_a_message_is_found_in_its_own_thread_only(rooms: Any) -> None:
    thread, other = await new_thread(rooms, "mine"), await new_thread(rooms)
    message = (await get(rooms, f"/v1/threads/{thread}/messages"))["data"][0]["id"]
    where = f"/v1/threads/{other}/messages/{message}"
    for answer in (
        await rooms.get(where),
        await rooms.post(where, json={"metadata": {"a": "b"}}),
        await rooms.delete(where),
    ):
        assert_refused(answer, f"No message found with id '{message}'.", status=404)
    assert (await get(rooms, f"/v1/threads/{thread}/messages/{message}"))["metadata"] == {}


async def test_deleting_says_so_once_and_leaves_the_others_in_order(rooms: Any) -> None:
    thread = await new_thread(rooms, "a", "b", "c")
    middle = (await get(rooms, f"/v1/threads/{thread}/messages"))["data"][1]["id"]
    where = f"/v1/threads/{thread}/messages/{middle}"
    assert (await rooms.delete(where)).json() == {"id": middle, "object": "thread.message.deleted", "deleted": True}
    assert_refused(await rooms.delete(where), f"No message found with id '{middle}'.", status=404)
    await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "d"})
    assert await texts_of(rooms, thread) == ["a", "c", "d"]


async def test_the_newest_can_be_deleted_and_its_place_is_not_given_again(rooms: Any) -> None:
    thread = await new_thread(rooms, "a", "b")
    newest = (await get(rooms, f"/v1/threads/{thread}/messages"))["data"][0]["id"]
    await rooms.delete(f"/v1/threads/{thread}/messages/{newest}")
    await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "c"})
    await completed_run(rooms, thread, await new_assistant(rooms), instructions="x")
    assert (await texts_of(rooms, thread))[:2] == ["a", "c"]


async def test_a_list_can_be_of_one_runs_messages(rooms: Any) -> None:
    thread, assistant = await new_thread(rooms, "say exactly: one"), await new_assistant(rooms)
    first = await completed_run(rooms, thread, assistant)
    await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "say exactly: two"})
    second = await completed_run(rooms, thread, assistant)
    where = f"/v1/threads/{thread}/messages"
    for run, text in ((first, "one"), (second, "two")):
        (message,) = (await get(rooms, where, run_id=run["id"]))["data"]
        assert message["content"] == [text_part(text)]
        assert (message["run_id"], message["assistant_id"]) == (run["id"], assistant)
    assert len((await get(rooms, where, run_id=""))["data"]) == 4
    elsewhere = await new_thread(rooms, "x")
    assert (await get(rooms, f"/v1/threads/{elsewhere}/messages", run_id=first["id"]))["data"] == []
    answer = await rooms.get(where, params={"run_id": "undefined"})
    text = "Invalid 'run_id': 'undefined'. Expected an ID that begins with 'run'."
    assert_refused(answer, text, param="run_id", code="invalid_value")

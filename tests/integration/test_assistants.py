"""Assistants: every field as it was sent, every default, updates that touch one thing, deletion. On both databases."""

import time
from typing import Any

import pytest

from tests.fixtures.calls import assert_refused, completed_run, get, new_assistant, new_thread, post, texts_of

pytestmark = pytest.mark.anyio

MODEL = "sovereign-standin"
FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_quote-2",
        "description": "Finds a quote.",
        "parameters": {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]},
        "strict": True,
    },
}
FILE_SEARCH = {
    "type": "file_search",
    "file_search": {
        "max_num_results": 7,
        "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.25},
    },
}
SCHEMA_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "quote", "description": "A quote.", "schema": {"type": "object"}, "strict": True},
}
FULL: dict[str, Any] = {
    "model": MODEL,
    "name": "Börse 📈",
    "description": "Answers.",
    "instructions": "Be brief.\nBe right.",
    "tools": [{"type": "code_interpreter"}, FILE_SEARCH, FUNCTION],
    "tool_resources": {
        "code_interpreter": {"file_ids": ["file-1", "file-2"]},
        "file_search": {"vector_store_ids": ["vs_1"]},
    },
    "metadata": {"desk": "rates", "": ""},
    "temperature": 0.25,
    "top_p": 0.5,
    "response_format": SCHEMA_FORMAT,
    "reasoning_effort": "low",
}
DEFAULTS: dict[str, Any] = {
    "name": None,
    "description": None,
    "instructions": None,
    "tools": [],
    "tool_resources": None,
    "metadata": {},
    "temperature": 1.0,
    "top_p": 1.0,
    "response_format": "auto",
    "reasoning_effort": None,
}
OTHER: dict[str, Any] = {
    "model": "another-model",
    "name": "Other",
    "description": "Other.",
    "instructions": "Other.",
    "tools": [{"type": "file_search"}],
    "tool_resources": {"code_interpreter": {"file_ids": []}},
    "metadata": {"new": "pairs"},
    "temperature": 2.0,
    "top_p": 0.0,
    "response_format": {"type": "json_object"},
    "reasoning_effort": "none",
}


async def test_a_new_assistant_has_every_field_with_its_default(rooms: Any) -> None:
    before = int(time.time())
    made = await post(rooms, "/v1/assistants", {"model": MODEL})
    assert before <= made.pop("created_at") <= time.time()
    assert made.pop("id").startswith("asst_")
    assert made == {"object": "assistant", "model": MODEL, **DEFAULTS}


async def test_every_field_is_kept_as_it_was_sent(rooms: Any) -> None:
    made = await post(rooms, "/v1/assistants", FULL)
    assert {name: made[name] for name in FULL} == FULL
    assert await get(rooms, f"/v1/assistants/{made['id']}") == made


async def test_null_is_the_default_except_for_what_it_leaves_to_the_model(rooms: Any) -> None:
    made = await post(rooms, "/v1/assistants", {"model": MODEL, **dict.fromkeys(DEFAULTS)})
    expected = {**DEFAULTS, "temperature": None, "top_p": None}
    assert {name: made[name] for name in DEFAULTS} == expected
    assert await get(rooms, f"/v1/assistants/{made['id']}") == made


@pytest.mark.parametrize("field", OTHER)
async def test_an_update_changes_what_was_sent_and_nothing_else(rooms: Any, field: str) -> None:
    made = await post(rooms, "/v1/assistants", FULL)
    changed = await post(rooms, f"/v1/assistants/{made['id']}", {field: OTHER[field]})
    assert changed == {**made, field: OTHER[field]}
    assert await get(rooms, f"/v1/assistants/{made['id']}") == changed


@pytest.mark.parametrize("field", DEFAULTS)
async def test_an_update_to_null_clears(rooms: Any, field: str) -> None:
    made = await post(rooms, "/v1/assistants", FULL)
    cleared = None if field in ("temperature", "top_p") else DEFAULTS[field]
    changed = await post(rooms, f"/v1/assistants/{made['id']}", {field: None})
    assert changed == {**made, field: cleared}
    assert await get(rooms, f"/v1/assistants/{made['id']}") == changed


@pytest.mark.parametrize("sent", [{"json": {}}, {"content": b""}], ids=["empty object", "no body"])
async def test_an_update_of_nothing_changes_nothing(rooms: Any, sent: dict[str, Any]) -> None:
    made = await post(rooms, "/v1/assistants", FULL)
    answer = await rooms.post(f"/v1/assistants/{made['id']}", **sent)
    assert answer.json() == made


async def test_an_assistant_always_has_a_model(rooms: Any) -> None:
    made = await new_assistant(rooms)
    answer = await rooms.post(f"/v1/assistants/{made}", json={"model": None})
    text = "Invalid type for 'model': expected a string, but got null instead."
    assert_refused(answer, text, param="model", code="invalid_type")


async def test_a_store_to_be_made_is_taken_on_creation_only(rooms: Any) -> None:
    store = {"file_ids": ["file-1"], "chunking_strategy": {"type": "auto"}, "metadata": {"a": "b"}}
    resources = {"file_search": {"vector_stores": [store]}}
    made = await post(rooms, "/v1/assistants", {"model": MODEL, "tool_resources": resources})
    assert made["tool_resources"] == {"file_search": {"vector_store_ids": []}}
    answer = await rooms.post(f"/v1/assistants/{made['id']}", json={"tool_resources": resources})
    param = "tool_resources.file_search.vector_stores"
    assert_refused(answer, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


async def test_a_store_by_id_and_one_to_be_made_exclude_each_other(rooms: Any) -> None:
    resources = {"file_search": {"vector_store_ids": ["vs_1"], "vector_stores": [{}]}}
    answer = await rooms.post("/v1/assistants", json={"model": MODEL, "tool_resources": resources})
    assert_refused(
        answer,
        "Mutually exclusive parameters. Ensure you are only providing one of: 'vector_store_ids' or 'vector_stores'.",
        param="tool_resources.file_search",
        code="mutually_exclusive_parameters",
    )


@pytest.mark.parametrize(
    "wanted", ["auto", {"type": "text"}, {"type": "json_object"}, SCHEMA_FORMAT], ids=lambda wanted: str(wanted)[:24]
)
async def test_every_response_format_is_shown_as_it_was_sent(rooms: Any, wanted: Any) -> None:
    made = await post(rooms, "/v1/assistants", {"model": MODEL, "response_format": wanted})
    assert made["response_format"] == wanted


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
async def test_every_reasoning_effort_is_taken(shared_api: Any, effort: str) -> None:
    made = await post(shared_api, "/v1/assistants", {"model": MODEL, "reasoning_effort": effort})
    assert made["reasoning_effort"] == effort


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "code_interpreter"},
        {"type": "file_search"},
        {"type": "file_search", "file_search": {"max_num_results": 50}},
        {"type": "file_search", "file_search": {"ranking_options": {"ranker": "auto", "score_threshold": 0.0}}},
        {"type": "function", "function": {"name": "f"}},
        {"type": "function", "function": {"name": "f", "parameters": {}, "strict": False}},
        FUNCTION,
    ],
    ids=str,
)
async def test_a_tool_is_shown_with_what_was_sent_and_nothing_more(rooms: Any, tool: dict[str, Any]) -> None:
    made = await post(rooms, "/v1/assistants", {"model": MODEL, "tools": [tool]})
    assert made["tools"] == [tool]


async def test_a_character_that_one_database_cannot_keep_is_refused_by_both(rooms: Any) -> None:
    for field in ("model", "name", "description", "instructions"):
        answer = await rooms.post("/v1/assistants", json={"model": MODEL, field: "a\0b"})
        text = f"Invalid '{field}': string does not match pattern. Expected a string that matches the pattern '"
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(text)
    # In documents it is only an escape.
    made = await post(rooms, "/v1/assistants", {"model": MODEL, "metadata": {"a\0": "\0b"}})
    assert made["metadata"] == {"a\0": "\0b"}


async def test_deleting_says_so_once(rooms: Any) -> None:
    assistant = await new_assistant(rooms)
    answer = await rooms.delete(f"/v1/assistants/{assistant}")
    assert answer.json() == {"id": assistant, "object": "assistant.deleted", "deleted": True}
    unknown = f"No assistant found with id '{assistant}'."
    for again in (
        await rooms.delete(f"/v1/assistants/{assistant}"),
        await rooms.get(f"/v1/assistants/{assistant}"),
        await rooms.post(f"/v1/assistants/{assistant}", json={}),
    ):
        assert_refused(again, unknown, status=404)


async def test_deleting_an_assistant_leaves_its_threads_with_all_that_is_in_them(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms), await new_thread(rooms, "say exactly: still here")
    run = await completed_run(rooms, thread, assistant)
    await rooms.delete(f"/v1/assistants/{assistant}")
    assert await texts_of(rooms, thread) == ["say exactly: still here", "still here"]
    assert await get(rooms, f"/v1/threads/{thread}/runs/{run['id']}") == run
    assert (await get(rooms, f"/v1/threads/{thread}/runs/{run['id']}/steps"))["data"]
    answer = await rooms.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant})
    assert_refused(answer, f"No assistant found with id '{assistant}'.", status=404)
    # The refused run left no lock behind.
    await completed_run(rooms, thread, await new_assistant(rooms))

"""Metadata, wherever a body takes it: 16 pairs, keys of 64, values of 512, null for none, replaced as a whole."""

from typing import Any

import pytest

from tests.fixtures.calls import (
    assert_refused,
    completed_run,
    get,
    new_assistant,
    new_thread,
    post,
)

pytestmark = pytest.mark.anyio

MOST = {f"{n:02}" + "k" * 62: "v" * 512 for n in range(16)}

Objects = dict[str, str]


@pytest.fixture(scope="module")
async def objects(shared_api: Any) -> Objects:
    assistant, thread = await new_assistant(shared_api), await new_thread(shared_api, "say exactly: x")
    run = await completed_run(shared_api, thread, assistant)
    page = await get(shared_api, f"/v1/threads/{thread}/messages")
    return {"assistant": assistant, "thread": thread, "run": run["id"], "message": page["data"][0]["id"]}


CREATES = {
    "/v1/assistants": {"model": "m"},
    "/v1/threads": {},
    "/v1/threads/{thread}/messages": {"role": "user", "content": "x"},
}
UPDATES = ("/v1/assistants/{assistant}", "/v1/threads/{thread}")
UPDATES += ("/v1/threads/{thread}/messages/{message}", "/v1/threads/{thread}/runs/{run}")
STARTS = ("/v1/threads/runs", "/v1/threads/{thread}/runs")
EVERYWHERE = (*CREATES, *UPDATES, *STARTS)


@pytest.mark.parametrize("path", (*CREATES, *UPDATES))
async def test_as_much_as_may_be_is_kept(shared_api: Any, objects: Objects, path: str) -> None:
    body = {**CREATES.get(path, {}), "metadata": MOST}
    assert (await post(shared_api, path.format(**objects), body))["metadata"] == MOST


@pytest.mark.parametrize("path", CREATES)
async def test_null_and_nothing_are_empty_in_a_new_object(shared_api: Any, objects: Objects, path: str) -> None:
    for sent in ({}, {"metadata": None}, {"metadata": {}}):
        assert (await post(shared_api, path.format(**objects), {**CREATES[path], **sent}))["metadata"] == {}


@pytest.mark.parametrize("path", UPDATES)
async def test_an_update_replaces_all_pairs_null_clears_and_nothing_stays(
    shared_api: Any, objects: Objects, path: str
) -> None:
    where = path.format(**objects)
    for body, expected in (
        ({"metadata": {"a": "1", "b": "2"}}, {"a": "1", "b": "2"}),
        ({"metadata": {"c": "3"}}, {"c": "3"}),
        ({}, {"c": "3"}),
        ({"metadata": {}}, {}),
        ({"metadata": {"d": ""}}, {"d": ""}),
        ({"metadata": None}, {}),
    ):
        assert (await post(shared_api, where, body))["metadata"] == expected
        assert (await get(shared_api, where))["metadata"] == expected


@pytest.mark.parametrize("path", STARTS)
async def test_a_run_keeps_its_own(shared_api: Any, objects: Objects, path: str) -> None:
    thread = await new_thread(shared_api, "say exactly: x")
    body = {"assistant_id": objects["assistant"], "metadata": MOST}
    if path == "/v1/threads/runs":
        body["thread"] = {"metadata": {"of": "the thread"}, "messages": [{"role": "user", "content": "x"}]}
    run = await post(shared_api, path.format(thread=thread), body)
    assert run["metadata"] == MOST
    assert (await get(shared_api, f"/v1/threads/{run['thread_id']}/runs/{run['id']}"))["metadata"] == MOST
    kept = (await get(shared_api, f"/v1/threads/{run['thread_id']}"))["metadata"]
    assert kept == ({"of": "the thread"} if "thread" in body else {})


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_more_is_refused(shared_api: Any, objects: Objects, path: str) -> None:
    needed = CREATES.get(path, {"assistant_id": objects["assistant"]} if path in STARTS else {})

    async def send(metadata: Any) -> Any:
        return await shared_api.post(path.format(**objects), json={**needed, "metadata": metadata})

    text = "too many properties. Expected an object with at most 16 properties, but got an object with 17 properties"
    answer = await send({str(n): "x" for n in range(17)})
    assert_refused(answer, f"Invalid 'metadata': {text} instead.", param="metadata", code="object_above_max_properties")
    text = "key too long. Expected keys with maximum length 64, but got a key with length 65"
    answer = await send({"a": "x", "k" * 65: "x"})
    assert_refused(answer, f"Invalid 'metadata': {text} instead.", param="metadata", code="string_above_max_length")
    text = "string too long. Expected a string with maximum length 512, but got a string with length 513"
    answer = await send({"a": "x", "long": "x" * 513})
    assert_refused(
        answer, f"Invalid 'metadata.long': {text} instead.", param="metadata.long", code="string_above_max_length"
    )


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_only_text_is_taken(shared_api: Any, objects: Objects, path: str) -> None:
    needed = CREATES.get(path, {"assistant_id": objects["assistant"]} if path in STARTS else {})
    where = path.format(**objects)
    for value, kind in ((1, "an integer"), (1.5, "a decimal"), (True, "a boolean"), (None, "null"), ({}, "an object")):
        answer = await shared_api.post(where, json={**needed, "metadata": {"a": "x", "n": value}})
        text = f"Invalid type for 'metadata.n': expected a string, but got {kind} instead."
        assert_refused(answer, text, param="metadata.n", code="invalid_type")
    for value, kind in (("x", "a string"), ([], "an array"), (1, "an integer")):
        answer = await shared_api.post(where, json={**needed, "metadata": value})
        text = f"Invalid type for 'metadata': expected an object, but got {kind} instead."
        assert_refused(answer, text, param="metadata", code="invalid_type")


async def test_what_is_nested_is_held_to_the_same_bounds(shared_api: Any, objects: Objects) -> None:
    message = {"role": "user", "content": "x", "metadata": {"k": "x" * 513}}
    for path, body, at in (
        ("/v1/threads", {"messages": [message]}, "messages[0]"),
        ("/v1/threads/runs", {"assistant_id": "asst_x", "thread": {"messages": [message]}}, "thread.messages[0]"),
        (
            "/v1/threads/{thread}/runs",
            {"assistant_id": "asst_x", "additional_messages": [message]},
            "additional_messages[0]",
        ),
    ):
        answer = await shared_api.post(path.format(**objects), json=body)
        assert answer.json()["error"]["param"] == f"{at}.metadata.k"

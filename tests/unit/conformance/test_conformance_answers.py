"""Good answers pass the checker and every kind of bad one is caught, with operation, path and reason."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance import samples
from tests.conformance.checker import Checker
from tests.conformance.extensions import RUN_EVENTS, USAGE
from tests.conformance.samples import (
    ASSISTANT_ID,
    COMPLETION_ID,
    CONVERSATION_ID,
    MESSAGE_ID,
    RESPONSE_ID,
    RUN_ID,
    STEP_ID,
    THREAD_ID,
    Object,
    some_id,
)
from tests.conformance.scope import IN_SCOPE, unseen

THREAD = f"/v1/threads/{THREAD_ID}"
RUN = f"{THREAD}/runs/{RUN_ID}"
STORED = f"/v1/chat/completions/{COMPLETION_ID}"
RESPONSE = f"/v1/responses/{RESPONSE_ID}"
CONVERSATION = f"/v1/conversations/{CONVERSATION_ID}"
GOOD: list[tuple[str, str, Object]] = [
    ("GET", "/v1/assistants", samples.page(samples.assistant())),
    ("POST", "/v1/assistants", samples.assistant()),
    ("GET", f"/v1/assistants/{ASSISTANT_ID}", samples.assistant()),
    ("POST", f"/v1/assistants/{ASSISTANT_ID}", samples.assistant()),
    ("DELETE", f"/v1/assistants/{ASSISTANT_ID}", samples.deleted("assistant", ASSISTANT_ID)),
    ("GET", "/v1/threads?limit=1", samples.page(samples.thread())),
    ("POST", "/v1/threads", samples.thread()),
    ("GET", THREAD, samples.thread()),
    ("POST", THREAD, samples.thread()),
    ("DELETE", THREAD, samples.deleted("thread", THREAD_ID)),
    ("GET", f"{THREAD}/messages?limit=2", samples.page(samples.message(), samples.user_message())),
    ("POST", f"{THREAD}/messages", samples.user_message()),
    ("GET", f"{THREAD}/messages/{MESSAGE_ID}", samples.message()),
    ("POST", f"{THREAD}/messages/{MESSAGE_ID}", samples.message("in_progress")),
    ("DELETE", f"{THREAD}/messages/{MESSAGE_ID}", samples.deleted("thread.message", MESSAGE_ID)),
    ("POST", "/v1/threads/runs", samples.run("queued")),
    ("GET", f"{THREAD}/runs", samples.page()),
    ("POST", f"{THREAD}/runs", samples.run("queued")),
    ("GET", RUN, samples.run("in_progress")),
    ("POST", RUN, samples.run()),
    ("POST", f"{RUN}/cancel", {**samples.run("in_progress"), "status": "cancelling"}),
    ("POST", f"{RUN}/submit_tool_outputs", samples.run("queued")),
    ("GET", f"{RUN}/steps", samples.page(samples.step("in_progress"))),
    ("GET", f"{RUN}/steps/{STEP_ID}", samples.step()),
    ("GET", "/v1/responses", samples.page(samples.response())),
    ("POST", "/v1/responses", samples.response()),
    ("GET", RESPONSE, samples.response("in_progress")),
    ("DELETE", RESPONSE, samples.deleted("response", RESPONSE_ID) | {"object": "response"}),
    ("POST", f"{RESPONSE}/cancel", samples.response()),
    ("GET", f"{RESPONSE}/input_items", samples.page(samples.item())),
    ("POST", "/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 3}),
    ("POST", "/v1/responses/compact", samples.compaction()),
    ("POST", "/v1/conversations", samples.conversation()),
    ("GET", CONVERSATION, samples.conversation()),
    ("POST", CONVERSATION, samples.conversation()),
    ("DELETE", CONVERSATION, samples.deleted("conversation", CONVERSATION_ID)),
    ("GET", f"{CONVERSATION}/items", samples.page(samples.item())),
    ("POST", f"{CONVERSATION}/items", samples.page(samples.item())),
    ("GET", f"{CONVERSATION}/items/{MESSAGE_ID}", samples.item()),
    ("DELETE", f"{CONVERSATION}/items/{MESSAGE_ID}", samples.conversation()),
    ("GET", "/v1/chat/completions", samples.page(samples.stored())),
    ("GET", STORED, samples.stored()),
    ("POST", STORED, samples.stored()),
    ("DELETE", STORED, samples.deleted("chat.completion", COMPLETION_ID)),
    ("GET", f"{STORED}/messages", samples.page(samples.stored_message())),
]


def answer(checker: Checker, method: str, url: str, value: Any, status: int = 200, **headers: str) -> None:
    named = {name.replace("_", "-"): content for name, content in headers.items()}
    checker.check_response(method, url, status, {**samples.HEADERS, **named}, json.dumps(value).encode())


def changed(value: Object, **changes: Any) -> Object:
    return {**value, **changes}


def without(value: Object, key: str) -> Object:
    return {name: content for name, content in value.items() if name != key}


def test_good_answers_pass_and_make_every_operation_in_scope_seen(checker: Checker) -> None:
    for method, path, value in GOOD:
        answer(checker, method, f"http://127.0.0.1:8001{path}", value)
    assert unseen(checker.seen) == [USAGE, RUN_EVENTS]
    fields = ["key_id", "project_id", "today", "month", "key", "project"]
    answer(
        checker, "GET", "http://127.0.0.1:8001/v1/usage", dict.fromkeys(fields, "") | {"object": "usage", "days": []}
    )
    stream = samples.body_of(samples.plain_stream())
    checker.check_response("GET", f"{RUN}/events", 200, samples.STREAM_HEADERS, stream)
    assert unseen(checker.seen) == []
    assert (checker.answers, len(IN_SCOPE)) == (47, 43)


def test_extra_keys_are_allowed(checker: Checker) -> None:
    answer(checker, "GET", THREAD, changed(samples.thread(), assistant_id=ASSISTANT_ID))


@pytest.mark.parametrize(("method", "path", "value"), GOOD, ids=[f"{verb} {path}" for verb, path, _ in GOOD])
def test_no_key_that_the_original_sent_may_be_missing(checker: Checker, method: str, path: str, value: Object) -> None:
    optional = {"temperature", "top_p"} if value.get("object") == "thread.run" else set()
    for key in value.keys() - optional:
        with pytest.raises(AssertionError, match=f"'{key}' is a required property"):
            answer(checker, method, path, without(value, key))


BAD_RUNS: dict[str, Object] = {
    r"\$.created_at: '1'": {"created_at": "1"},
    r"\$.created_at: 1700000000.0 is not": {"created_at": 1700000000.0},
    r"\$.created_at: 1700000000000 is greater": {"created_at": 1_700_000_000_000},
    r"\$.expires_at: None .*must not be null when status is queued": {"expires_at": None},
    r"\$.usage: .*must be null when status is queued": {"usage": samples.usage()},
    r"\$.instructions: None": {"instructions": None},
    r"\$.object: 'thread.runs'": {"object": "thread.runs"},
    r"\$.id: .*does not match '\^run_": {"id": "run-1"},
    r"\$.thread_id: .*does not match": {"thread_id": "thread_1"},
    r"\$.assistant_id: .*does not match": {"assistant_id": "asst_" + "-" * 24},
    r"\$.status: 'working'": {"status": "working"},
    r"\$.max_prompt_tokens: 1 is less": {"max_prompt_tokens": 1},
    r"\$.tool_choice: 'any'": {"tool_choice": "any"},
    r"\$.response_format.*json_schema": {"response_format": {"type": "json_schema", "json_schema": {}}},
    r"\$.tools\[0\].*'function'": {"tools": [{"type": "function"}]},
    r"\$.metadata": {"metadata": {"n": 1}},
    r"\$.parallel_tool_calls: None": {"parallel_tool_calls": None},
}


@pytest.mark.parametrize(("found", "change"), BAD_RUNS.items(), ids=[str(change) for change in BAD_RUNS.values()])
def test_a_bad_run_is_caught_where_it_is_bad(checker: Checker, found: str, change: Object) -> None:
    operation = r"POST /threads/{thread_id}/runs 200: "
    with pytest.raises(AssertionError, match=operation.replace("{", r"\{") + found):
        answer(checker, "POST", f"{THREAD}/runs", changed(samples.run("queued"), **change))
    assert checker.seen == set()


LATER = changed(samples.stored(), created=samples.NOW + 1)
BOTH = changed(samples.stored_message(), content_parts=[{"type": "text", "text": "Hello"}])
BAD: list[tuple[str, str, str, Object]] = [
    ("not be null when status is completed", "GET", RUN, changed(samples.run(), usage=None)),
    ("be null when status is completed", "GET", RUN, changed(samples.run(), expires_at=1)),
    ("total_tokens", "GET", RUN, changed(samples.run(), usage=without(samples.usage(), "total_tokens"))),
    (r"\$.last_error", "GET", RUN, changed(samples.run("queued"), status="failed", failed_at=1)),
    ("of the path", "GET", RUN, changed(samples.run(), thread_id=some_id("thread", 2))),
    ("of the path", "GET", RUN, changed(samples.run(), id=some_id("run", 2))),
    ("instead of", "GET", f"{THREAD}/runs", changed(samples.page(samples.run()), last_id=RUN_ID + "0")),
    (r"\$.object", "GET", f"{THREAD}/runs", changed(samples.page(), object="page")),
    (r"\$.first_id: None", "GET", f"{THREAD}/runs", changed(samples.page(), first_id=None)),
    (r"\$.data\[0\].object", "GET", f"{THREAD}/runs", samples.page({**samples.run(), "object": "run"})),
    ("for limit 'x'", "GET", f"{THREAD}/runs?limit=x", samples.page()),
    ("order 'up'", "GET", f"{THREAD}/runs?order=up", samples.page()),
    ("limit is 1", "GET", f"{THREAD}/runs?limit=1", samples.page(samples.run(), samples.run())),
    (
        "not in descending order",
        "GET",
        f"{THREAD}/runs",
        samples.page(samples.run(), changed(samples.run(), created_at=samples.NOW + 1)),
    ),
    (r"\$.deleted", "DELETE", THREAD, changed(samples.deleted("thread", THREAD_ID), deleted=False)),
    (r"\$.object", "DELETE", THREAD, changed(samples.deleted("thread", THREAD_ID), object="thread")),
    (
        r"\$.content\[0\].text: 'annotations' is a required",
        "GET",
        f"{THREAD}/messages/{MESSAGE_ID}",
        changed(samples.message(), content=[{"type": "text", "text": {"value": "x"}}]),
    ),
    (
        r"\$.content\[0\].text: 'x' is not of type 'object'",
        "GET",
        f"{THREAD}/messages/{MESSAGE_ID}",
        changed(samples.message(), content=[{"type": "text", "text": "x"}]),
    ),
    (
        r"\$.completed_at.*not be null",
        "GET",
        f"{THREAD}/messages/{MESSAGE_ID}",
        changed(samples.message(), completed_at=None),
    ),
    (
        r"\$.step_details.type",
        "GET",
        f"{RUN}/steps/{STEP_ID}",
        changed(samples.step(), type="tool_calls"),
    ),
    ("of the path", "GET", STORED, changed(samples.stored(), id="chatcmpl-2")),
    (r"\$.metadata: None", "GET", STORED, changed(samples.stored(), metadata=None)),
    ("not in ascending order", "GET", "/v1/chat/completions", samples.page(LATER, samples.stored())),
    (r"\$.deleted", "DELETE", STORED, {**samples.deleted("chat.completion", COMPLETION_ID), "deleted": False}),
    (r"\$.data\[0\].role", "GET", f"{STORED}/messages", samples.page({**samples.stored_message(), "role": "me"})),
    (r"\$.data\[0\].content: 'Hello' is not", "GET", f"{STORED}/messages", samples.page(BOTH)),
    ("no such operation", "PUT", "/v1/threads", samples.page()),
    (r"\$.data\[0\].object", "GET", "/v1/threads", samples.page(changed(samples.thread(), object="run"))),
    (r"\$.first_id: None", "GET", "/v1/threads", changed(samples.page(), first_id=None)),
    ("no such operation", "POST", f"{RUN}/events", {}),
    ("no such operation", "PATCH", THREAD, samples.thread()),
    ("no such operation", "GET", "/v1/nothing", {}),
]


@pytest.mark.parametrize(("found", "method", "path", "value"), BAD)
def test_a_bad_answer_is_caught(checker: Checker, found: str, method: str, path: str, value: Object) -> None:
    with pytest.raises(AssertionError, match=found):
        answer(checker, method, path, value)


@pytest.mark.parametrize("name", [*samples.HEADERS])
def test_every_header_is_missed(checker: Checker, name: str) -> None:
    for status, value in ((200, samples.thread()), (404, samples.error())):
        headers = {**samples.HEADERS}
        del headers[name]
        with pytest.raises(AssertionError, match=f"header {name.lower()}: missing"):
            checker.check_response("GET", THREAD, status, headers, json.dumps(value).encode())


BAD_HEADERS = [
    ("X_Request_Id", ""),
    ("OpenAI_Processing_Ms", "1.5"),
    ("OpenAI_Version", "2024-01-01"),
    ("Content_Type", "text/plain"),
    ("Content_Type", "application/json; charset"),
]


@pytest.mark.parametrize(("name", "value"), BAD_HEADERS)
def test_a_bad_header_is_caught(checker: Checker, name: str, value: str) -> None:
    with pytest.raises(AssertionError, match="header " + name.replace("_", "-").lower()):
        answer(checker, "GET", THREAD, samples.thread(), 200, **{name: value})


@pytest.mark.parametrize("path", [THREAD, "/v1/nothing", "/nothing"])
@pytest.mark.parametrize("key", ["message", "type", "param", "code"])
def test_an_error_has_its_four_keys_on_any_path(checker: Checker, path: str, key: str) -> None:
    answer(checker, "GET", path, samples.error(), 404)
    with pytest.raises(AssertionError, match=f"'{key}' is a required property"):
        answer(checker, "GET", path, {"error": without(samples.error()["error"], key)}, 404)
    assert checker.seen == set()


BAD_ERRORS: list[tuple[str, int, Any]] = [
    ("'error' is a required", 404, {"detail": "Not Found"}),
    (r"\$.error.type", 404, samples.error("not_found")),
    (r"\$.error.param", 400, {"error": {**samples.error()["error"], "param": 3}}),
    ("retry-after", 429, samples.error("rate_limit_error")),
    ("SDKs retry", 409, samples.error()),
    ("a 400", 422, samples.error()),
    ("the document has only 200", 201, samples.thread()),
]


@pytest.mark.parametrize(("found", "status", "value"), BAD_ERRORS)
def test_a_bad_error_or_status_is_caught(checker: Checker, found: str, status: int, value: Any) -> None:
    with pytest.raises(AssertionError, match=found):
        answer(checker, "GET", THREAD, value, status)


def test_a_429_says_when_to_retry(checker: Checker) -> None:
    answer(checker, "GET", THREAD, samples.error("rate_limit_error"), 429, Retry_After="1")


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b"\xff"])
def test_a_body_that_is_no_json_is_caught(checker: Checker, body: bytes) -> None:
    with pytest.raises(AssertionError, match="no JSON"):
        checker.check_response("GET", THREAD, 200, samples.HEADERS, body)


@pytest.mark.parametrize("request_line", ["GET /health", "GET /docs/x", "GET /metrics", "OPTIONS /v1/threads"])
def test_what_is_no_answer_of_the_api_is_left_alone(checker: Checker, request_line: str) -> None:
    method, path = request_line.split()
    checker.check_response(method, path, 200, {}, b"")
    assert checker.answers == 0


def nullable_fields() -> list[tuple[Callable[[], Object], str]]:
    return [
        (samples.run, "truncation_strategy"),
        (samples.run, "tool_choice"),
        (samples.run, "response_format"),
    ]


@pytest.mark.parametrize(("make", "key"), nullable_fields())
def test_null_is_accepted_where_the_document_says_nullable(
    checker: Checker, make: Callable[[], Object], key: str
) -> None:
    answer(checker, "GET", RUN, changed(make(), **{key: None}))

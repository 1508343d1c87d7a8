"""Good streams pass the checker; a bad event, a wrong order or a text that was not streamed is caught."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance import samples
from tests.conformance.checker import Checker
from tests.conformance.events import ASSISTANT_EVENTS
from tests.conformance.samples import THREAD_ID, event, plain_stream, text_delta
from tests.conformance.sse import ServerEvent

RUNS = f"/v1/threads/{THREAD_ID}/runs"
Events = list[ServerEvent]


def moved(events: Events, name: str, to: int) -> Events:
    one = next(item for item in events if item.event == name)
    rest = [item for item in events if item is not one]
    return [*rest[:to], one, *rest[to:]]


def dropped(events: Events, name: str) -> Events:
    return [item for item in events if item.event != name]


def test_a_plain_stream_passes_and_makes_its_operation_seen(checker: Checker) -> None:
    body = samples.body_of(plain_stream())
    checker.check_response("POST", RUNS, 200, samples.STREAM_HEADERS, b": ping\n\n" + body)
    assert checker.seen == {"POST /threads/{thread_id}/runs"}
    assert (checker.answers, checker.events) == (1, 13)
    checker.check_stream(plain_stream())


def test_thread_and_run_begins_with_the_thread(checker: Checker) -> None:
    events = [event("thread.created", samples.thread()), *plain_stream()]
    checker.check_response("POST", "/v1/threads/runs", 200, samples.STREAM_HEADERS, samples.body_of(events))
    with pytest.raises(AssertionError, match=r"POST /threads/runs 200, .*must go on with thread.created"):
        checker.check_response("POST", "/v1/threads/runs", 200, samples.STREAM_HEADERS, samples.body_of(plain_stream()))


def test_a_stream_may_end_with_an_error(checker: Checker) -> None:
    begun = plain_stream()[:7]
    checker.check_stream([*begun, event("error", samples.error("server_error"))])
    checker.check_stream([*begun, event("error", samples.error("server_error")), plain_stream()[-1]])


def test_a_stream_may_stop_where_tool_outputs_are_needed(checker: Checker) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    detail = {"type": "tool_calls", "tool_calls": [{"index": 0, **call}]}
    delta = {
        "id": samples.STEP_ID,
        "object": "thread.run.step.delta",
        "delta": {"step_details": detail},
    }
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
    waiting = {**samples.run("in_progress"), "status": "requires_action", "required_action": action}
    step = {**samples.step("in_progress"), "type": "tool_calls"}
    step["step_details"] = {"type": "tool_calls", "tool_calls": []}
    checker.check_stream(
        [
            *plain_stream()[:3],
            event("thread.run.step.created", step),
            event("thread.run.step.delta", delta),
            event("thread.run.requires_action", waiting),
            plain_stream()[-1],
        ]
    )


def waiting_run() -> ServerEvent:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
    run = {**samples.run("in_progress"), "status": "requires_action", "required_action": action}
    return event("thread.run.requires_action", run)


def replay(checker: Checker, events: Events) -> None:
    path = f"{RUNS}/{samples.RUN_ID}/events"
    checker.check_response("GET", path, 200, samples.STREAM_HEADERS, samples.body_of(events))


def test_a_replay_goes_on_after_tool_outputs_and_may_begin_anywhere(checker: Checker) -> None:
    plain = plain_stream()
    replay(checker, [*plain[:3], waiting_run(), *plain[1:]])
    for start in range(1, len(plain)):
        replay(checker, plain[start:])
    replay(checker, [*plain[:3], waiting_run(), plain[-1]])


def test_a_live_stream_does_not_go_on_after_tool_calls_nor_begin_anywhere(checker: Checker) -> None:
    plain = plain_stream()
    with pytest.raises(AssertionError, match="which ends the stream"):
        checker.check_stream([*plain[:3], waiting_run(), *plain[1:]])
    with pytest.raises(AssertionError, match=r"comes before thread\.message\.created"):
        checker.check_stream(plain[7:])


def test_a_replay_from_the_start_is_held_to_the_order_of_a_stream(checker: Checker) -> None:
    plain = plain_stream()
    with pytest.raises(AssertionError, match=r"comes before thread\.message\.created"):
        replay(checker, [*plain[:5], *plain[7:]])
    with pytest.raises(AssertionError, match="the deltas 'Hello'"):
        replay(checker, [*plain[:8], *plain[9:]])
    with pytest.raises(AssertionError, match="without done"):
        replay(checker, plain[:-1])


def test_a_run_may_be_queued_again_when_an_attempt_was_given_up(checker: Checker) -> None:
    plain = plain_stream()
    checker.check_stream([*plain[:3], *plain[1:]])
    with pytest.raises(AssertionError, match=r"thread.run.queued .* late"):
        checker.check_stream([*plain[:2], *plain[1:]])


def step_delta() -> ServerEvent:
    delta = {"step_details": {"type": "tool_calls", "tool_calls": [{"index": 0, "type": "function"}]}}
    return event("thread.run.step.delta", {"id": samples.STEP_ID, "object": "thread.run.step.delta", "delta": delta})


BAD_ORDERS: dict[str, Callable[[Events], Events]] = {
    "message.delta of .* before thread.message.created": lambda events: moved(events, "thread.message.delta", 5),
    "step.delta of .* before thread.run.step.created": lambda events: [
        *events[:3],
        step_delta(),
        *events[3:],
    ],
    "says 'Hello world' at .* the deltas 'Hello'": lambda events: [*events[:8], *events[9:]],
    "the deltas 'Hello world!'": lambda events: [*events[:9], text_delta("!"), *events[9:]],
    "the deltas ''": lambda events: dropped(events, "thread.message.delta"),
    "says None at": lambda events: [
        *events[:9],
        event("thread.message.completed", {**samples.message(), "content": []}),
        *events[10:],
    ],
    "without done": lambda events: events[:-1],
    "done comes after thread.run.step.completed": lambda events: dropped(events, "thread.run.completed"),
    "while not ended: thread.run.step": lambda events: dropped(events, "thread.run.step.completed"),
    "comes before created": lambda events: dropped(
        dropped(dropped(events, "thread.message.created"), "thread.message.in_progress"),
        "thread.message.delta",
    ),
    "comes after done": lambda events: [*events, text_delta("!")],
    "done comes after done": lambda events: [*events, events[-1]],
    "error comes after .*, which ends the stream": lambda events: [
        *events[:-1],
        event("error", samples.error()),
    ],
    "late or twice": lambda events: [events[0], *events],
    "thread.run.queued .* late": lambda events: moved(events, "thread.run.queued", 2),
    "after its end": lambda events: [*events[:10], text_delta(""), *events[10:]],
}


@pytest.mark.parametrize(("found", "spoil"), BAD_ORDERS.items(), ids=[*BAD_ORDERS])
def test_a_wrong_order_is_caught(checker: Checker, found: str, spoil: Callable[[Events], Events]) -> None:
    with pytest.raises(AssertionError, match=found):
        checker.check_stream(spoil(plain_stream()))


@pytest.mark.parametrize("name", [*ASSISTANT_EVENTS])
def test_an_event_without_its_id_or_with_another_object_is_caught(checker: Checker, name: str) -> None:
    sample = next((item for item in plain_stream() if item.event == name), step_delta())
    value = json.loads(sample.data)
    for bad in ({**value, "object": "thing"}, {key: value[key] for key in value if key != "id"}):
        with pytest.raises(AssertionError, match=f"event {name}: "):
            checker.check_event(name, json.dumps(bad).encode())


def delta_with(**part: Any) -> bytes:
    content = [{"index": 0, "type": "text", "text": {"value": "x"}, **part}]
    body = {"id": samples.MESSAGE_ID, "object": "thread.message.delta", "delta": {"content": content}}
    return json.dumps(body).encode()


BAD_EVENTS: list[tuple[str, str | None, bytes]] = [
    (r"\$.status", "thread.run.queued", samples.encoded(samples.run())),
    (
        "must be empty",
        "thread.message.created",
        samples.encoded(samples.message("in_progress") | {"content": samples.message()["content"]}),
    ),
    (r"\$.delta.content\[0\].index", "thread.message.delta", delta_with(index="0")),
    (r"\$.delta.content\[0\].text: 'x'", "thread.message.delta", delta_with(text="x")),
    ("'value' is a required", "thread.message.delta", delta_with(text={})),
    ("no official stream", "thread.run.paused", samples.encoded(samples.run())),
    ("no official stream", "response.created", b'{"type": "response.completed"}'),
    ("no official stream", None, b"{}"),
    ("no official stream", None, b'{"type": "response.completed"}'),
    ("'error' is a required", "error", samples.encoded(samples.error()["error"])),
    ("'code' is a required", "error", b'{"error": {"message": "m", "type": "t", "param": null}}'),
    ("DONE", "done", b"{}"),
    ("DONE", "thread.run.completed", b"[DONE]"),
    ("no JSON", "thread.run.completed", b"{"),
    (r"\$: 'item_id' is a required", "response.output_text.delta", b'{"type": "response.output_text.delta"}'),
    (r"choices", None, b'{"object": "chat.completion.chunk", "id": "c", "created": 1, "model": "m"}'),
]


@pytest.mark.parametrize(("found", "name", "data"), BAD_EVENTS)
def test_a_bad_event_is_caught(checker: Checker, found: str, name: str | None, data: bytes) -> None:
    with pytest.raises(AssertionError, match=found):
        checker.check_event(name, data)


def test_events_of_the_other_surfaces_pass(checker: Checker) -> None:
    error = {"type": "error", "code": None, "message": "m", "param": None, "sequence_number": 1}
    checker.check_event("error", samples.encoded(error))
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    checker.check_event(None, samples.encoded(chunk))
    checker.check_event(None, b"[DONE]")


def test_an_operation_that_does_not_stream_must_not(checker: Checker) -> None:
    for method, path in (("GET", f"/v1/threads/{THREAD_ID}"), ("POST", "/v1/threads")):
        with pytest.raises(AssertionError, match="must not be a stream"):
            checker.check_response(method, path, 200, samples.STREAM_HEADERS, b"")


def test_a_stream_cut_within_an_event_is_caught(checker: Checker) -> None:
    body = samples.body_of(plain_stream())
    with pytest.raises(AssertionError, match="within an event"):
        checker.check_response("POST", RUNS, 200, samples.STREAM_HEADERS, body[:-1])


def test_a_fault_in_a_stream_names_its_operation(checker: Checker) -> None:
    spoilt = [*plain_stream()[:1], event("thread.run.queued", {**samples.run("queued"), "created_at": "1"})]
    expected = r"POST /threads/\{thread_id\}/runs 200, event thread.run.queued: \$.created_at: '1'"
    with pytest.raises(AssertionError, match=expected):
        checker.check_response("POST", RUNS, 200, samples.STREAM_HEADERS, samples.body_of(spoilt))


def test_a_stream_about_another_thread_is_caught(checker: Checker) -> None:
    elsewhere = [event("thread.run.created", {**samples.run("queued"), "thread_id": samples.some_id("thread", 2)})]
    with pytest.raises(AssertionError, match=r"event thread.run.created: \$.thread_id: .* instead of"):
        checker.check_response("POST", RUNS, 200, samples.STREAM_HEADERS, samples.body_of(elsewhere))

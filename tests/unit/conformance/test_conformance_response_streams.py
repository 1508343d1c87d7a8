"""A good stream of a response passes the checker; a gap, a wrong order or a text that was not streamed is caught."""

import json
from typing import Any

import pytest

from tests.conformance import samples
from tests.conformance.checker import Checker
from tests.conformance.samples import RESPONSE_ID, event, response_stream
from tests.conformance.sse import ServerEvent

CREATE = ("POST", "/v1/responses")
RESUME = ("GET", f"/v1/responses/{RESPONSE_ID}")
Events = list[ServerEvent]


def check(checker: Checker, events: Events, request: tuple[str, str] = CREATE) -> None:
    checker.check_response(*request, 200, samples.STREAM_HEADERS, samples.body_of(events))


def changed(events: Events, at: int, **fields: Any) -> Events:
    """Return events of which one says something else."""
    one = events[at]
    return [*events[:at], event(str(one.event), {**json.loads(one.data), **fields}), *events[at + 1 :]]


def renumbered(events: Events) -> Events:
    for number in range(len(events)):
        events = changed(events, number, sequence_number=number)
    return events


def test_a_good_stream_passes_and_makes_its_operation_seen(checker: Checker) -> None:
    check(checker, response_stream())
    assert (checker.seen, checker.events) == ({"POST /responses"}, 10)


@pytest.mark.parametrize("seen", range(11))
def test_a_resumed_stream_may_begin_anywhere(checker: Checker, seen: int) -> None:
    check(checker, response_stream()[seen:], RESUME)


def test_a_stream_may_end_with_an_error(checker: Checker) -> None:
    check(checker, [*response_stream()[:5], event("error", samples.error("server_error"))])


BAD: dict[str, Any] = {
    "begins with": lambda events: events[1:],
    "has number 5 after 3": lambda events: events[:4] + events[5:],
    "before the response does": lambda events: events[:-1],
    "its deltas another": lambda events: renumbered(events[:4] + events[5:]),
    "before .* was added": lambda events: renumbered(events[:2] + events[3:]),
    "comes twice": lambda events: renumbered(events[:3] + events[2:]),
    "comes while an item is open": lambda events: renumbered([*events[:5], events[1], *events[5:]]),
    "ends while items are open": lambda events: renumbered(events[:8] + events[9:]),
    "after the end": lambda events: [*events, event("error", samples.error())],
    "not what the items said": lambda events: changed(
        events, 9, response={**samples.response(), "output": [samples.item(text="Bye")]}
    ),
    "usage.*must not be null": lambda events: changed(events, 9, response={**samples.response(), "usage": None}),
    "'id' is a required property": lambda events: changed(events, 0, response={}),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_stream_is_caught(checker: Checker, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check(checker, BAD[fault](response_stream()))

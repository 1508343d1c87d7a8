"""What is denied is noted without waiting, counted when it comes in bursts, and bounded whatever comes."""

from typing import Any

import pytest

from app.audit.denials import LIMIT, UNCOUNTED, Denials
from tests.fakes.clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock(now=100)


@pytest.fixture
def denials(clock: SetClock) -> Denials:
    return Denials(clock)


def note(denials: Denials, number: int = 1, **more: Any) -> None:
    more = {"request_id": f"req_{number}", "address": f"10.0.{number // 256}.{number % 256}", **more}
    denials.note("access.denied", "invalid_api_key", **more)


def test_a_denial_becomes_a_record_of_what_is_known(denials: Denials) -> None:
    note(denials, key_id="key_1", project_id="proj_1", object_id="thread_1")
    expected = {"at": 100, "request_id": "req_1", "key_id": "key_1", "project_id": "proj_1", "address": "10.0.0.1"}
    expected |= {"action": "access.denied", "object_id": "thread_1", "outcome": "invalid_api_key", "times": 1}
    assert denials.take() == [expected]
    assert denials.take() == []


def test_the_same_denial_again_is_counted_under_its_first_request(denials: Denials, clock: SetClock) -> None:
    note(denials, address="10.0.0.9")
    clock.move(1)
    for number in range(2, 5001):
        note(denials, number, address="10.0.0.9")
    [record] = denials.take()
    assert (record["at"], record["request_id"], record["times"]) == (100, "req_1", 5000)


@pytest.mark.parametrize("what", ["address", "key_id", "project_id", "object_id"])
def test_denials_that_differ_are_records_of_their_own(denials: Denials, what: str) -> None:
    note(denials)
    note(denials, **{what: "another"})
    assert [record["times"] for record in denials.take()] == [1, 1]


def test_beyond_the_limit_denials_are_only_counted(denials: Denials) -> None:
    for number in range(LIMIT + 250):
        note(denials, number)
    note(denials, 0)
    records = denials.take()
    assert len(records) == LIMIT + 1
    assert [(records[0]["times"], records[-1]["outcome"], records[-1]["times"])] == [(2, UNCOUNTED, 250)]
    assert records[-1]["address"] is None


@pytest.mark.parametrize("text", ["sk-" + "x" * 64, "two words", "nul\x00", "", "Börse", 'a"b', "a\nb"])
def test_what_is_not_plain_and_short_is_not_kept(denials: Denials, text: str) -> None:
    note(denials, address=text, key_id=text, project_id=text, object_id=text)
    [record] = denials.take()
    assert [record[name] for name in ("address", "key_id", "project_id", "object_id")] == [None] * 4


def test_what_is_given_back_comes_before_what_came_since_and_stays_within_the_limit(clock: SetClock) -> None:
    denials = Denials(clock, limit=3)
    for number in (1, 2, 2, 3, 4):
        note(denials, number)
    taken = denials.take()
    clock.move(1)
    for number in (5, 2, 6):
        note(denials, number)
    denials.give_back(taken)
    assert [(one["at"], one["request_id"], one["times"]) for one in denials.take()] == [
        (100, "req_1", 1),
        (100, "req_2", 3),
        (100, "req_3", 1),
        (100, None, 3),  # the fourth, the fifth and the sixth
    ]

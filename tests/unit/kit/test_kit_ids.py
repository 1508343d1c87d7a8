"""Ids: prefix and 24 alphanumerics, sorted as they were made, never twice, whatever the clock and the threads do."""

import re
import string
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.ids import SUFFIX_LENGTH, IdSource, millis_of, new_completion_id, new_id


class Clock:
    """Milliseconds as a test gives them."""

    def __init__(self, *millis: int) -> None:
        self._millis = list(millis)

    def __call__(self) -> int:
        """Return the next moment in nanoseconds; the last one stays."""
        now = self._millis.pop(0) if len(self._millis) > 1 else self._millis[0]
        return now * 1_000_000


def test_an_id_is_a_prefix_and_24_alphanumerics() -> None:
    for prefix in ("asst", "thread", "msg", "run", "step", "call"):
        given_prefix, underscore, suffix = new_id(prefix).rpartition("_")
        assert (given_prefix, underscore) == (prefix, "_")
        assert len(suffix) == SUFFIX_LENGTH == 24
        assert set(suffix) <= set(string.ascii_letters + string.digits)


def test_ids_of_one_source_sort_as_they_were_made() -> None:
    source = IdSource()
    made = [source.new("msg") for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_that_are_made_at_once_are_all_different() -> None:
    source = IdSource()
    with ThreadPoolExecutor(8) as pool:
        made = [
            name for names in pool.map(lambda _: [source.new("x") for _ in range(2000)], range(8)) for name in names
        ]
    assert len(set(made)) == 16_000


@given(st.lists(st.integers(0, 62**8 - 1), min_size=2, max_size=30))
def test_a_clock_that_jumps_breaks_no_order(millis: list[int]) -> None:
    source = IdSource(clock_ns=Clock(*millis))
    made = [source.new("x") for _ in range(len(millis) + 3)]
    assert made == sorted(set(made))


def test_a_later_moment_sorts_behind_whatever_process_made_it() -> None:
    earlier = [IdSource(clock_ns=Clock(1_800_000_000_000)).new("x") for _ in range(50)]
    later = [IdSource(clock_ns=Clock(1_800_000_000_001)).new("x") for _ in range(50)]
    assert max(earlier) < min(later)


def test_two_processes_in_the_same_millisecond_do_not_collide() -> None:
    made = {IdSource(clock_ns=Clock(1_800_000_000_000)).new("x") for _ in range(5000)}
    assert len(made) == 5000


def test_the_next_id_of_a_millisecond_cannot_be_guessed_from_the_last() -> None:
    source = IdSource(clock_ns=Clock(1_800_000_000_000))
    made = [source.new("x") for _ in range(200)]
    steps = {int.from_bytes(b.encode()) - int.from_bytes(a.encode()) for a, b in pairwise(made)}
    assert len(steps) > 190


def test_a_chat_completions_id_is_written_as_clients_know_it() -> None:
    made = [new_completion_id() for _ in range(50)]
    assert all(re.fullmatch(r"chatcmpl-[0-9A-Za-z]{24}", one) for one in made)
    assert made == sorted(set(made))


def test_an_id_tells_when_it_was_made() -> None:
    for millis in (0, 1, 1_800_000_000_123, 62**8 - 1):
        assert millis_of(IdSource(clock_ns=Clock(millis)).new("x")) == millis
    for other in ("", "x_", "x_1", "call_abc123", f"x_{'-' * 24}", f"x_{'0' * 25}"):
        with pytest.raises(ValueError):
            millis_of(other)

"""The token bucket: never more than its capacity and what refilled, in any window, and nothing lost to rounding."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.kit.token_bucket import MINUTE_NS, TokenBucket

CAPACITIES = st.integers(1, 10_000_000)
START_NS = st.integers(0, 10**18)
STEPS = st.lists(st.tuples(st.integers(0, 3 * MINUTE_NS), st.integers(1, 5000)), min_size=1, max_size=40)


@given(CAPACITIES, START_NS, STEPS)
def test_no_window_sees_more_than_the_capacity_and_what_refilled(
    capacity: int, start_ns: int, steps: list[tuple[int, int]]
) -> None:
    bucket, now_ns = TokenBucket(capacity, start_ns), start_ns
    taken: list[tuple[int, int]] = []
    for pause_ns, wanted in steps:
        now_ns += pause_ns
        if bucket.wait_ns(wanted, now_ns) == 0:
            bucket.take(wanted, now_ns)
            taken.append((now_ns, wanted))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            window_ns = taken[last][0] - taken[first][0]
            sum_taken = sum(tokens for _, tokens in taken[first : last + 1])
            assert sum_taken <= capacity + Fraction(capacity * window_ns, MINUTE_NS)


@given(CAPACITIES, START_NS, STEPS)
def test_it_holds_exactly_what_arithmetic_without_rounding_says(
    capacity: int, start_ns: int, steps: list[tuple[int, int]]
) -> None:
    bucket, now_ns, level = TokenBucket(capacity, start_ns), start_ns, Fraction(capacity)
    for pause_ns, tokens in steps:
        now_ns += pause_ns
        level = min(Fraction(capacity), level + Fraction(capacity * pause_ns, MINUTE_NS))
        signed = tokens if tokens % 3 else -tokens
        bucket.take(signed, now_ns)
        level = min(Fraction(capacity), level - signed)
        assert bucket.left(now_ns) == level.__floor__()
        assert bucket.full_in_ns(now_ns) == -(-(capacity - level) * MINUTE_NS // capacity)


@given(CAPACITIES, START_NS, STEPS, st.integers(1, 5000))
def test_who_waits_as_long_as_was_said_finds_the_tokens_and_not_a_nanosecond_before(
    capacity: int, start_ns: int, steps: list[tuple[int, int]], wanted: int
) -> None:
    bucket, now_ns = TokenBucket(capacity, start_ns), start_ns
    for pause_ns, tokens in steps:
        now_ns += pause_ns
        bucket.take(tokens, now_ns)
    wait_ns = bucket.wait_ns(wanted, now_ns)
    if wanted > capacity:
        assert wait_ns is None
        return
    assert wait_ns is not None
    assert bucket.left(now_ns + wait_ns) >= wanted
    if wait_ns:
        assert bucket.left(now_ns + wait_ns - 1) < wanted


def test_a_hundred_thousand_small_steps_refill_what_one_large_step_does() -> None:
    asked_often, asked_once = TokenBucket(7, 0), TokenBucket(7, 0)
    for bucket in (asked_often, asked_once):
        bucket.take(7, 0)
    for now_ns in range(0, MINUTE_NS, MINUTE_NS // 100_000):
        asked_often.take(0, now_ns)
    for now_ns in (MINUTE_NS // 7 * 5, MINUTE_NS - 1, MINUTE_NS):
        assert asked_often.left(now_ns) == asked_once.left(now_ns)
    assert asked_often.left(MINUTE_NS - 1) == 6
    assert asked_often.left(MINUTE_NS) == 7


def test_what_is_owed_is_waited_for() -> None:
    bucket = TokenBucket(60, 0)
    bucket.take(90, 0)
    assert bucket.left(0) == -30
    assert bucket.wait_ns(1, 0) == 31 * 10**9


def test_giving_back_never_makes_it_more_than_full() -> None:
    bucket = TokenBucket(10, 0)
    bucket.take(10, 0)
    bucket.take(-10, MINUTE_NS)
    assert bucket.left(MINUTE_NS) == 10
    assert bucket.wait_ns(11, MINUTE_NS) is None
    bucket.take(10, MINUTE_NS)
    assert bucket.left(MINUTE_NS) == 0


def test_another_capacity_lacks_the_same_tokens_and_owes_none() -> None:
    bucket = TokenBucket(100, 0)
    bucket.take(30, 0)
    assert bucket.resized(200, 0).left(0) == 170
    assert bucket.resized(20, 0).left(0) == 0
    lefts = [bucket.resized(capacity, 0).left(0) for capacity in range(1, 200)]
    assert all(after >= before for before, after in pairwise(lefts))

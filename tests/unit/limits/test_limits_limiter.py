"""Keys and projects under limits: all or nothing, never too much, nothing lost, whatever comes between."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.errors import InsufficientQuota, RateLimited
from app.keys.grant import Grant
from app.keys.limits import UNLIMITED, Limits
from app.limits.account import IDLE_NS
from app.limits.ledger import KeyTotal, Ledger
from app.limits.limiter import Limiter, Reservation
from tests.fakes.two_clocks import TwoClocks

NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())


def grant(name: str = "key_one", limits: Limits = UNLIMITED, project_limits: Limits = UNLIMITED) -> Grant:
    return Grant(key_id=name, project_id="proj_one", scopes=frozenset(), limits=limits, project_limits=project_limits)


def limiter_at(clock: TwoClocks, **defaults: int) -> Limiter:
    return Limiter(clock, Ledger(clock), Limits(**defaults))


def admitted(ask: Callable[[], Any], times: int) -> int:
    """Return how many of so many requests pass."""
    passed = 0
    for _ in range(times):
        try:
            ask()
        except RateLimited:
            continue
        passed += 1
    return passed


def refused(ask: Callable[[], Any]) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        ask()
    return caught.value


def test_a_key_makes_as_many_requests_as_it_may_and_one_more_when_one_has_refilled() -> None:
    clock = TwoClocks()
    limiter, key = limiter_at(clock), grant(limits=Limits(requests_per_minute=3))
    assert admitted(lambda: limiter.admit_request(key), 10) == 3
    clock.pass_time(19.9)
    assert admitted(lambda: limiter.admit_request(key), 10) == 0
    clock.pass_time(0.1)
    assert admitted(lambda: limiter.admit_request(key), 10) == 1


def test_a_refusal_has_the_text_that_programs_parse_and_says_when_to_come_back() -> None:
    limiter, key = limiter_at(TwoClocks()), grant(limits=Limits(requests_per_minute=3))
    admitted(lambda: limiter.admit_request(key), 3)
    error = refused(lambda: limiter.admit_request(key))
    assert error.message == (
        "Rate limit reached for this key on requests per min (RPM): Limit 3, Used 3, Requested 1. "
        "Please try again in 20s."
    )
    assert (error.code, error.type, error.retry_after_s) == ("rate_limit_exceeded", "rate_limit_error", 20)


def test_a_key_without_limits_of_its_own_has_the_defaults_and_one_with_some_has_only_these() -> None:
    limiter = limiter_at(TwoClocks(), requests_per_minute=2)
    own = grant("key_own", Limits(tokens_per_minute=5))
    assert admitted(lambda: limiter.admit_request(grant()), 5) == 2
    assert admitted(lambda: limiter.admit_request(own), 5) == 5


def test_what_the_project_refuses_costs_the_key_nothing() -> None:
    limiter = limiter_at(TwoClocks())
    bounds, wide = Limits(requests_per_minute=2), Limits(requests_per_minute=5)
    one, other = grant("key_one", wide, bounds), grant("key_two", wide, bounds)
    assert admitted(lambda: limiter.admit_request(one), 1) == 1
    assert admitted(lambda: limiter.admit_request(other), 9) == 1
    assert limiter.remaining(other)[0].requests_per_minute == 4
    assert "for this project on requests per min" in refused(lambda: limiter.admit_request(one)).message


def test_what_one_bound_of_a_run_refuses_is_charged_to_none() -> None:
    limiter = limiter_at(TwoClocks())
    key = grant(
        limits=Limits(tokens_per_minute=100, concurrent_runs=2, tokens_per_day=1000),
        project_limits=Limits(tokens_per_month=50),
    )
    before = limiter.remaining(key)
    refused(lambda: limiter.admit_run(key, 60))
    assert limiter.remaining(key) == before


@pytest.mark.parametrize("of_project", [False, True])
def test_of_two_bounds_the_one_that_takes_longest_is_told(of_project: bool) -> None:
    limiter, busy, spent = limiter_at(TwoClocks()), Limits(concurrent_runs=1), Limits(tokens_per_month=10)
    key = grant(limits=busy if of_project else spent, project_limits=spent if of_project else busy)
    limiter.admit_run(key, 10)
    error = refused(lambda: limiter.admit_run(key, 10))
    assert f"for this {'project' if of_project else 'key'} on tokens per month" in error.message


def test_what_is_reserved_is_not_there_for_others_of_the_day() -> None:
    limiter, key = limiter_at(TwoClocks()), grant(limits=Limits(tokens_per_day=100))
    first = limiter.admit_run(key, 60)
    assert "Limit 100, Used 60, Requested 60" in refused(lambda: limiter.admit_run(key, 60)).message
    first.settle(10, 0)
    limiter.admit_run(key, 60)


def test_a_run_holds_a_place_and_its_tokens_until_it_ends() -> None:
    limiter = limiter_at(TwoClocks())
    key = grant(limits=Limits(concurrent_runs=1, tokens_per_minute=1000))
    run = limiter.admit_run(key, 600)
    assert limiter.remaining(key)[0] == Limits(concurrent_runs=0, tokens_per_minute=400)
    assert refused(lambda: limiter.admit_run(key, 1)).message == (
        "Rate limit reached for this key on concurrent runs: Limit 1, Used 1, Requested 1. Please try again in 5s."
    )
    run.settle(100, 50)
    assert limiter.remaining(key)[0] == Limits(concurrent_runs=1, tokens_per_minute=850)


def test_a_run_that_used_more_than_was_reserved_makes_the_next_one_wait_longer() -> None:
    clock = TwoClocks()
    limiter, key = limiter_at(clock), grant(limits=Limits(tokens_per_minute=600))
    limiter.admit_run(key, 100).settle(400, 500)
    error = refused(lambda: limiter.admit_run(key, 60))
    assert error.message == (
        "Rate limit reached for this key on tokens per min (TPM): Limit 600, Used 900, Requested 60. "
        "Please try again in 36s."
    )
    clock.pass_time(36)
    limiter.admit_run(key, 60)


def test_a_reservation_is_settled_or_released_once() -> None:
    limiter = limiter_at(TwoClocks())
    key = grant(limits=Limits(concurrent_runs=3, tokens_per_minute=100, tokens_per_day=100))
    released, settled = limiter.admit_run(key, 30), limiter.admit_run(key, 30)
    released.release()
    released.settle(1, 1)
    settled.settle(10, 5)
    settled.settle(10, 5)
    settled.release()
    assert limiter.remaining(key)[0] == Limits(concurrent_runs=3, tokens_per_minute=85, tokens_per_day=85)
    counts = limiter.ledger.counts("key_one", "proj_one")
    assert (counts.prompt_tokens, counts.completion_tokens, counts.runs) == (10, 5, 1)


def test_a_run_larger_than_the_limit_is_refused_for_good() -> None:
    limiter, key = limiter_at(TwoClocks()), grant(limits=Limits(tokens_per_minute=100))
    error = refused(lambda: limiter.admit_run(key, 101))
    assert error.message == (
        "Request too large for this key on tokens per min (TPM): Limit 100, Requested 101. "
        "The input or output tokens must be reduced in order to run successfully."
    )
    assert error.retry_after_s == float("inf")


def test_a_used_up_day_is_insufficient_quota_until_the_next_one_begins() -> None:
    clock = TwoClocks(NOON)
    limiter, key = limiter_at(clock), grant(limits=Limits(tokens_per_day=100))
    limiter.admit_run(key, 10).settle(60, 35)
    error = refused(lambda: limiter.admit_run(key, 10))
    assert isinstance(error, InsufficientQuota)
    assert error.message == (
        "You exceeded your current quota for this key on tokens per day (TPD): Limit 100, Used 95, Requested 10. "
        "It is renewed at 2026-11-23T00:00:00Z."
    )
    assert (error.code, error.type, error.retry_after_s) == ("insufficient_quota", "insufficient_quota", 12 * 3600)
    clock.pass_time(12 * 3600 - 1)
    refused(lambda: limiter.admit_run(key, 10))
    clock.pass_time(1)
    limiter.admit_run(key, 100)


def test_a_month_ends_with_the_month_whatever_the_day() -> None:
    clock = TwoClocks(int(datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC).timestamp()))
    limiter, key = limiter_at(clock), grant(limits=Limits(tokens_per_month=100))
    limiter.admit_run(key, 100).settle(100, 0)
    assert "renewed at 2027-01-01T00:00:00Z" in refused(lambda: limiter.admit_run(key, 1)).message
    clock.pass_time(30)
    limiter.admit_run(key, 1)


def test_a_wall_clock_that_jumps_gives_no_minute_anew() -> None:
    clock = TwoClocks(NOON)
    limiter, key = limiter_at(clock), grant(limits=Limits(requests_per_minute=5, tokens_per_minute=50))
    admitted(lambda: limiter.admit_request(key), 5)
    limiter.admit_run(key, 50)
    for second in (NOON + 7 * 86_400, NOON - 7 * 86_400, NOON):
        clock.set_wall(second)
        refused(lambda: limiter.admit_request(key))
        refused(lambda: limiter.admit_run(key, 1))


def test_a_clock_that_jumped_and_is_set_right_finds_the_quota_as_it_was_once_the_store_is_asked() -> None:
    clock = TwoClocks(NOON)
    limiter, key = limiter_at(clock), grant(limits=Limits(tokens_per_day=100))
    limiter.admit_run(key, 90).settle(90, 0)
    clock.set_wall(NOON + 5 * 86_400)
    limiter.admit_run(key, 40).settle(40, 0)
    clock.set_wall(NOON)
    ledger = limiter.ledger
    ledger.today()
    assert ledger.stale
    ledger.know(ledger.today(), [])  # nothing was stored yet: all that is known waits in memory, by day
    assert limiter.remaining(key)[0].tokens_per_day == 10
    assert not ledger.stale


def test_what_waits_to_be_stored_counts_for_its_own_day_and_month() -> None:
    clock = TwoClocks(int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()))
    limiter, key = limiter_at(clock), grant(limits=Limits(tokens_per_day=100, tokens_per_month=100))
    for _ in range(3):
        limiter.admit_run(key, 10).settle(10, 0)
        clock.pass_time(86_400)
    limiter.ledger.know(limiter.ledger.today(), [])
    assert limiter.remaining(key)[0] == Limits(tokens_per_day=100, tokens_per_month=80)


def test_what_a_store_knows_of_others_counts() -> None:
    clock = TwoClocks(NOON)
    limiter = limiter_at(clock)
    key = grant(limits=Limits(tokens_per_day=100), project_limits=Limits(tokens_per_month=1000))
    limiter.admit_run(key, 10).settle(10, 0)
    limiter.ledger.know(
        limiter.ledger.today(), [KeyTotal("proj_one", "key_one", 20, 300), KeyTotal("proj_one", "key_two", 5, 400)]
    )
    of_key, of_project = limiter.remaining(key)
    assert (of_key.tokens_per_day, of_project.tokens_per_month) == (70, 290)


def test_streams_are_counted_until_their_place_is_given_back() -> None:
    limiter, key = limiter_at(TwoClocks()), grant(limits=Limits(concurrent_streams=2))
    first, _ = limiter.admit_stream(key), limiter.admit_stream(key)
    assert "concurrent streams: Limit 2, Used 2" in refused(lambda: limiter.admit_stream(key)).message
    first.release()
    first.release()
    limiter.admit_stream(key)
    refused(lambda: limiter.admit_stream(key))


def test_other_limits_hold_from_the_next_request_and_do_not_forget_what_was_used() -> None:
    limiter = limiter_at(TwoClocks())
    wide, narrow = Limits(requests_per_minute=100), Limits(requests_per_minute=10)
    assert admitted(lambda: limiter.admit_request(grant(limits=wide)), 8) == 8
    assert admitted(lambda: limiter.admit_request(grant(limits=narrow)), 100) == 2
    assert admitted(lambda: limiter.admit_request(grant(limits=wide)), 1000) == 90


def test_a_run_that_a_stopped_process_left_counts_though_there_is_no_room_for_it() -> None:
    limiter = limiter_at(TwoClocks())
    key = grant(limits=Limits(concurrent_runs=1, tokens_per_minute=100))
    resumed = [limiter.resume_run("key_one", "proj_one") for _ in range(2)]
    refused(lambda: limiter.admit_run(key, 1))
    for run in resumed:
        run.settle(10, 20)
    assert limiter.remaining(key)[0] == Limits(concurrent_runs=1, tokens_per_minute=40)


def test_idle_keys_are_forgotten_and_busy_ones_are_not() -> None:
    clock = TwoClocks()
    limiter = limiter_at(clock, requests_per_minute=600, concurrent_runs=5)
    held = limiter.admit_run(grant("key_busy"), 1)
    for number in range(1000):
        limiter.admit_request(grant(f"key_{number}"))
    assert limiter.accounts > 1000
    clock.pass_time(IDLE_NS / 10**9 + 1)
    for number in range(1000):
        limiter.admit_request(grant(f"key_new{number % 3}"))
    assert limiter.accounts <= 6
    assert limiter.remaining(grant("key_busy"))[0].concurrent_runs == 4
    held.settle(0, 0)


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["key_one", "key_two"])), max_size=120))
def test_keys_of_one_project_never_get_more_than_its_limit_and_refill_together(
    limit: int, calls: list[tuple[float, str]]
) -> None:
    clock = TwoClocks()
    limiter, project = limiter_at(clock), Limits(requests_per_minute=limit)
    passed, started = 0, clock.monotonic()
    for pause_s, name in calls:
        clock.pass_time(pause_s)
        passed += admitted(lambda name=name: limiter.admit_request(grant(name, project_limits=project)), 2)
        assert passed <= limit + limit * (clock.monotonic() - started) / 60 + 1e-6


class Runs(RuleBasedStateMachine):
    """Runs come, end and jump the clock in any order; the books are right at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = TwoClocks(NOON)
        self.limiter = limiter_at(self.clock)
        self.limits = Limits(concurrent_runs=3, tokens_per_day=500)
        self.key = grant(limits=self.limits, project_limits=Limits(concurrent_runs=4, tokens_per_month=2000))
        self.open: list[tuple[Reservation, int]] = []
        self.used: dict[int, int] = {}

    @rule(estimate=st.integers(0, 300))
    def accept(self, estimate: int) -> None:
        before = self.limiter.remaining(self.key)
        try:
            self.open.append((self.limiter.admit_run(self.key, estimate), estimate))
        except RateLimited:
            assert self.limiter.remaining(self.key) == before

    @precondition(lambda self: self.open)
    @rule(prompt=st.integers(0, 100), completion=st.integers(0, 100), settles=st.booleans())
    def end(self, prompt: int, completion: int, settles: bool) -> None:
        reservation, _ = self.open.pop()
        if settles:
            reservation.settle(prompt, completion)
            day = self.clock.now() // 86_400
            self.used[day] = self.used.get(day, 0) + prompt + completion
        else:
            reservation.release()

    @rule(hours=st.integers(0, 30))
    def wait(self, hours: int) -> None:
        self.clock.pass_time(hours * 3600)

    @invariant()
    def books_are_right(self) -> None:
        assert len(self.open) <= 3
        reserved = sum(estimate for _, estimate in self.open)
        today = self.clock.now() // 86_400
        of_key = self.limiter.remaining(self.key)[0]
        assert of_key.concurrent_runs == 3 - len(self.open)
        assert of_key.tokens_per_day == max(0, 500 - reserved - self.used.get(today, 0))


TestRuns = Runs.TestCase

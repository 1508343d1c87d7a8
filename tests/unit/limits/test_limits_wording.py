"""Durations, calendar and headers, as clients read them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.keys.limits import Limits
from app.limits.account import Account
from app.limits.calendar import day_number, day_of, day_text, moment, month_start, next_month
from app.limits.headers import rate_headers
from app.limits.refusals import duration

SECOND = 10**9


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "1ms"),
        (0.012, "12ms"),
        (0.9991, "1s"),
        (1.5, "1.5s"),
        (20, "20s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (86.4, "1m27s"),
        (7200.5, "2h0m1s"),
    ],
)
def test_durations_look_like_the_originals_and_are_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.dates(date(1970, 1, 1), date(2200, 1, 1)))
def test_days_and_months_are_those_of_the_calendar(day: date) -> None:
    number = day_number(day.isoformat())
    assert day_text(number) == day.isoformat()
    assert day_of(int(datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC).timestamp())) == number
    assert day_text(month_start(number)) == day.replace(day=1).isoformat()
    after = next_month(number)
    assert day_text(after - 1)[:7] == day.isoformat()[:7]
    assert day_text(after) == (day.replace(day=1) + timedelta(days=31)).replace(day=1).isoformat()
    assert moment(number) == f"{day.isoformat()}T00:00:00Z"


def headers(key: Limits, project: Limits, *, requests: int = 0, tokens: int = 0) -> dict[str, str]:
    accounts = Account(key, 0), Account(project, 0)
    for account in accounts:
        if account.requests is not None:
            account.requests.take(requests, 0)
        account.take_tokens(tokens, 0)
    return {name.decode(): value.decode() for name, value in rate_headers(*accounts, 0)}


def test_an_answer_says_what_is_left_and_when_it_is_all_there_again() -> None:
    limits = Limits(requests_per_minute=60, tokens_per_minute=60_000)
    assert headers(limits, Limits(), requests=2, tokens=90_000) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "58",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m30s",
    }


def test_the_bound_that_has_less_left_is_told() -> None:
    wide, narrow = Limits(requests_per_minute=60), Limits(requests_per_minute=10)
    for key, project in ((wide, narrow), (narrow, wide)):
        assert headers(key, project, requests=1)["x-ratelimit-remaining-requests"] == "9"


def test_what_is_not_limited_has_no_headers() -> None:
    assert headers(Limits(concurrent_runs=1), Limits()) == {}
    assert len(headers(Limits(), Limits(tokens_per_minute=5))) == 3

"""Which snapshots are kept."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ops.backup.manifest import at_time, chosen, id_at, new_id, time_of
from ops.backup.retention import Retention, dropped

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def name(age_s: float) -> str:
    return id_at(NOW - age_s)


def kept(names: list[str], bad: set[str] = frozenset(), keep: Retention = Retention()) -> list[str]:  # type: ignore[assignment]  # noqa: B008 - immutable
    gone = set(dropped(names, lambda one: one not in bad, NOW, keep))
    return [one for one in sorted(names) if one not in gone]


def test_every_minute_of_a_day_is_kept() -> None:
    names = [name(minute * MINUTE) for minute in range(1440)]
    assert len(kept(names)) == 1440


def test_after_a_day_the_newest_of_each_hour_is_kept_then_of_each_day_then_of_each_month() -> None:
    names = [name(number * 30 * MINUTE) for number in range(2 * 24 * 400)]
    left = kept(names)
    ages = [NOW - time_of(one) for one in left]
    assert sum(age <= DAY for age in ages) == 2 * 24 + 1
    assert sum(DAY < age <= 7 * DAY for age in ages) in (6 * 24, 6 * 24 - 1)
    assert sum(7 * DAY < age <= 30 * DAY for age in ages) in (22, 23)
    assert sum(age > 30 * DAY for age in ages) in (11, 12)
    older = [one for one in left if NOW - time_of(one) > 8 * DAY]
    assert {one[9:13] for one in older} == {"2330"}, "the newest of a day is its last"


def test_the_newest_good_one_stays_whatever_its_age_and_so_does_all_that_is_newer() -> None:
    old, newer_bad = name(900 * DAY), name(800 * DAY)
    assert kept([old, newer_bad], bad={newer_bad}) == [old, newer_bad]


def test_nothing_is_dropped_where_nothing_is_good() -> None:
    names = [name(day * DAY) for day in range(100, 200)]
    assert kept(names, bad=set(names)) == sorted(names)


def test_a_bad_snapshot_does_not_stand_for_its_hour() -> None:
    base = NOW - 3 * DAY - (NOW % HOUR)
    good, bad = id_at(base + 10 * MINUTE), id_at(base + 50 * MINUTE)
    assert kept([good, bad, name(0)], bad={bad}) == [good, name(0)]


@given(
    ages=st.lists(st.integers(0, 500 * 86_400), min_size=1, max_size=60, unique=True),
    bad=st.sets(st.integers(0, 59)),
)
def test_a_good_snapshot_is_always_left_if_there_was_one_and_it_is_the_newest(ages: list[int], bad: set[int]) -> None:
    names = sorted(name(age) for age in ages)
    damaged = {one for number, one in enumerate(names) if number in bad}
    left = kept(names, bad=damaged)
    good = [one for one in names if one not in damaged]
    if good:
        assert max(good) in left
        assert set(names[names.index(max(good)) :]) <= set(left)
    else:
        assert left == names
    assert kept(left, bad=damaged) == left, "what was kept once is kept again"


def test_a_snapshot_is_named_after_the_newest_one_though_the_clock_went_back() -> None:
    newest = id_at(NOW)
    assert new_id(NOW - 3600, newest) > newest
    assert new_id(NOW, newest) > newest
    assert new_id(NOW + 1, newest) == id_at(NOW + 1)
    assert time_of(id_at(NOW + 0.123)) == NOW + 0.123


def test_a_snapshot_is_found_by_its_time_or_the_beginning_of_its_id() -> None:
    names = [name(age) for age in (300, 200, 100)]
    assert chosen(names, "latest") == names[2]
    assert chosen(names, names[0]) == names[0]
    assert chosen(names, names[1][:15]) == names[1]
    assert chosen(names, "2026") is None
    assert at_time(names, NOW - 150) == names[1]
    assert at_time(names, NOW - 200) == names[1]
    assert at_time(names, NOW - 1000) is None
    assert timedelta(seconds=NOW - time_of(names[0])) == timedelta(minutes=5)

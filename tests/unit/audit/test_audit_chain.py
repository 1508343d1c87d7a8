"""The chain: whatever is changed, removed, inserted or swapped is found, at the position where it was done."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audit.chain import FIELDS, START, ChainBroken, Fault, Link, follow, hash_of, sealed

Row = tuple[Any, ...]

texts = st.one_of(st.none(), st.text(max_size=8))
numbers = st.integers(min_value=0, max_value=2**62)
records = st.tuples(
    numbers, texts, texts, texts, texts, st.text(max_size=8), texts, st.text(max_size=8), st.integers(1, 99)
)
chains = st.lists(records, min_size=1, max_size=12)
OTHER = st.one_of(st.none(), st.text(max_size=8), numbers, st.floats(), st.binary(max_size=8), st.booleans())


def rows_of(made: list[Row], link: Link = START) -> list[Row]:
    """Return sealed rows as the database has them."""
    links = sealed(link, made)
    return [(to.position, *fields, to.hash) for to, fields in zip(links, made, strict=True)]


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and (one == other or one != one)


@given(chains, st.data())
def test_an_untouched_chain_is_sound_in_whatever_parts_it_is_followed(made: list[Row], data: st.DataObject) -> None:
    rows = rows_of(made)
    end = Link(rows[-1][0], rows[-1][-1])
    assert follow(START, rows) == (end, None)
    cut = data.draw(st.integers(0, len(rows)))
    middle, fault = follow(START, rows[:cut])
    assert fault is None
    assert follow(middle, rows[max(cut - 1, 0) :]) == (end, None)


@given(chains, st.data())
def test_one_changed_cell_is_found_where_it_is(made: list[Row], data: st.DataObject) -> None:
    rows = rows_of(made)
    at = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(1, len(FIELDS)))
    value = data.draw(OTHER.filter(lambda other: not same(other, rows[at][column])))
    rows[at] = (*rows[at][:column], value, *rows[at][column + 1 :])
    sound, fault = follow(START, rows)
    assert fault == Fault(at + 1, "changed")
    assert sound.position == at


@given(chains, st.data())
def test_a_removed_row_is_found_unless_it_is_the_last(made: list[Row], data: st.DataObject) -> None:
    rows = rows_of(made)
    at = data.draw(st.integers(0, len(rows) - 1))
    _, fault = follow(START, rows[:at] + rows[at + 1 :])
    assert fault == (None if at == len(rows) - 1 else Fault(at + 1, "missing"))


@given(chains, records, st.data())
def test_a_row_put_between_is_found_with_whatever_position(made: list[Row], new: Row, data: st.DataObject) -> None:
    rows = rows_of(made)
    at = data.draw(st.integers(0, len(rows) - 1))
    before = rows[at - 1] if at else (0, START.hash)
    link = Link(before[0], before[-1])
    forged = rows_of([new], link)[0]
    if forged == rows[at]:
        return
    # Beside the real one, with its position: whichever of the two comes first.
    for two in ([forged, rows[at]], [rows[at], forged]):
        assert follow(START, rows[:at] + two + rows[at + 1 :])[1] == Fault(at + 1, "inserted")
    # With a position that no row has, or that is no position at all.
    for position in (at, -7, at + 0.5, "x", None):
        _, fault = follow(START, [*rows[:at], (position, *forged[1:]), *rows[at:]])
        assert fault is not None
        assert fault.reason == "inserted"
    # In its place, with all that follow moved up: their hashes stay those of another place.
    moved = [(row[0] + 1, *row[1:]) for row in rows[at:]]
    _, fault = follow(START, [*rows[:at], forged, *moved])
    assert fault == Fault(at + 2, "changed")


@given(chains.filter(lambda made: len(made) > 1), st.data())
def test_two_rows_that_changed_places_are_found_at_the_first(made: list[Row], data: st.DataObject) -> None:
    rows = rows_of(made)
    one = data.draw(st.integers(0, len(rows) - 2))
    other = data.draw(st.integers(one + 1, len(rows) - 1))
    rows[one], rows[other] = (rows[one][0], *rows[other][1:]), (rows[other][0], *rows[one][1:])
    assert follow(START, rows)[1] == Fault(one + 1, "changed")


@given(chains, st.data())
def test_a_chain_that_was_made_anew_is_sound_in_itself_and_not_with_an_anchor(
    made: list[Row], data: st.DataObject
) -> None:
    rows = rows_of(made)
    at = data.draw(st.integers(0, len(rows) - 1))
    anchor = Link(at + 1, rows[at][-1])
    forged = rows_of([(made[0][0] + 1, *made[0][1:]), *made[1:]])
    assert follow(START, forged)[1] is None
    assert follow(anchor, forged[at:])[1] == Fault(at + 1, "rewritten")
    assert follow(anchor, rows[at:])[1] is None
    assert follow(anchor, rows[at + 1 :])[1] == Fault(at + 1, "missing")
    assert follow(anchor, [])[1] == Fault(at + 1, "missing")


def test_the_hash_is_what_the_documents_say_so_that_anyone_can_compute_it() -> None:
    made = [
        (1_700_000_000, "req_1", "key_1", "proj_1", "10.0.0.1", "thread.create", "thread_1", "ok", 1),
        (1_700_000_001, None, None, None, "::1", "access.denied", None, 'Bör"se', 3),
    ]
    previous = bytes(32)
    for row in rows_of(made):
        record = dict(zip(FIELDS, row[:-1], strict=True))
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(previous + text.encode()).digest()
        assert previous.hex() == row[-1]
    assert hash_of.__doc__


@pytest.mark.parametrize("head", [Link(1.5, START.hash), Link("9", START.hash), Link(3, "abc"), Link(3, None)])  # type: ignore[arg-type]
def test_nothing_is_appended_to_a_link_that_nobody_sealed(head: Link) -> None:
    with pytest.raises(ChainBroken):
        sealed(head, [])

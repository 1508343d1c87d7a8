"""The text of a key: made so that it is recognised, and nothing else is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.keys.secret import hash_of, key_id_of, new_key, new_key_id
from app.kit.ids import ALPHABET

KEYS = [new_key(new_key_id()) for _ in range(50)]


def test_a_key_has_the_form_that_is_promised() -> None:
    for key in KEYS:
        assert re.fullmatch(r"sk-sov-[0-9A-Za-z]{12}-[0-9A-Za-z]{38}", key)
        assert key_id_of(key.encode()) == f"key_{key[7:19]}"
    assert len(set(KEYS)) == len({key[7:19] for key in KEYS}) == len({key[20:52] for key in KEYS}) == len(KEYS)


def test_a_new_secret_of_a_key_keeps_its_id() -> None:
    first, second = new_key("key_abcDEF012345"), new_key("key_abcDEF012345")
    assert first[:20] == second[:20] == "sk-sov-abcDEF012345-"
    assert first != second
    assert key_id_of(first.encode()) == key_id_of(second.encode()) == "key_abcDEF012345"


@given(st.sampled_from(KEYS), st.integers(0, 57), st.sampled_from(ALPHABET + "-_ .\n"))
def test_a_key_with_any_one_character_changed_is_no_key(key: str, place: int, other: str) -> None:
    changed = key[:place] + other + key[place + 1 :]
    assert (key_id_of(changed.encode()) is None) is (changed != key)


@given(st.sampled_from(KEYS), st.integers(0, 56))
def test_a_key_with_two_neighbours_swapped_is_no_key(key: str, place: int) -> None:
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert (key_id_of(swapped.encode()) is None) is (swapped != key)


@given(st.binary(max_size=80))
def test_whatever_is_presented_is_judged_without_a_fault(presented: bytes) -> None:
    assert key_id_of(presented) is None


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda key: key[:-1], lambda key: key + "0", str.strip])
def test_nearly_a_key_is_no_key(change: object) -> None:
    for key in KEYS:
        changed = change(key)  # type: ignore[operator]  # a function of strings
        assert (key_id_of(changed.encode()) is None) is (changed != key)


def test_a_hash_depends_on_the_whole_key_and_on_the_pepper() -> None:
    hashes = {hash_of(pepper, key.encode()) for pepper in (b"one", b"two") for key in KEYS}
    assert len(hashes) == 2 * len(KEYS)
    assert {len(one) for one in hashes} == {32}

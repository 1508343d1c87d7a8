"""Rotation and revocation as states, and to which second a secret is taken."""

import pytest

from app.errors import InvalidRequest
from app.keys.entry import Entry
from app.keys.grant import SURFACES, Grant, Refusal
from app.keys.state import KeyState

NOW = 1_700_000_000
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
FRESH = KeyState(id="key_1", generation=0, hash="first")
GRANT = Grant(key_id="key_1", project_id="proj_a", scopes=frozenset(SURFACES))


def test_a_rotation_takes_the_new_secret_and_the_old_one_until_the_grace_is_over() -> None:
    rotated = FRESH.rotated("second", NOW, 60)
    assert rotated == KeyState(
        id="key_1", generation=1, hash="second", previous_hash="first", previous_until=NOW + 60, rotated_at=NOW
    )


def test_a_rotation_without_grace_keeps_nothing_of_the_old_secret() -> None:
    rotated = FRESH.rotated("second", NOW, 0)
    assert (rotated.hash, rotated.previous_hash, rotated.previous_until) == ("second", None, None)


def test_of_two_rotations_only_the_last_secret_but_one_has_a_grace() -> None:
    twice = FRESH.rotated("second", NOW, 60).rotated("third", NOW + 1, 60)
    assert (twice.generation, twice.hash, twice.previous_hash) == (2, "third", "second")


def test_a_revocation_is_final_and_happens_once() -> None:
    revoked = FRESH.revoked(NOW)
    assert (revoked.generation, revoked.revoked_at) == (1, NOW)
    assert revoked.revoked(NOW + 5) is revoked
    with pytest.raises(InvalidRequest) as refused:
        revoked.rotated("second", NOW + 5, 60)
    assert (refused.value.message, refused.value.code) == ("API key 'key_1' was revoked.", "key_revoked")


@pytest.mark.parametrize(("second", "refusal"), [(-1, None), (0, Refusal.REPLACED), (1, Refusal.REPLACED)])
def test_an_old_secret_is_taken_until_the_second_in_which_its_grace_ends(second: int, refusal: Refusal | None) -> None:
    entry = Entry(grant=GRANT, hash=NEW, previous_hash=OLD, previous_until=NOW)
    assert entry.refusal(OLD, NOW + second) is refusal
    assert entry.refusal(NEW, NOW + second) is None


@pytest.mark.parametrize(("second", "refusal"), [(-1, None), (0, Refusal.EXPIRED), (1, Refusal.EXPIRED)])
def test_a_key_is_taken_until_the_second_in_which_it_expires(second: int, refusal: Refusal | None) -> None:
    grant = Grant(key_id="key_1", project_id="proj_a", scopes=frozenset(SURFACES), expires_at=NOW)
    assert Entry(grant=grant, hash=NEW).refusal(NEW, NOW + second) is refusal


@pytest.mark.parametrize("closed", [Refusal.REVOKED, Refusal.ARCHIVED])
def test_a_closed_key_says_why_only_to_whoever_has_its_secret(closed: Refusal) -> None:
    entry = Entry(grant=GRANT, hash=NEW, previous_hash=OLD, previous_until=NOW, closed=closed)
    assert entry.refusal(NEW, NOW) is closed
    assert entry.refusal(OLD, NOW - 1) is closed
    assert entry.refusal(OTHER, NOW) is Refusal.UNKNOWN


def test_models_that_a_grant_names_are_all_that_it_may_use() -> None:
    assert GRANT.may_use("anything")
    limited = Grant(key_id="k", project_id="p", scopes=frozenset(SURFACES), models=frozenset({"small"}))
    assert (limited.may_use("small"), limited.may_use("large")) == (True, False)

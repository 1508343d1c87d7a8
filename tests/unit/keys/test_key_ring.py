"""The ring: what it reads, what it keeps, and what it never keeps longer than it is true."""

import asyncio

import pytest
from msgspec.structs import replace

from app.errors import ApiError
from app.keys.grant import BOOTSTRAP_KEY, Grant, Refusal
from app.keys.limits import Limits
from app.keys.ring import KeyRing
from app.keys.secret import new_key, new_key_id
from tests.fakes.clock import SetClock
from tests.fakes.keys import PEPPER, KeptKeys

pytestmark = pytest.mark.anyio

API_KEY = "sk-the-bootstrap-key"
WAIT_S = 5


def ring_of(kept: KeptKeys, *, clock: SetClock | None = None, size: int = 100) -> KeyRing:
    return KeyRing(kept, clock or SetClock(), pepper=PEPPER, api_key=API_KEY, size=size)


@pytest.fixture
def kept(anyio_backend: str) -> KeptKeys:
    return KeptKeys()


async def test_a_key_is_read_once(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    grants = [await ring.admit(key) for _ in range(3)]
    assert all(isinstance(grant, Grant) and grant.project_id == "proj_a" for grant in grants)
    assert len(kept.asked) == 1


async def test_requests_that_come_at_once_wait_for_one_read(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    kept.gate.clear()
    asked = [asyncio.create_task(ring.admit(key)) for _ in range(64)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    kept.gate.set()
    grants = await asyncio.wait_for(asyncio.gather(*asked[1:]), WAIT_S)
    assert len(kept.asked) == 1
    assert all(isinstance(grant, Grant) for grant in grants)


async def test_what_cannot_be_a_key_is_refused_without_asking(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    for presented in (b"", b"None", b"sk-abc", key[:-1], key + b"0", key.swapcase(), key[:-1] + b"-"):
        assert await ring.admit(presented) is Refusal.UNKNOWN
    assert kept.asked == []


async def test_unknown_keys_are_not_kept(kept: KeptKeys) -> None:
    ring, key = ring_of(kept, size=2), kept.add()
    await ring.admit(key)
    for _ in range(5):
        assert await ring.admit(new_key(new_key_id()).encode()) is Refusal.UNKNOWN
    await ring.admit(key)
    assert len(kept.asked) == 6


async def test_the_key_that_was_used_longest_ago_makes_room(kept: KeptKeys) -> None:
    first, second, third = kept.add(), kept.add(), kept.add()
    ring = ring_of(kept, size=2)
    for key in (first, second, first, third, first):
        await ring.admit(key)
    assert len(kept.asked) == 3
    await ring.admit(second)
    assert len(kept.asked) == 4


async def test_another_secret_with_the_right_id_is_wrong(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    other = new_key(f"key_{key[7:19].decode()}").encode()
    assert await ring.admit(other) is Refusal.UNKNOWN
    assert isinstance(await ring.admit(key), Grant)
    assert await ring.admit(other) is Refusal.UNKNOWN


async def test_a_key_made_under_another_pepper_is_wrong(kept: KeptKeys) -> None:
    key = kept.add()
    assert await KeyRing(kept, SetClock(), pepper=PEPPER + b"x", api_key=None).admit(key) is Refusal.UNKNOWN
    assert await KeyRing(kept, SetClock(), pepper=None, api_key=None).admit(key) is Refusal.UNKNOWN


async def test_the_bootstrap_key_administers_the_default_project(kept: KeptKeys) -> None:
    ring = ring_of(kept)
    grant = await ring.admit(API_KEY.encode())
    assert isinstance(grant, Grant)
    assert (grant.key_id, grant.project_id, grant.is_admin) == (BOOTSTRAP_KEY, "proj_default", True)
    for other in (API_KEY[:-1], API_KEY + "x", API_KEY.upper()):
        assert await ring.admit(other.encode()) is Refusal.UNKNOWN


async def test_a_key_of_any_form_can_be_the_bootstrap_key(kept: KeptKeys) -> None:
    key = kept.add()
    ring = KeyRing(kept, SetClock(), pepper=PEPPER, api_key=key.decode())
    grant = await ring.admit(key)
    assert isinstance(grant, Grant)
    assert grant.key_id == BOOTSTRAP_KEY


async def test_an_administrator_acts_for_any_project_that_is_in_use(kept: KeptKeys) -> None:
    kept.projects["proj_b"] = Limits(requests_per_minute=5)
    ring = ring_of(kept)
    for key in (API_KEY.encode(), kept.add("admin")):
        for _ in range(2):
            grant = await ring.admit(key, "proj_b")
            assert isinstance(grant, Grant)
            assert (grant.project_id, grant.project_limits.requests_per_minute) == ("proj_b", 5)
        assert await ring.admit(key, "proj_nowhere") is Refusal.WRONG_PROJECT
    assert kept.asked.count("proj_b") == 1


async def test_every_other_key_acts_for_its_own_project_alone(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    assert isinstance(await ring.admit(key, "proj_a"), Grant)
    for project in ("proj_b", "proj_nowhere", "PROJ_A"):
        assert await ring.admit(key, project) is Refusal.WRONG_PROJECT
    assert not any(asked.startswith("proj") for asked in kept.asked)


async def test_a_key_that_was_changed_is_judged_anew_by_the_next_request(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    await ring.admit(key)
    [entry] = kept.entries.values()
    kept.entries[entry.grant.key_id] = replace(entry, closed=Refusal.REVOKED)
    ring.forget(entry.grant.key_id)
    for _ in range(2):
        assert await ring.admit(key) is Refusal.REVOKED
    assert len(kept.asked) == 2


async def test_a_read_that_began_before_a_change_is_neither_kept_nor_waited_for(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    kept.gate.clear()
    before = asyncio.create_task(ring.admit(key))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(kept.asked) == 1
    [entry] = kept.entries.values()
    kept.entries[entry.grant.key_id] = replace(entry, closed=Refusal.REVOKED)
    ring.forget(entry.grant.key_id)
    after = asyncio.create_task(ring.admit(key))
    await asyncio.sleep(0)
    kept.gate.set()
    assert await asyncio.wait_for(after, WAIT_S) is Refusal.REVOKED
    assert isinstance(await asyncio.wait_for(before, WAIT_S), Grant)
    assert await ring.admit(key) is Refusal.REVOKED


async def test_a_project_that_is_forgotten_takes_its_keys_along(kept: KeptKeys) -> None:
    inside, outside, ring = kept.add(), kept.add(project_id="proj_b"), ring_of(kept)
    for key in (inside, outside):
        await ring.admit(key)
    await ring.admit(API_KEY.encode(), "proj_a")
    kept.asked.clear()
    ring.forget("proj_a")
    for key in (inside, outside):
        await ring.admit(key)
    await ring.admit(API_KEY.encode(), "proj_a")
    assert kept.asked == [f"key_{inside[7:19].decode()}", "proj_a"]


async def test_what_another_process_changed_is_read_anew_once(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    await ring.admit(key)
    [entry] = kept.entries.values()
    kept.entries[entry.grant.key_id] = replace(entry, closed=Refusal.REVOKED)
    kept.changes[entry.grant.key_id] = 1
    await ring.look()
    for _ in range(2):
        assert await ring.admit(key) is Refusal.REVOKED
        await ring.look()
    assert len(kept.asked) == 2
    kept.entries[entry.grant.key_id] = entry
    kept.changes[entry.grant.key_id] = 2
    await ring.look()
    assert isinstance(await ring.admit(key), Grant)


async def test_nothing_is_kept_while_nobody_can_say_what_changed(kept: KeptKeys) -> None:
    key, ring = kept.add(), ring_of(kept)
    await ring.admit(key)
    kept.fail()
    with pytest.raises(ApiError):
        await ring.look()
    with pytest.raises(ApiError):
        await ring.admit(key)
    kept.failure = None
    assert isinstance(await ring.admit(key), Grant)


async def test_a_clock_that_jumps_is_followed_to_the_second(kept: KeptKeys) -> None:
    clock = SetClock()
    key, ring = kept.add(expires_at=clock.now() + 10), ring_of(kept, clock=clock)
    for jump, expected in ((0, None), (9, None), (1, Refusal.EXPIRED), (-1, None), (3600, Refusal.EXPIRED)):
        clock.move(jump)
        found = await ring.admit(key)
        assert (found if isinstance(found, Refusal) else None) is expected


async def test_uses_are_counted_for_keys_that_were_let_in(kept: KeptKeys) -> None:
    clock = SetClock()
    key, expired = kept.add(), kept.add(expires_at=clock.now())
    ring = ring_of(kept, clock=clock)
    for presented in (key, expired, API_KEY.encode(), new_key(f"key_{expired[7:19].decode()}").encode()):
        await ring.admit(presented)
    clock.move(2)
    await ring.admit(key)
    assert ring.take_used() == {f"key_{key[7:19].decode()}": clock.now()}
    assert ring.take_used() == {}

"""Keys over both databases: to the second under a clock that jumps, and on the very next request."""

import asyncio

import pytest
from sqlalchemy import select

from app.db.tables import AuditRow, table
from app.errors import InvalidRequest, NotFound
from app.keys.grant import SURFACES, Grant, Refusal
from app.keys.limits import Limits
from app.keys.opening import Keys
from app.keys.schemas import CreateProject, RotateKey, UpdateKey, UpdateProject
from app.kit.pages import PageQuery
from tests.fakes.callers import CALLER
from tests.fakes.clock import SetClock
from tests.integration.keys.conftest import Opening, new_key, verdict

pytestmark = pytest.mark.anyio


async def test_a_new_key_is_taken_with_what_it_may_do(keys: Keys) -> None:
    limits = Limits(requests_per_minute=5)
    project = await keys.projects.create(CALLER, CreateProject(name="rates", limits=Limits(tokens_per_day=100)))
    made = await new_key(keys, project_id=project.id, scopes=["read", "chat", "chat"], models=["m"], limits=limits)
    grant = await keys.ring.admit(made.key.encode())
    assert isinstance(grant, Grant)
    assert (grant.key_id, grant.project_id, grant.scopes) == (made.id, project.id, {"chat", "read"})
    assert (grant.models, grant.limits, grant.project_limits.tokens_per_day) == ({"m"}, limits, 100)
    assert made.scopes == ["chat", "read"]


async def test_a_key_may_do_all_but_administer_unless_it_is_said(keys: Keys) -> None:
    made = await new_key(keys)
    assert (made.project_id, made.scopes, made.models, made.expires_at) == ("proj_default", list(SURFACES), None, None)


@pytest.mark.parametrize("seconds", [1, 86_400])
async def test_a_key_expires_in_its_second_and_a_clock_that_goes_back_brings_it_back(
    keys: Keys, clock: SetClock, seconds: int
) -> None:
    key = (await new_key(keys, expires_at=clock.now() + seconds)).key
    for jump, expected in ((seconds - 1, None), (1, Refusal.EXPIRED), (-1, None), (10**6, Refusal.EXPIRED)):
        clock.move(jump)
        assert await verdict(keys, key) is expected


async def test_a_rotated_key_has_two_secrets_until_the_grace_is_over_to_the_second(keys: Keys, clock: SetClock) -> None:
    made = await new_key(keys)
    await verdict(keys, made.key)
    rotated = await keys.keys.rotate(CALLER, made.id, RotateKey(grace_s=60))
    assert (rotated.id, rotated.rotated_at, rotated.previous_until) == (made.id, clock.now(), clock.now() + 60)
    assert rotated.key != made.key
    for jump, expected in ((0, None), (59, None), (1, Refusal.REPLACED), (-1, None), (3600, Refusal.REPLACED)):
        clock.move(jump)
        assert await verdict(keys, made.key) is expected
        assert await verdict(keys, rotated.key) is None


async def test_a_rotation_without_grace_ends_the_old_secret_even_for_a_clock_that_goes_back(
    keys: Keys, clock: SetClock
) -> None:
    made = await new_key(keys)
    rotated = await keys.keys.rotate(CALLER, made.id, RotateKey(grace_s=0))
    clock.move(-3600)
    assert await verdict(keys, made.key) is Refusal.UNKNOWN
    assert await verdict(keys, rotated.key) is None


async def test_a_revoked_key_is_refused_by_the_next_request_whatever_the_clock_says(
    keys: Keys, clock: SetClock
) -> None:
    made = await new_key(keys)
    rotated = await keys.keys.rotate(CALLER, made.id, RotateKey())
    assert await verdict(keys, made.key) is None
    revoked = await keys.keys.revoke(CALLER, made.id)
    assert revoked.revoked_at == clock.now()
    for jump in (0, -3600, 7200):
        clock.move(jump)
        assert await verdict(keys, made.key) in (Refusal.REVOKED, Refusal.REPLACED)
        assert await verdict(keys, rotated.key) is Refusal.REVOKED
    assert (await keys.keys.revoke(CALLER, made.id)).revoked_at == revoked.revoked_at


async def test_a_revoked_key_stays_as_it_is(keys: Keys) -> None:
    made = await new_key(keys)
    await keys.keys.revoke(CALLER, made.id)
    for change in (
        keys.keys.rotate(CALLER, made.id, RotateKey()),
        keys.keys.update(CALLER, made.id, UpdateKey(name="x")),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await change
        assert refused.value.code == "key_revoked"


async def test_a_change_is_what_the_next_request_is_judged_by(keys: Keys, clock: SetClock) -> None:
    made = await new_key(keys)
    await verdict(keys, made.key)
    changed = await keys.keys.update(
        CALLER, made.id, UpdateKey(scopes=["read"], models=["m"], expires_at=clock.now() + 5)
    )
    grant = await keys.ring.admit(made.key.encode())
    assert isinstance(grant, Grant)
    assert (grant.scopes, grant.models, grant.expires_at) == ({"read"}, {"m"}, changed.expires_at)
    assert changed.name == made.name
    cleared = await keys.keys.update(CALLER, made.id, UpdateKey(models=None, expires_at=None))
    assert (cleared.models, cleared.expires_at, cleared.scopes) == (None, None, ["read"])


async def test_a_key_cannot_be_made_to_expire_in_the_past(keys: Keys, clock: SetClock) -> None:
    made = await new_key(keys)
    for change in (new_key(keys, expires_at=clock.now()), keys.keys.update(CALLER, made.id, UpdateKey(expires_at=1))):
        with pytest.raises(InvalidRequest) as refused:
            await change
        assert (refused.value.param, refused.value.code) == ("expires_at", "invalid_value")


async def test_an_archived_project_lets_nobody_in_and_takes_no_change(keys: Keys) -> None:
    project = await keys.projects.create(CALLER, CreateProject(name="old desk"))
    made, other = await new_key(keys, project_id=project.id), await new_key(keys)
    for key in (made.key, other.key):
        assert await verdict(keys, key) is None
    archived = await keys.projects.archive(CALLER, project.id)
    assert archived.archived_at is not None
    assert await verdict(keys, made.key) is Refusal.ARCHIVED
    assert await verdict(keys, other.key) is None
    assert await keys.projects.archive(CALLER, project.id) == archived
    for change in (
        new_key(keys, project_id=project.id),
        keys.projects.update(CALLER, project.id, UpdateProject(name="x")),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await change
        assert refused.value.code == "project_archived"


async def test_the_default_project_is_there_and_stays(keys: Keys) -> None:
    assert [project.id for project in (await keys.projects.page(PageQuery())).data] == ["proj_default"]
    with pytest.raises(InvalidRequest, match="The default project cannot be archived"):
        await keys.projects.archive(CALLER, "proj_default")


async def test_a_new_limit_of_a_project_reaches_its_keys(keys: Keys) -> None:
    project = await keys.projects.create(CALLER, CreateProject(name="desk"))
    made = await new_key(keys, project_id=project.id)
    await verdict(keys, made.key)
    await keys.projects.update(CALLER, project.id, UpdateProject(limits=Limits(concurrent_runs=2)))
    grant = await keys.ring.admit(made.key.encode())
    assert isinstance(grant, Grant)
    assert grant.project_limits.concurrent_runs == 2


async def test_what_is_not_there_is_not_found(keys: Keys) -> None:
    for asked in (
        keys.keys.retrieve("key_nowhere"),
        keys.keys.update(CALLER, "key_nowhere", UpdateKey()),
        keys.keys.rotate(CALLER, "key_nowhere", RotateKey()),
        keys.keys.revoke(CALLER, "key_nowhere"),
    ):
        with pytest.raises(NotFound, match=r"^No API key found with id 'key_nowhere'\.$"):
            await asked
    for asked_project in (keys.projects.retrieve("proj_x"), keys.projects.archive(CALLER, "proj_x")):
        with pytest.raises(NotFound, match=r"^No project found with id 'proj_x'\.$"):
            await asked_project
    with pytest.raises(NotFound, match=r"^No project found with id 'proj_x'\.$"):
        await new_key(keys, project_id="proj_x")


async def test_keys_are_listed_by_project(keys: Keys, clock: SetClock) -> None:
    project = await keys.projects.create(CALLER, CreateProject(name="desk"))
    inside = []
    for _ in range(3):
        clock.move(1)
        inside.append((await new_key(keys, project_id=project.id)).id)
        await new_key(keys)
    page = await keys.keys.page(project.id, PageQuery(limit=2))
    assert ([key.id for key in page.data], page.has_more) == ([inside[2], inside[1]], True)
    assert len((await keys.keys.page(None, PageQuery())).data) == 6


async def test_when_a_key_was_last_used_is_written_later_for_all_at_once(keys: Keys, clock: SetClock) -> None:
    used, unused = await new_key(keys), await new_key(keys)
    clock.move(7)
    await verdict(keys, used.key)
    assert (await keys.keys.retrieve(used.id)).last_used_at is None
    await keys.note_uses()
    assert (await keys.keys.retrieve(used.id)).last_used_at == clock.now()
    assert (await keys.keys.retrieve(unused.id)).last_used_at is None


async def test_it_is_written_when_the_server_stops(open_keys: Opening, clock: SetClock) -> None:
    async with open_keys() as keys:
        made = await new_key(keys)
        await verdict(keys, made.key)
    async with open_keys() as keys:
        assert (await keys.keys.retrieve(made.id)).last_used_at == clock.now()


async def test_rotations_at_once_follow_one_another(keys: Keys) -> None:
    made = await new_key(keys)
    for _ in range(3):  # the first opens the connections, so that the others meet
        rotated = await asyncio.gather(*(keys.keys.rotate(CALLER, made.id, RotateKey()) for _ in range(8)))
        taken = [one.key for one in rotated if await verdict(keys, one.key) is None]
        assert len(taken) == 2  # the last one's, and that of the one before it


async def test_whoever_asked_for_a_revocation_may_go_away(keys: Keys) -> None:
    made = await new_key(keys)
    await verdict(keys, made.key)
    asked = asyncio.create_task(keys.keys.revoke(CALLER, made.id))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await keys.changes.close()
    assert await verdict(keys, made.key) is Refusal.REVOKED


async def test_another_server_on_the_same_database_learns_of_it(open_keys: Opening, empty_postgres_url: str) -> None:
    async with open_keys(empty_postgres_url) as here, open_keys(empty_postgres_url) as there:
        project = await here.projects.create(CALLER, CreateProject(name="desk"))
        one, two = await new_key(here), await new_key(here, project_id=project.id)
        await there.ring.look()
        for key in (one.key, two.key):
            assert await verdict(there, key) is None
        await here.keys.revoke(CALLER, one.id)
        await here.projects.archive(CALLER, project.id)
        await there.ring.look()
        assert await verdict(there, one.key) is Refusal.REVOKED
        assert await verdict(there, two.key) is Refusal.ARCHIVED


async def test_every_change_is_in_the_audit_and_what_changed_nothing_is_not(keys: Keys) -> None:
    project = await keys.projects.create(CALLER, CreateProject(name="desk"))
    await keys.projects.update(CALLER, project.id, UpdateProject(name="rates"))
    made = await new_key(keys, project_id=project.id)
    await keys.keys.update(CALLER, made.id, UpdateKey(name="x"))
    await keys.keys.rotate(CALLER, made.id, RotateKey())
    for _ in range(2):
        await keys.keys.revoke(CALLER, made.id)
        await keys.projects.archive(CALLER, project.id)
    with pytest.raises(InvalidRequest):
        await keys.keys.rotate(CALLER, made.id, RotateKey())
    rows = await keys.changes.database.read(lambda tx: tx.all(select(table(AuditRow))))
    assert [(row.action, row.object_id) for row in sorted(rows, key=lambda row: row.seq)] == [
        ("project.create", project.id),
        ("project.update", project.id),
        ("key.create", made.id),
        ("key.update", made.id),
        ("key.rotate", made.id),
        ("key.revoke", made.id),
        ("project.archive", project.id),
    ]
    assert {(row.key_id, row.request_id) for row in rows} == {(CALLER.key_id, CALLER.request_id)}

"""A database of an earlier day is put back: what was revoked, rotated away or archived since stays so."""

import json
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from app.db.database import CannotOpen, StorageFailed, WriteTx
from app.errors import InvalidRequest
from app.keys.changes import Changes
from app.keys.grant import Refusal
from app.keys.opening import Keys
from app.keys.pepper import kept_pepper
from app.keys.projects import ProjectService
from app.keys.revocations import RevocationJournal
from app.keys.schemas import CreateProject, RotateKey
from app.keys.secret import new_key as new_text
from app.keys.service import KeyService
from app.keys.state import KeyState, ProjectState, State
from tests.fakes.callers import CALLER
from tests.fakes.clock import SetClock
from tests.fakes.database import TroubledDatabase
from tests.integration.keys.conftest import PEPPER, Opening, new_key, verdict

pytestmark = pytest.mark.anyio

T = TypeVar("T")

BESIDE = {"KEY_PEPPER": "", "KEY_JOURNAL_FILE": ""}


def files_of(url: str) -> list[Path]:
    """Return what a cold backup of a SQLite database holds."""
    path = Path(url.removeprefix("sqlite:///"))
    return [found for found in path.parent.glob(f"{path.name}*") if not found.name.endswith((".revocations", ".lock"))]


async def test_a_restored_database_brings_back_no_key_and_no_secret(
    open_keys: Opening, sqlite_url: str, tmp_path: Path, clock: SetClock
) -> None:
    async with open_keys(sqlite_url, **BESIDE) as keys:
        project = await keys.projects.create(CALLER, CreateProject(name="desk"))
        revoked, rotated, untouched = [await new_key(keys) for _ in range(3)]
        archived = await new_key(keys, project_id=project.id)
    (tmp_path / "backup").mkdir()
    for file in files_of(sqlite_url):
        shutil.copy(file, tmp_path / "backup")
    async with open_keys(sqlite_url, **BESIDE) as keys:
        await keys.keys.revoke(CALLER, revoked.id)
        fresh = await keys.keys.rotate(CALLER, rotated.id, RotateKey(grace_s=60))
        await keys.projects.archive(CALLER, project.id)
        late = await new_key(keys)
        await keys.keys.revoke(CALLER, late.id)
    for file in files_of(sqlite_url):
        file.unlink()
    for file in (tmp_path / "backup").iterdir():
        shutil.copy(file, tmp_path)
    async with open_keys(sqlite_url, **BESIDE) as keys:
        assert await verdict(keys, revoked.key) is Refusal.REVOKED
        assert await verdict(keys, archived.key) is Refusal.ARCHIVED
        assert await verdict(keys, late.key) is Refusal.UNKNOWN
        assert await verdict(keys, untouched.key) is None
        assert await verdict(keys, fresh.key) is None
        assert await verdict(keys, rotated.key) is None
        clock.move(60)
        assert await verdict(keys, rotated.key) is Refusal.REPLACED
        assert (await keys.keys.retrieve(revoked.id)).revoked_at is not None


async def test_the_same_holds_for_any_database_that_has_a_journal(open_keys: Opening, tmp_path: Path) -> None:
    async with open_keys() as keys:
        made = await new_key(keys)
    line = {"type": "key", "id": made.id, "generation": 1, "hash": "00" * 32, "revoked_at": 5}
    (tmp_path / "revocations").write_text(json.dumps(line) + "\n")
    async with open_keys() as keys:
        assert (await keys.keys.retrieve(made.id)).revoked_at == 5


class LosesTheCommit(TroubledDatabase):
    """Carries every write out, and cannot commit it."""

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Fail once all is done."""

        def lost(tx: WriteTx) -> T:
            work(tx)
            raise StorageFailed

        return await super().write(lost)


class FullDisk(RevocationJournal):
    """A journal that no line can be put into."""

    def write(self, state: State) -> None:
        """Fail."""
        raise StorageFailed


@contextmanager
def without_commits(keys: Keys, clock: SetClock, path: Path) -> Iterator[KeyService]:
    """Give the rules of keys over a database that cannot commit, and over the real journal."""
    journal = RevocationJournal(path)
    journal.open()
    yield KeyService(Changes(LosesTheCommit(keys.changes.database), keys.ring, journal), clock, PEPPER.encode())
    journal.close()


async def test_a_revocation_is_on_disk_before_it_is_committed(
    open_keys: Opening, tmp_path: Path, clock: SetClock
) -> None:
    async with open_keys() as keys:
        made = await new_key(keys)
        with without_commits(keys, clock, tmp_path / "revocations") as service, pytest.raises(StorageFailed):
            await service.revoke(CALLER, made.id)
        assert await verdict(keys, made.key) is None
    async with open_keys() as keys:
        assert await verdict(keys, made.key) is Refusal.REVOKED


async def test_a_rotation_that_was_not_committed_is_taken_back(
    open_keys: Opening, tmp_path: Path, clock: SetClock
) -> None:
    async with open_keys() as keys:
        made = await new_key(keys)
        with without_commits(keys, clock, tmp_path / "revocations") as service, pytest.raises(StorageFailed):
            await service.rotate(CALLER, made.id, RotateKey(grace_s=0))
        assert await verdict(keys, made.key) is None
    lines = (tmp_path / "revocations").read_text().splitlines()
    assert [json.loads(line)["generation"] for line in lines] == [1, 0]
    async with open_keys() as keys:
        assert await verdict(keys, made.key) is None


async def test_what_cannot_be_journalled_is_not_done(open_keys: Opening, tmp_path: Path, clock: SetClock) -> None:
    async with open_keys() as keys:
        project = await keys.projects.create(CALLER, CreateProject(name="desk"))
        made = await new_key(keys, project_id=project.id)
        changes = Changes(keys.changes.database, keys.ring, FullDisk(tmp_path / "full"))
        service, projects = KeyService(changes, clock, PEPPER.encode()), ProjectService(changes, clock)
        for change in (
            service.revoke(CALLER, made.id),
            service.rotate(CALLER, made.id, RotateKey()),
            projects.archive(CALLER, project.id),
        ):
            with pytest.raises(StorageFailed):
                await change
        assert await verdict(keys, made.key) is None
        assert (await keys.keys.retrieve(made.id)).revoked_at is None
        assert (await keys.projects.retrieve(project.id)).archived_at is None


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = RevocationJournal(path)
    journal.open()
    journal.write(state(1))
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, limits[1]))
    try:
        with pytest.raises(StorageFailed):
            journal.write(state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == whole
    journal.write(state(3))
    journal.close()
    again = RevocationJournal(path)
    assert again.open() == [state(1), state(3)]
    again.close()


def state(number: int) -> KeyState:
    return KeyState(id=f"key_{number}", generation=number, hash="00")


def test_the_last_line_about_a_key_counts(tmp_path: Path) -> None:
    journal = RevocationJournal(tmp_path / "j")
    assert journal.open() == []
    for one in (state(1), ProjectState(id="proj_1", archived_at=3), state(2), state(1).revoked(9)):
        journal.write(one)
    journal.close()
    again = RevocationJournal(tmp_path / "j")
    assert again.open() == [state(1).revoked(9), ProjectState(id="proj_1", archived_at=3), state(2)]
    again.close()
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o600


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = RevocationJournal(path)
    journal.open()
    for number in (1, 2):
        journal.write(state(number))
    journal.close()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        journal = RevocationJournal(path)
        assert journal.open() == [state(1)]
        journal.write(state(3))
        journal.close()
        assert path.read_bytes().count(b"\n") == 2
        again = RevocationJournal(path)
        assert again.open() == [state(1), state(3)]
        again.close()


async def test_a_damaged_line_is_named_and_nothing_starts(open_keys: Opening, tmp_path: Path) -> None:
    (tmp_path / "revocations").write_text('{"type":"key"}\n')
    with pytest.raises(CannotOpen, match=r"line 1 of the revocation journal .*revocations is damaged"):
        async with open_keys():
            raise AssertionError("it opened")


async def test_a_journal_that_cannot_be_opened_is_one_line(open_keys: Opening, tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match=r"cannot open the revocation journal .*: No such file or directory"):
        async with open_keys(KEY_JOURNAL_FILE=str(tmp_path / "nowhere" / "j")):
            raise AssertionError("it opened")


async def test_the_pepper_is_made_once_and_only_its_owner_can_read_it(
    open_keys: Opening, sqlite_url: str, tmp_path: Path
) -> None:
    async with open_keys(sqlite_url, **BESIDE) as keys:
        made = await new_key(keys)
    file = tmp_path / "key_pepper"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    pepper = file.read_text().strip()
    assert len(bytes.fromhex(pepper)) == 32
    async with open_keys(sqlite_url, **BESIDE) as keys:
        assert await verdict(keys, made.key) is None
    async with open_keys(sqlite_url, KEY_PEPPER=pepper) as keys:
        assert await verdict(keys, made.key) is None
    everything = b"".join(found.read_bytes() for found in tmp_path.iterdir() if found != file)
    assert pepper.encode() not in everything
    assert made.key.encode() not in everything
    assert made.key[20:].encode() not in everything


async def test_a_pepper_that_is_missing_or_damaged_is_said_in_a_line(
    open_keys: Opening, sqlite_url: str, tmp_path: Path
) -> None:
    async with open_keys(sqlite_url, **BESIDE) as keys:
        await new_key(keys)
    (tmp_path / "key_pepper").write_text("short\n")
    with pytest.raises(CannotOpen, match="is damaged"):
        async with open_keys(sqlite_url, **BESIDE):
            raise AssertionError("it opened")
    (tmp_path / "key_pepper").unlink()
    with pytest.raises(CannotOpen, match="the secret that they were made with is missing"):
        async with open_keys(sqlite_url, **BESIDE):
            raise AssertionError("it opened")
    assert not (tmp_path / "key_pepper").exists()


def test_a_pepper_that_was_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "key_pepper.new").write_text("abc")
    made = kept_pepper(tmp_path, has_keys=False)
    assert len(made) == 64
    assert kept_pepper(tmp_path, has_keys=True) == made
    assert [found.name for found in tmp_path.iterdir()] == ["key_pepper"]


async def test_on_postgresql_keys_want_a_pepper(open_keys: Opening, empty_postgres_url: str) -> None:
    async with open_keys(empty_postgres_url, **BESIDE) as keys:
        with pytest.raises(InvalidRequest, match="KEY_PEPPER is not set") as refused:
            await new_key(keys)
        assert refused.value.code == "key_pepper_missing"
        assert await verdict(keys, new_text("key_abcDEF012345")) is Refusal.UNKNOWN

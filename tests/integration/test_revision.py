"""`python -m ops revision` in a copy of the repository: it writes the next migration, which does what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.db.migrations import head
from tests.fixtures.processes import ROOT

TIMEOUT_S = 60
NEXT = f"{int(head()) + 1:04d}"
COLUMN = "    last_position: Mapped[int] = mapped_column(BigInteger)\n"
NEW_COLUMN = COLUMN + "    title: Mapped[str | None] = mapped_column(Text)\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of what the command needs of the repository."""
    ignored = shutil.ignore_patterns("__pycache__", "assets", "standin")
    for name in ("app", "ops", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def ops(copy: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb in the copy."""
    command = [sys.executable, "-m", "ops", *arguments]
    env = {"DATABASE_URL": f"sqlite:///{copy}/store.db"}
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)


def test_it_writes_what_changed_in_the_tables_and_the_result_is_whole(copy: Path) -> None:
    nothing = ops(copy, "revision", "add nothing")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr == "error: nothing changed in app/db/tables.py; use --empty for a migration of data\n"

    tables = copy / "app/db/tables.py"
    source = tables.read_text()
    assert source.count(COLUMN) == 1
    tables.write_text(source.replace(COLUMN, NEW_COLUMN))
    written = ops(copy, "revision", "add the title of a thread.")
    assert written.returncode == 0, written.stderr
    path = copy / f"migrations/versions/{NEXT}_add_the_title_of_a_thread.py"
    assert written.stdout == f"{path}\n"
    migration = path.read_text()
    assert migration.startswith('"""Add the title of a thread."""\n')
    assert f'revision = "{NEXT}"\ndown_revision = "{head()}"\n' in migration
    assert 'batch_op.add_column(sa.Column("title", sa.Text(), nullable=True))' in migration
    assert 'batch_op.drop_column("title")' in migration
    assert "###" not in migration
    assert re.findall(r"def (\w+)", migration) == ["upgrade", "downgrade"]

    assert ops(copy, "migrate").stdout == f"schema revision {NEXT}\n"
    assert ops(copy, "revision", "again").returncode == 1
    assert subprocess.run([sys.executable, "-m", "ruff", "format", "--check", path], cwd=copy).returncode == 0


def test_an_empty_one_can_be_asked_for_and_a_message_must_say_something(copy: Path) -> None:
    refused = ops(copy, "revision", " ... ")
    assert (refused.returncode, refused.stderr) == (1, "error: say in a few words what the migration does\n")
    written = ops(copy, "revision", "--empty", "fill the titles")
    assert written.stdout == f"{copy}/migrations/versions/{NEXT}_fill_the_titles.py\n"
    assert Path(written.stdout.strip()).read_text().count("    pass\n") == 2
    assert ops(copy, "migrate").stdout == f"schema revision {NEXT}\n"

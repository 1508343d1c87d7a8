"""The SQLite engine: which ones are refused, and that every library of this process runs on the fixed one."""

import subprocess
import sys

import pytest

from app.db.driver import FIXED_SINCE, AffectedSqlite, loses_commits, require_fixed_engine
from tests.fixtures.processes import ROOT

# Somebody imported sqlite3 first: the worst order there is.
WHO_RUNS_ON_WHAT = """
import sqlite3
import app
import aiosqlite.core, sqlalchemy, sqlalchemy.dialects.sqlite.pysqlite as pysqlite
import app.db.sqlite
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection:
    print(connection.exec_driver_sql("SELECT sqlite_version()").scalar())
print(aiosqlite.core.sqlite3.sqlite_version)
print(pysqlite.SQLiteDialect_pysqlite.import_dbapi().sqlite_version)
print(app.db.sqlite.sqlite3.connect(":memory:").execute("SELECT sqlite_version()").fetchone()[0])
"""

# Python's own engine, stated as an affected one, where the wheel's should be.
ON_AN_AFFECTED_ENGINE = """
import sqlite3, sqlite3.dbapi2, sys
sqlite3.sqlite_version_info = (3, 46, 1)
sys.modules["pysqlite3"], sys.modules["pysqlite3.dbapi2"] = sqlite3, sqlite3.dbapi2
from ops.__main__ import main
main([sys.argv[1]])
"""


@pytest.mark.parametrize(
    "version",
    [(3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 46, 1), (3, 50, 4), (3, 50, 6), (3, 51, 0), (3, 51, 2)],
)
def test_an_engine_that_can_lose_commits_is_refused(version: tuple[int, int, int]) -> None:
    assert loses_commits(version)
    with pytest.raises(AffectedSqlite, match=".".join(map(str, version))) as refusal:
        require_fixed_engine(version)
    assert "3.51.3" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 52, 0), (3, 53, 4), (4, 0, 0)])
def test_a_fixed_engine_is_accepted(version: tuple[int, int, int]) -> None:
    require_fixed_engine(version)


def test_every_library_of_the_process_runs_on_the_fixed_engine() -> None:
    program = [sys.executable, "-c", WHO_RUNS_ON_WHAT]
    versions = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(versions) == 4
    assert len(set(versions)) == 1
    assert tuple(map(int, versions[0].split("."))) >= FIXED_SINCE


@pytest.mark.parametrize("verb", ["serve", "migrate"])
def test_the_api_refuses_to_start_on_an_affected_engine(verb: str, empty_sqlite_url: str) -> None:
    program = [sys.executable, "-c", ON_AN_AFFECTED_ENGINE, verb]
    env = {"DATABASE_URL": empty_sqlite_url, "API_KEY": "sk-x"}
    ended = subprocess.run(program, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: SQLite 3.46.1 can lose committed transactions")
    assert len(ended.stderr.splitlines()) == 1

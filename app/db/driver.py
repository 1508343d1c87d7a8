"""The SQLite engine this process runs on: swapped in before anything imports `sqlite3`.

Debian's and python.org's builds carry engines that can lose commits in WAL mode (SQLite documentation, "WAL",
section "The WAL-Reset Bug"); the pysqlite3 wheel bundles a fixed one.
"""

import sys

import pysqlite3
import pysqlite3.dbapi2

FIXED_SINCE = (3, 51, 3)
FIXED_BACKPORTS = frozenset({(3, 50, 7), (3, 44, 6)})


def install_fixed_sqlite() -> None:
    """Make `import sqlite3` mean the wheel's engine, for every library in this process."""
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2


def loses_commits(version: tuple[int, int, int]) -> bool:
    """Tell whether an engine of this version has the WAL-reset bug."""
    return version < FIXED_SINCE and version not in FIXED_BACKPORTS


class AffectedSqlite(Exception):
    """The SQLite engine in this process can lose committed transactions; the API refuses to start on it."""


def require_fixed_engine(version: tuple[int, int, int]) -> None:
    """Raise AffectedSqlite on an engine that can lose commits in WAL mode."""
    if loses_commits(version):
        found = ".".join(map(str, version))
        raise AffectedSqlite(
            f"SQLite {found} can lose committed transactions in WAL mode (the WAL-reset bug, fixed in 3.51.3). "
            "Install the pysqlite3 wheel of requirements/runtime.txt."
        )

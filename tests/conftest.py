"""What every test may ask for: a database of either engine, an API in this process, one behind a real port."""

import app  # noqa: F401 - first, so that `import sqlite3` means the fixed engine everywhere

pytest_plugins = [
    "tests.conformance.plugin",
    "tests.fixtures.asynchrony",
    "tests.fixtures.databases",
    "tests.fixtures.servers",
    "tests.fixtures.rooms",  # after servers, which it imports: a plugin must not be imported before it is loaded
]

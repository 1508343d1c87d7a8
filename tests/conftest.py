"""What every test may ask for: a database of either engine, an API in this process, one behind a real port."""

import gc
from collections.abc import Generator

import pytest

import app  # noqa: F401 - first, so that `import sqlite3` means the fixed engine everywhere

pytest_plugins = [
    "tests.conformance.plugin",
    "tests.fixtures.asynchrony",
    "tests.fixtures.databases",
    "tests.fixtures.servers",
    "tests.fixtures.rooms",  # after servers, which it imports: a plugin must not be imported before it is loaded
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, nor among them later: they all stay, half a million."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()

"""Two servers over each engine: one to move from, one to move to."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.checker import Checker
from tests.fixtures.databases import create_postgres_database
from tests.fixtures.rooms import Served, served

NUMBERS: Iterator[int] = count(1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def houses(
    request: pytest.FixtureRequest, stand_in_url: str, conformance: Checker, tmp_path_factory: Any, anyio_backend: str
) -> AsyncIterator[tuple[Served, Served]]:
    """Give two APIs, each with a store of its own."""

    async def url() -> str:
        if request.param == "sqlite":
            folder: Path = tmp_path_factory.mktemp("house")
            return f"sqlite:///{folder}/sovereign_assistant.db"
        return await create_postgres_database(request.getfixturevalue("postgres_url"))

    env = {"MODEL_URL": stand_in_url}
    async with (
        served(conformance, DATABASE_URL=await url(), **env) as old,
        served(conformance, DATABASE_URL=await url(), **env) as new,
    ):
        yield old, new


@pytest.fixture
def old(houses: tuple[Served, Served]) -> Any:
    """Give a client of the server to move from."""
    return houses[0].client


@pytest.fixture
def new(houses: tuple[Served, Served]) -> Any:
    """Give a client of the server to move to."""
    return houses[1].client


@pytest.fixture
def suffix() -> str:
    """Give what makes a test's ids its own."""
    return f"x{next(NUMBERS)}x"

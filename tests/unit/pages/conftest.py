"""The server that the tests of the pages ask."""

from collections.abc import Iterator

import pytest

from tests.unit.pages.serving import served, tiny_app


@pytest.fixture(scope="package")
def port() -> Iterator[int]:
    with served(tiny_app()) as port:
        yield port

"""The checker under test: always a new one, so that no unit test touches what the session has seen."""

import os

import pytest

from tests.conformance.checker import Checker
from tests.conformance.spec import SPEC_PATH, load_spec


@pytest.fixture
def document() -> None:
    """Skip where the official document is absent, and fail there in CI."""
    if not SPEC_PATH.is_file():
        missing = f"{SPEC_PATH} is absent"
        (pytest.fail if os.environ.get("CI", "").lower() == "true" else pytest.skip)(missing)


@pytest.fixture
def checker(document: None) -> Checker:
    return Checker(load_spec())

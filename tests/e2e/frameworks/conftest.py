"""Marks this folder's tests: they need large packages of their own and have a suite of their own."""

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests; others may be collected in the same session."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.frameworks)

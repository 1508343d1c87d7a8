"""One whole stack for a file, with traffic on it; loud when Prometheus is not installed."""

import shutil
from collections.abc import Iterator

import pytest

from tests.observability.stack import Stack, whole_stack
from tests.observability.traffic import all_kinds, going_on


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Fail at once without what Debian's `prometheus` brings."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    assert not missing, f"{missing} are missing: apt-get install prometheus"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give a stack on which everything has happened once, and a little goes on happening."""
    with whole_stack(tmp_path_factory.mktemp("stack")) as stack:
        all_kinds(stack)
        with going_on(stack):
            yield stack

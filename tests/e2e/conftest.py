"""What the end-to-end tests share: a bound on each test, the older SDK, and an API over a model that takes its time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import prepare
from tests.e2e.deadline import ended_within
from tests.fixtures.processes import api_process, stand_in
from tests.fixtures.servers import API_KEY, MODEL

HERE = Path(__file__).resolve().parent
TEST_WITHIN_S = 120
TOKEN_MS = 20
SLOW_TOKEN_MS = 100


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the SDK say what it likes about the API we serve."""
    # It warns at every Assistants call that OpenAI's own API has ended. That API is what we serve, so the warning
    # says nothing about us. (The word on beta.assistants is a bare "deprecated".)
    deprecated = pytest.mark.filterwarnings(r"ignore:(deprecated$|The Assistants API is deprecated):DeprecationWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(deprecated)


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """End a test that hangs."""
    with ended_within(TEST_WITHIN_S):
        yield


@pytest.fixture(scope="session")
def older_sdk() -> Path:
    """Give the folder of SDK 1.109.1, installed on first use. A test that needs it fails where it cannot be had."""
    return folder_of(prepare.OLDER_SDK)


@pytest.fixture(scope="session")
def second_sdk() -> Path:
    """Give the folder of SDK 2.54.0, in the same way."""
    return folder_of(prepare.SECOND_SDK)


def folder_of(package: prepare.Package) -> Path:
    """Return where a package is, made on first use; without it the test fails."""
    try:
        return prepare.prepare(package)
    except prepare.Unprepared as problem:
        reason = f"{package.name} {package.version} is not here; {prepare.COMMAND} {package.name} says: {problem}"
    pytest.fail(reason, pytrace=False)


@pytest.fixture(scope="session")
def paced_model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a stand-in that takes TOKEN_MS for each token."""
    log = tmp_path_factory.mktemp("paced-standin") / "log"
    with stand_in(log, "--model", MODEL, "--token-ms", str(TOKEN_MS)) as url:
        yield url


@pytest.fixture(scope="session")
def slow_model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a stand-in that still speaks when a server is killed, however busy the machine is."""
    log = tmp_path_factory.mktemp("slow-standin") / "log"
    with stand_in(log, "--model", MODEL, "--token-ms", str(SLOW_TOKEN_MS)) as url:
        yield url


@pytest.fixture(scope="session")
def paced_api(paced_model_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL, ending in /v1, of an API over that stand-in."""
    folder = tmp_path_factory.mktemp("paced-api")
    env = {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db",
        "MODEL_URL": paced_model_url,
    }
    with api_process(folder / "log", env) as (url, _):
        yield url

"""One real vLLM and one API for the session, and clients for both; loud when `.venv-vllm` is not made."""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import openai
import pytest
from openai.types.beta import Assistant

from tests.vllm import prepare
from tests.vllm.api import Api, running_api
from tests.vllm.engine import MODEL, SMALL, Engine, running_engine
from tests.vllm.lines import INSTRUCTIONS
from tests.vllm.server import Server

HERE = Path(__file__).resolve().parent
TEST_WITHIN_S = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests; others may be collected in the same session."""
    # The SDK warns at every Assistants call that OpenAI's own API has ended. That API is what we serve.
    # (The word on beta.assistants is a bare "deprecated".)
    deprecated = pytest.mark.filterwarnings(r"ignore:(deprecated$|The Assistants API is deprecated):DeprecationWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            item.add_marker(deprecated)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers said last beside a failure: their logs are gone where CI keeps only the output."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        servers = [value for value in item.funcargs.values() if isinstance(value, Server)]
        report.sections += [(f"log of {server.name}", server.last_words(1500)) for server in servers]
    return report


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """End a test that hangs: the SDK's pollers wait for ever for a run that never ends."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took more than {TEST_WITHIN_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TEST_WITHIN_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def prepared() -> None:
    """Skip where nobody prepared; fail in CI, where a skip would look like a pass."""
    lacks = prepare.missing()
    if lacks:
        reason = f"no real vLLM here: {' and '.join(lacks)} missing; run: {prepare.COMMAND}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def engine(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine") / "vllm.log") as engine:
        print(f"vLLM ready after {engine.started_in_s:.1f} s, log {engine.log}")
        yield engine


@pytest.fixture(scope="session")
def direct(engine: Engine) -> Iterator[openai.OpenAI]:
    """A client of vLLM itself: what it says is what our API must say."""
    with openai.OpenAI(base_url=engine.url, api_key=engine.key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def api(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("api"), engine) as api:
        print(f"API ready after {api.started_in_s:.1f} s, log {api.log}")
        yield api


@pytest.fixture(scope="session")
def client(api: Api) -> Iterator[openai.OpenAI]:
    """A client of our API; no retries, so that a 500 is seen and not mended."""
    with openai.OpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def assistant(client: openai.OpenAI) -> Assistant:
    """At temperature 0 it says the same to the same, through us or direct."""
    return client.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0)


@pytest.fixture(scope="session")
def small_engine(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A second vLLM, with few places, for the tests that fill or kill it; they leave one that is ready."""
    with running_engine(tmp_path_factory.mktemp("small_engine") / "vllm.log", SMALL) as engine:
        yield engine


@pytest.fixture(scope="session")
def small_api(small_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("small_api"), small_engine) as api:
        yield api


@pytest.fixture(scope="session")
def small_client(small_api: Api) -> Iterator[openai.OpenAI]:
    """A client of the API before the small engine."""
    with openai.OpenAI(base_url=small_api.url, api_key=small_api.key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def small_assistant(small_client: openai.OpenAI) -> Assistant:
    return small_client.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0)

"""An engine, the images, and one appliance that is started once as an operator does. Loud where there is no engine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.containers.appliance import API_IMAGE, MODEL, STANDIN_BASE, Appliance, clone, docker
from tests.e2e.deadline import ended_within
from tests.fixtures.hub import running_hub
from tests.fixtures.processes import ROOT, free_port

HERE = Path(__file__).resolve().parent
TEST_WITHIN_S = 240
WEIGHTS = {
    f"{name}": content
    for name, content in {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}\n',
        "model-00001-of-00001.safetensors": os.urandom(300_000),
        "original/consolidated.00.pth": b"not wanted",
    }.items()
}


class Started(NamedTuple):
    """The appliance as `just up` left it, and how long that took."""

    appliance: Appliance
    printed: str
    up_s: float
    first_text_s: float


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the SDK say what it likes about the API we serve, and testcontainers about itself."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings(r"ignore:(deprecated$|The Assistants API is):DeprecationWarning")
            )
            item.add_marker(pytest.mark.filterwarnings(r"ignore::ResourceWarning"))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """End a test that hangs."""
    with ended_within(TEST_WITHIN_S):
        yield


@pytest.fixture(scope="session")
def images() -> str:
    """Build the API's image and what Dockerfile.vllm is laid on; return the API image's name."""
    docker("build", "--quiet", "--tag", API_IMAGE, str(ROOT))
    docker("build", "--quiet", "--tag", STANDIN_BASE, "--build-arg", f"BASE={API_IMAGE}", str(HERE / "standin_base"))
    return API_IMAGE


@pytest.fixture(scope="session")
def started(images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Fetch a model, start the appliance, and stream a first answer, timed; everything is removed at the end."""
    folder = clone(tmp_path_factory.mktemp("sovereign-assistant"))
    appliance = Appliance(folder, api_port=free_port(), prometheus_port=free_port())
    appliance.compose("--profile", "*", "down", "--volumes", "--remove-orphans")
    appliance.compose("build", "vllm")
    try:
        fetch_model(appliance)
        began = time.monotonic()
        up = appliance.ops("up", "--wait-s", "60")
        assert up.returncode == 0, up.stdout + up.stderr
        up_s = time.monotonic() - began
        first_text(appliance)
        yield Started(appliance, up.stdout + up.stderr, up_s, time.monotonic() - began)
    finally:
        appliance.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")


@pytest.fixture
def appliance(started: Started) -> Appliance:
    """Give the running appliance; a test leaves it ready."""
    return started.appliance


def fetch_model(appliance: Appliance) -> None:
    """Bring the weights as `just model-fetch` does, from a hub on this machine."""
    appliance.compose("--profile", "keepers", "create", "model-keeper")
    gateway = appliance.gateway("out")
    with running_hub(WEIGHTS, "0.0.0.0") as hub:
        endpoint = f"http://{gateway}:{hub.server_address[1]}"
        words = ("--profile", "keepers", "run", "--rm", "--no-deps", "model-keeper", "model", "fetch")
        appliance.compose(*words, env={"HF_ENDPOINT": endpoint})


def first_text(appliance: Appliance) -> str:
    """Stream an answer and return its first piece."""
    with appliance.client() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "say exactly: good morning"}], stream=True
        )
        return next(text for chunk in stream if (text := chunk.choices[0].delta.content))

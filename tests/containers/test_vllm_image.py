"""Dockerfile.vllm over a stand-in `vllm`: what its start script says and refuses, and what it hands on."""

import json
import subprocess

import pytest

from tests.containers.appliance import STANDIN_BASE, docker
from tests.fixtures.processes import ROOT

IMAGE = "sovereign-assistant-vllm:test-alone"
MODEL = "/models/llama-3.1-70b-instruct-awq"


@pytest.fixture(scope="module")
def vllm(images: str) -> str:
    """Build it; return its name."""
    words = ("--file", "Dockerfile.vllm", "--build-arg", f"BASE={STANDIN_BASE}", "--tag", IMAGE, ".")
    subprocess.run(["docker", "build", "--quiet", *words], cwd=ROOT, check=True, capture_output=True)
    return IMAGE


def run(image: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", *words, image]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_weights_it_says_how_to_get_them(vllm: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = tmp_path_factory.mktemp("secret") / "model_api_key"
    key.write_text("sk-m\n")
    ended = run(vllm, "--volume", f"{key}:/run/secrets/model_api_key:ro")
    assert ended.returncode == 1
    assert ended.stderr == f"error: there is no model in {MODEL}: `just model-fetch` brings it\n"


def test_a_wrong_setting_or_a_missing_key_is_one_line(vllm: str) -> None:
    assert run(vllm).stderr.startswith("error: cannot read the key in /run/secrets/model_api_key")
    ended = run(vllm, "--env", "ENGINE_CONTEXT=plenty")
    assert ended.stderr == "error: ENGINE_CONTEXT: 'plenty' is not what it takes\n"


def test_it_asks_the_internet_for_nothing_and_is_not_root(vllm: str) -> None:
    config = json.loads(docker("image", "inspect", vllm))[0]["Config"]
    env = dict(line.split("=", 1) for line in config["Env"])
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        assert env[name] == "1"
    assert env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "/opt/sovereign/health.py"]

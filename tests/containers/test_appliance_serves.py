"""`just up` from an empty clone: what it says, what then answers, and how soon."""

import json
import urllib.request

import pytest
from openai import AuthenticationError, OpenAI

from tests.containers.appliance import MODEL, RUNNING, Appliance
from tests.containers.conftest import Started


def test_up_says_what_it_does_and_a_first_answer_streams_soon(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nup: ready after {started.up_s:.1f} s, first text after {started.first_text_s:.1f} s")
    for words in ("ok    Docker", "ok    Compose", "ok    GPU", "ok    ports", "make  ", "ready after", "key: "):
        assert words in started.printed
    assert started.appliance.key not in started.printed
    assert started.up_s < 30


def test_the_official_sdk_holds_a_conversation_through_the_published_port(appliance: Appliance) -> None:
    with appliance.client() as client:
        assistant = client.beta.assistants.create(model=MODEL)
        thread = client.beta.threads.create(messages=[{"role": "user", "content": "say exactly: gold"}])
        with client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
            assert "gold" in "".join(stream.text_deltas)
    stranger = OpenAI(base_url=appliance.url, api_key="sk-wrong", max_retries=0)
    with stranger, pytest.raises(AuthenticationError):
        stranger.models.list()


def test_every_container_becomes_healthy_by_its_own_check(appliance: Appliance) -> None:
    for service in RUNNING:
        appliance.wait(
            f"{service} healthy", lambda service=service: health(appliance, service) == "healthy", within_s=60
        )


def health(appliance: Appliance, service: str) -> str:
    return str(appliance.inspect(service)["State"]["Health"]["Status"])


def test_prometheus_reaches_what_it_measures(appliance: Appliance) -> None:
    def up() -> set[str]:
        address = f"http://127.0.0.1:{appliance.prometheus_port}/api/v1/targets"
        with urllib.request.urlopen(address, timeout=5) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    appliance.wait("scraped", lambda: up() == {"prometheus", "api", "vllm", "gpu-exporter", "backup"}, within_s=40)


def test_status_and_logs_tell_of_each_service(appliance: Appliance) -> None:
    told = appliance.ops("status")
    assert told.returncode == 0
    assert f"{appliance.url}: ready" in told.stdout
    assert all(service in told.stdout for service in RUNNING)
    logged = appliance.ops("logs", "vllm").stdout
    assert "vllm serve /models/llama-3.1-70b-instruct-awq --host 0.0.0.0" in logged


def test_a_second_up_changes_nothing(appliance: Appliance) -> None:
    before = {service: appliance.inspect(service)["Id"] for service in RUNNING}
    again = appliance.ops("up", "--wait-s", "30")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "make" not in again.stdout
    assert {service: appliance.inspect(service)["Id"] for service in RUNNING} == before


def test_the_weights_can_be_verified_and_a_changed_file_is_found(appliance: Appliance) -> None:
    words = ("compose", "--profile", "keepers", "run", "--rm", "--no-deps", "model-keeper")
    verified = appliance.run("docker", *words, "model", "verify")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("ok ") == 2
    path = "/models/llama-3.1-70b-instruct-awq/model-00001-of-00001.safetensors"
    spoil = f"p = open({path!r}, 'r+b'); b = p.read(1); p.seek(0); p.write(bytes([b[0] ^ 1]))"
    run = (
        "compose",
        "--profile",
        "keepers",
        "run",
        "--rm",
        "--no-deps",
        "--entrypoint",
        "python",
        "model-keeper",
        "-c",
        spoil,
    )
    assert appliance.run("docker", *run).returncode == 0
    found = appliance.run("docker", *words, "model", "verify")
    assert found.returncode == 1
    assert "BAD  model-00001-of-00001.safetensors: its checksum is wrong" in found.stdout
    assert appliance.run("docker", *run).returncode == 0

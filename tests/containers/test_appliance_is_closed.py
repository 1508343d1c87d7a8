"""What the processes of the running appliance may do, whom they reach, and that no secret shows anywhere."""

import re
import socket
from pathlib import Path

import pytest

from tests.containers.appliance import API_IMAGE, PROJECT, RUNNING, Appliance, docker, first_process
from tests.containers.outside import a_host_outside, connecting

USERS = {"api": 10001, "vllm": 10001, "gpu-exporter": 10001, "backup": 10001, "prometheus": 65534}


@pytest.mark.parametrize("service", RUNNING)
def test_its_processes_have_a_user_of_their_own_and_no_rights(appliance: Appliance, service: str) -> None:
    status = first_process(appliance, service)
    assert status["Uid"].split() == [str(USERS[service])] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("service", RUNNING)
def test_its_root_cannot_be_written_and_what_it_uses_is_bounded(appliance: Appliance, service: str) -> None:
    told = appliance.inspect(service)["HostConfig"]
    assert told["ReadonlyRootfs"]
    assert told["Memory"] > 0
    assert told["PidsLimit"] > 0
    assert told["NanoCpus"] > 0
    assert told["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "10m"}}
    assert told["RestartPolicy"]["Name"] == "unless-stopped"
    if service != "prometheus":  # its image has no Python
        tried = appliance.inside(service, "open('/etc/written', 'w')")
        assert "Read-only file system" in tried.stderr or "Permission denied" in tried.stderr
        tried = appliance.inside(service, "import os; os.mkdir('/srv/made')")
        assert tried.returncode != 0


def test_no_container_reaches_a_host_outside_though_an_ordinary_one_would(appliance: Appliance) -> None:
    with a_host_outside() as (host, port):
        program = connecting(host, port)
        words = ("run", "--rm", "--network", f"{PROJECT}_out", "--entrypoint", "python", API_IMAGE, "-c")
        assert "connected" in docker(*words, program)
        for service in ("vllm", "gpu-exporter", "api", "backup"):
            tried = appliance.inside(service, program)
            assert tried.stdout == ""
            assert re.search(r"unreachable|timed out", tried.stderr)
    assert "connected" in appliance.inside("api", connecting("model", 8000)).stdout


def test_the_api_reaches_a_model_server_on_the_machine_itself(appliance: Appliance) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        program = connecting("host.docker.internal", server.getsockname()[1])
        assert "connected" in appliance.inside("api", program).stdout


def test_no_port_but_the_intended_is_published_and_those_on_loopback(appliance: Appliance) -> None:
    published = {}
    for service in RUNNING:
        ports = appliance.inspect(service)["NetworkSettings"]["Ports"]
        published |= {(service, port): where for port, where in ports.items() if where}
    loopback = {"HostIp": "127.0.0.1"}
    assert published == {
        ("api", "8001/tcp"): [loopback | {"HostPort": str(appliance.port)}],
        ("prometheus", "9090/tcp"): [loopback | {"HostPort": str(appliance.prometheus_port)}],
    }


def test_no_secret_is_in_the_configuration_the_engine_or_the_logs(appliance: Appliance) -> None:
    secrets = {name: appliance.secret(name) for name in ("api_key", "key_pepper", "model_api_key")}
    places = {
        "config": appliance.compose("--profile", "*", "config"),
        "inspect": "".join(str(appliance.inspect(service)) for service in RUNNING),
        "logs": appliance.compose("logs"),
        "history": docker("history", "--no-trunc", API_IMAGE),
        "status": appliance.ops("status", "--json").stdout,
    }
    assert all(len(text) > 100 for text in places.values())
    assert [(name, place) for name, secret in secrets.items() for place, text in places.items() if secret in text] == []


def test_secrets_are_for_their_owner_on_the_host_and_only_for_those_who_need_them(appliance: Appliance) -> None:
    folder = appliance.folder / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    given = {service: mounted(appliance, service) for service in RUNNING}
    assert given == {
        "api": {"api_key", "key_pepper", "model_api_key"},
        "vllm": {"model_api_key"},
        "prometheus": set(),
        "gpu-exporter": set(),
        "backup": {"bucket_access_key", "bucket_secret_key"},  # empty, as long as nobody names a bucket
    }


def mounted(appliance: Appliance, service: str) -> set[str]:
    mounts = appliance.inspect(service)["Mounts"]
    return {Path(one["Destination"]).name for one in mounts if one["Destination"].startswith("/run/secrets/")}


def test_the_model_server_asks_for_its_key(appliance: Appliance) -> None:
    code = "import urllib.request as u; u.urlopen('http://model:8000/v1/models', timeout=5)"
    assert "401" in appliance.inside("api", code).stderr


def test_the_state_cannot_be_written_by_what_backs_it_up(appliance: Appliance) -> None:
    tried = appliance.inside("backup", "open('/data/written', 'w')")
    assert "Read-only file system" in tried.stderr


def test_the_model_cannot_be_written_by_the_model_server(appliance: Appliance) -> None:
    tried = appliance.inside("vllm", "open('/models/written', 'w')")
    assert "Read-only file system" in tried.stderr

"""compose.yaml holds every service to the policy, and the policy notices each line that is taken away."""

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.policy import KEEPERS, WITH_OWN_CHECK, violations
from tests.fixtures.processes import ROOT


@pytest.fixture(scope="module")
def config() -> Any:
    """Give what Compose makes of compose.yaml alone, every profile in force. No engine is needed for it."""
    command = ["docker", "compose", "--file", "compose.yaml", "--env-file", "/dev/null", "--profile", "*", "config"]
    done = subprocess.run(
        [*command, "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=True, env={"PATH": PATH}
    )
    return json.loads(done.stdout)


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LINES: tuple[tuple[str, ...], ...] = (
    ("read_only",),
    ("cap_drop",),
    ("security_opt",),
    ("user",),
    ("init",),
    ("tmpfs",),
    ("restart",),
    ("logging",),
    ("logging", "options", "max-size"),
    ("logging", "options", "max-file"),
    ("deploy", "resources", "limits", "cpus"),
    ("deploy", "resources", "limits", "memory"),
    ("deploy", "resources", "limits", "pids"),
    ("healthcheck",),
    ("healthcheck", "timeout"),
    ("stop_grace_period",),
)


def removals(config: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the service, what is taken from it, and the configuration without it: each line of each service once."""
    for name, service in config["services"].items():
        for line in LINES:
            if line[-1] in ("healthcheck", "timeout") and name in KEEPERS | WITH_OWN_CHECK:
                continue
            if line == ("stop_grace_period",) and name in KEEPERS:
                continue
            if line == ("user",) and name == "proxy":
                continue  # root is the image's own user there, too; its rights are what is taken
            changed = copy.deepcopy(config)
            node = changed["services"][name]
            for part in line[:-1]:
                node = node[part]
            assert line[-1] in node, f"{name} has no {'.'.join(line)}"
            del node[line[-1]]
            yield name, ".".join(line), changed
        for number, mount in enumerate(service.get("volumes", [])):
            if mount.get("read_only"):
                changed = copy.deepcopy(config)
                changed["services"][name]["volumes"][number]["read_only"] = False
                yield name, f"read-only {mount['target']}", changed
        for number, port in enumerate(service.get("ports", [])):
            if port.get("host_ip"):
                changed = copy.deepcopy(config)
                del changed["services"][name]["ports"][number]["host_ip"]
                yield name, "loopback", changed


def test_every_service_keeps_the_policy(config: Any) -> None:
    assert list(violations(config)) == []
    assert len(config["services"]) == 11


def test_the_policy_notices_each_hardening_line_that_is_taken_away(config: Any) -> None:
    tried = 0
    for service, line, changed in removals(config):
        found = list(violations(changed))
        assert found, f"nobody misses {line} of {service}"
        assert all(words.startswith((f"{service}:", "api: ends after")) for words in found)
        tried += 1
    assert tried > 150


@pytest.mark.parametrize("network", ["inside", "edge", "watch", "offsite"])
def test_the_policy_notices_a_network_with_a_way_out(config: Any, network: str) -> None:
    changed = copy.deepcopy(config)
    changed["networks"][network].pop("internal", None)
    changed["networks"][network].pop("driver_opts", None)
    assert list(violations(changed)) == [f"{network}: has a way out"]


def test_the_policy_notices_what_is_added(config: Any) -> None:
    additions = (
        ("vllm", "networks", {"inside": None, "edge": None}),
        ("vllm", "ports", [{"target": 8000, "published": "8000"}]),
        ("vllm", "privileged", True),
        ("vllm", "ipc", "host"),
        ("vllm", "network_mode", "host"),
        ("vllm", "cap_add", ["SYS_ADMIN"]),
        ("vllm", "image", "vllm/vllm-openai:latest"),
        ("api", "environment", {"API_KEY": "sk-plain"}),
        ("api", "depends_on", {"vllm": {"condition": "service_healthy"}}),
        ("api", "volumes", [{"type": "bind", "source": "/run/docker.sock", "target": "/s", "read_only": True}]),
    )
    for service, line, value in additions:
        changed = copy.deepcopy(config)
        changed["services"][service][line] = value
        assert any(words.startswith(f"{service}: ") for words in violations(changed)), (service, line)

"""The API's image by itself: what is in it, what is not, and how it runs with nothing but itself."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

from app import __version__
from tests.containers.appliance import docker

testcontainers_config.ryuk_disabled = True  # an image of its own that buries containers: nobody here can fetch it

BASE = "python:3.13-slim-trixie"
ABOVE_BASE_BYTES = 200_000_000
AT_REST_BYTES = 150_000_000
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "mem_limit": "512m",
    "pids_limit": 128,
}
# Masked, so that nothing can be run as a shell; python itself needs none.
WITHOUT_SHELL = {"/usr/bin/dash": "/dev/null", "/usr/bin/bash": "/dev/zero"}


@pytest.fixture(scope="module")
def api(images: str) -> Iterator[DockerContainer]:
    """Run the image alone, hardened and without a shell, with an empty state; no model server is there."""
    container = hardened(images).with_env("API_KEY", "sk-of-one-container").with_exposed_ports(8001)
    for inside, outside in WITHOUT_SHELL.items():
        container = container.with_volume_mapping(outside, inside, "ro")
    ready = HttpWaitStrategy(8001, "/health/live").for_status_code(200).with_startup_timeout(20)
    with container.waiting_for(ready) as running:
        yield running


def hardened(image: str) -> DockerContainer:
    """Describe a container of an image as compose.yaml runs it, with a state that is gone when it ends."""
    container = DockerContainer(image, **HARDENED).with_tmpfs_mount("/tmp", "size=64m")
    return container.with_tmpfs_mount("/data", "size=64m,uid=10001,gid=10001,mode=700")


def told(api: DockerContainer, *words: str) -> Any:
    return api.exec(list(words))


def python(images: str, code: str) -> str:
    """Run a program in the image and return what it prints."""
    return docker("run", "--rm", "--network", "none", "--entrypoint", "python", images, "-c", code)


def test_it_is_less_than_200_mb_above_its_base(images: str, capsys: pytest.CaptureFixture[str]) -> None:
    size, base = (int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (images, BASE))
    with capsys.disabled():
        print(f"\nthe API's image: {size / 1e6:.0f} MB, {(size - base) / 1e6:.0f} MB above its base")
    assert size - base < ABOVE_BASE_BYTES


def test_it_says_what_it_is(images: str) -> None:
    config = json.loads(docker("image", "inspect", images))[0]["Config"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "ops", "health"]
    assert config["Entrypoint"] == ["python", "-m", "ops"]
    assert not [line for line in config["Env"] if "KEY=" in line or "PASSWORD" in line]


def test_there_is_no_package_manager_left_in_it(images: str) -> None:
    code = """
import importlib.util, shutil
print([name for name in ("apt", "apt-get", "dpkg", "pip", "pip3", "uv", "curl", "wget") if shutil.which(name)])
print([name for name in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(name)])
"""
    assert python(images, code).split("\n")[:2] == ["[]", "[]"]
    outer = docker("run", "--rm", "--entrypoint", "/usr/bin/env", images, "-i", "python3", "-c", code)
    assert outer.split("\n")[:2] == ["[]", "[]"]


def test_neither_tests_nor_state_nor_secrets_are_in_it(images: str) -> None:
    code = "from pathlib import Path; print(*sorted(p.name for p in Path('/srv').iterdir()), *Path('/data').iterdir())"
    assert python(images, code).split() == ["app", "migrations", "ops", "sbom.cdx.json"]


def test_everything_is_compiled(images: str) -> None:
    code = """
import importlib.util, pathlib
for folder in ("/srv", "/opt/venv/lib"):
    sources = list(pathlib.Path(folder).rglob("*.py"))
    missing = [p for p in sources if not pathlib.Path(importlib.util.cache_from_source(str(p))).exists()]
    print(len(sources) > 100, missing)
"""
    lines = python(images, code).splitlines()
    assert lines[0] == "True []"
    # Templates that Alembic's own command copies are no modules.
    assert lines[1].startswith("True ")


def test_its_list_of_what_is_inside_names_every_locked_requirement(images: str) -> None:
    document = json.loads(python(images, "print(open('/srv/sbom.cdx.json').read())"))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    listed = {component["purl"].split("?")[0] for component in document["components"]}
    lock = Path(__file__).parents[2] / "requirements" / "runtime.txt"
    locked = [line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line and line[0].isalpha()]
    assert [name for name in locked if f"pkg:pypi/{name.replace('==', '@')}" not in listed] == []
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in listed)
    references = [component["bom-ref"] for component in document["components"]]
    assert len(set(references)) == len(references)


def test_without_a_key_it_says_so_in_one_line(images: str) -> None:
    with hardened(images) as running:
        wrapped = running.get_wrapped_container()
        assert wrapped.wait(timeout=30)["StatusCode"] == 2
        words = wrapped.logs().decode().splitlines()
    assert words == ["error: API_KEY: required when ENVIRONMENT=production (or API_KEY_FILE)"]


def test_it_runs_read_only_without_rights_or_a_shell_and_is_well_by_its_own_check(api: DockerContainer) -> None:
    checked = told(api, "python", "-m", "ops", "health")
    assert checked.exit_code == 0, checked.output
    assert told(api, "sh", "-c", "true").exit_code != 0
    assert told(api, "python", "-c", "open('/srv/app/x', 'w')").exit_code == 1


def test_it_takes_less_than_150_mb_at_rest(api: DockerContainer, capsys: pytest.CaptureFixture[str]) -> None:
    time.sleep(3)  # at rest is what is asked for
    used = api.get_wrapped_container().stats(stream=False)["memory_stats"]
    resident = used["usage"] - used["stats"].get("total_inactive_file", used["stats"].get("inactive_file", 0))
    with capsys.disabled():
        print(f"\nthe API at rest: {resident / 1e6:.0f} MB")
    assert resident < AT_REST_BYTES


def test_told_to_stop_it_ends_by_itself(api: DockerContainer) -> None:
    wrapped = api.get_wrapped_container()
    began = time.monotonic()
    wrapped.stop(timeout=20)
    wrapped.reload()
    assert wrapped.attrs["State"]["ExitCode"] == 0
    assert time.monotonic() - began < 10

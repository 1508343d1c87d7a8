"""`just upgrade` to a version that works and to one that does not: the conversation goes on after either."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.appliance import API_IMAGE, Appliance, docker
from tests.containers.test_appliance_outlives import conversation, remembered, wait_until_ready

PREVIOUS = "sovereign-assistant-api:previous"
KEPT = "sovereign-assistant-api:kept"
RUINOUS = """
FROM {base}
LABEL ruinous=yes
ENTRYPOINT ["python", "-c", "open('/data/sovereign_assistant.db', 'r+b').write(b'ruined' * 5000); raise SystemExit(3)"]
"""


@pytest.fixture
def kept_image(images: str) -> Iterator[str]:
    """Give the number of the API's image, and its name back to it."""
    number = docker("image", "inspect", "--format", "{{.Id}}", images).strip()
    docker("tag", number, KEPT)
    yield number
    docker("tag", number, images)


def labelled(folder: Path, text: str) -> None:
    """Build an image and give it the name that the appliance runs."""
    (folder / "Dockerfile").write_text(text)
    docker("build", "--quiet", "--tag", API_IMAGE, str(folder))


def test_a_dry_run_says_what_would_be_done_and_does_nothing(appliance: Appliance) -> None:
    before = appliance.inspect("api")["Id"]
    told = appliance.ops("upgrade", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert PREVIOUS in told.stdout
    assert appliance.inspect("api")["Id"] == before


def test_a_version_that_works_takes_over_the_conversations(
    appliance: Appliance, kept_image: str, tmp_path: Path
) -> None:
    thread_id = conversation(appliance)
    labelled(tmp_path, f"FROM {KEPT}\nLABEL newer=yes\n")
    vllm = appliance.inspect("vllm")["Id"]
    upgraded = appliance.ops("upgrade", "--no-build")
    assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
    wait_until_ready(appliance)
    assert appliance.inspect("api")["Config"]["Labels"]["newer"] == "yes"
    assert appliance.inspect("vllm")["Id"] == vllm
    assert len(remembered(appliance, thread_id)) == 2
    docker("tag", kept_image, API_IMAGE)
    assert appliance.ops("upgrade", "--no-build").returncode == 0


def test_from_a_version_that_ruins_the_state_the_old_one_comes_back_with_its_state(
    appliance: Appliance, kept_image: str, tmp_path: Path
) -> None:
    thread_id = conversation(appliance)
    labelled(tmp_path, RUINOUS.format(base=KEPT))
    upgraded = appliance.ops("upgrade", "--no-build")
    assert upgraded.returncode == 1
    assert "error: the version of before runs again, with its state of before" in upgraded.stderr
    wait_until_ready(appliance)
    assert appliance.inspect("api")["Image"] == kept_image
    assert docker("image", "inspect", "--format", "{{.Id}}", API_IMAGE).strip() == kept_image
    assert len(remembered(appliance, thread_id)) == 2


def test_when_nothing_runs_there_is_nothing_to_upgrade(appliance: Appliance) -> None:
    appliance.ops("down")
    refused = appliance.ops("upgrade")
    assert refused.returncode == 1
    assert "nothing to upgrade" in refused.stderr
    assert appliance.ops("up", "--wait-s", "60").returncode == 0

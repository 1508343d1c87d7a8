"""A volume that is lost, and the conversation that goes on from its last snapshot."""

import json

import pytest
from openai import NotFoundError

from tests.containers.appliance import PROJECT, Appliance, docker
from tests.containers.test_appliance_outlives import conversation, remembered, wait_until_ready


def test_a_conversation_goes_on_after_its_volume_was_destroyed(appliance: Appliance) -> None:
    thread_id = conversation(appliance)
    said = remembered(appliance, thread_id)
    taken = appliance.ops("backup")
    assert taken.returncode == 0, taken.stdout + taken.stderr
    appliance.compose("rm", "--stop", "--force", "api", "backup")
    docker("volume", "rm", f"{PROJECT}_state")
    assert appliance.ops("up", "--wait-s", "60").returncode == 0
    with appliance.client() as client, pytest.raises(NotFoundError):
        client.beta.threads.retrieve(thread_id)
    restored = appliance.ops("restore", "latest", "--yes")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    wait_until_ready(appliance)
    assert remembered(appliance, thread_id) == said


def test_snapshots_are_listed_through_the_running_appliance(appliance: Appliance) -> None:
    appliance.wait("a snapshot", lambda: listed(appliance) != [], 30)
    assert appliance.inspect("backup")["State"]["Running"]


def listed(appliance: Appliance) -> list[object]:
    told = appliance.ops("backups", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    found: list[object] = json.loads(told.stdout)["snapshots"]
    return found

"""Replaces the running API by another version, or goes back to the one that ran."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from ops.appliance.docker import DockerFailed, asked, compose_config, containers, told
from ops.appliance.waiting import address, wait_until_ready

GATE_S = 90.0
PREVIOUS = "previous"
KEEPER = ("compose", "--profile", "keepers", "run", "--rm", "--no-deps", "-T", "state-keeper")

Say = Callable[[str], None]


class Running(NamedTuple):
    """What runs now: the image by its number, and the name that compose.yaml gives what comes."""

    image: str
    name: str

    @property
    def previous(self) -> str:
        """Return the name under which the image that runs now is kept."""
        return f"{self.name.rpartition(':')[0]}:{PREVIOUS}"


def what_runs() -> Running:
    """Find the API that is to be replaced. Raises DockerFailed when none runs."""
    api = next((one for one in containers() if one["Service"] == "api" and one["State"] == "running"), None)
    if api is None:
        raise DockerFailed("the API does not run: there is nothing to upgrade, `just up` starts it")
    image = asked("inspect", "--format", "{{.Image}}", str(api["Name"])).strip()
    return Running(image, str(compose_config()["services"]["api"]["image"]))


def upgrade(running: Running, *, build: bool, say: Say) -> None:
    """Carry it out. Raises DockerFailed when the old version runs again, or nothing does; the message says which."""
    asked("tag", running.image, running.previous)
    if build:
        say("build the new images; the old version goes on serving")
        told("compose", "build")
        told("compose", "pull", "--ignore-buildable", "--quiet")
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    say("stop the API and set its state aside")
    told("compose", "stop", "api")
    keep("save", moment)
    try:
        say("start the new version; it migrates")
        start()
    except DockerFailed as failure:
        say(f"the new version did not pass: {failure}")
        go_back(running, moment)
        raise DockerFailed("the version of before runs again, with its state of before") from None
    told("compose", "up", "--detach", "--no-build", "--remove-orphans")


def start() -> None:
    """Start the API from the image that has the name, and hold it to answering with a database that can be read."""
    # With its dependencies, which go on as they are: without them Compose would make it anew at the next `up`.
    told("compose", "up", "--detach", "--no-build", "--force-recreate", "api")
    wait_until_ready(address(compose_config()), GATE_S, database_alone=True)


def go_back(running: Running, moment: str) -> None:
    """Give the old image the name, so that every later `up` runs it, and put its state back."""
    told("compose", "stop", "api")
    keep("put-back", moment)
    asked("tag", running.image, running.name)
    start()


def keep(verb: str, moment: str) -> None:
    """Have the image that is known to work handle the state."""
    told(*KEEPER, verb, moment, env={**os.environ, "APPLIANCE_VERSION": PREVIOUS})

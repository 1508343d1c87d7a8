"""Waits until the appliance answers, or finds out why it does not."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import click

from ops.appliance.docker import DockerFailed, asked, containers

ASK_TIMEOUT_S = 5.0
PAUSE_S = 0.5
LOOK_EVERY_S = 5.0
LAST_LINES = "15"


class State(NamedTuple):
    """How the API said that it is. `stage` is `absent`, `unavailable`, `loading` or `ready`."""

    stage: str
    words: str
    database: str = ""


def address(config: Mapping[str, Any]) -> str:
    """Return where the API is published, as seen from this machine."""
    port = config["services"]["api"]["ports"][0]
    host = str(port.get("host_ip") or "0.0.0.0")  # noqa: S104 - what Docker takes it to mean
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port['published']}"


def state_of(url: str) -> State:
    """Ask the API once whether it is ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health/ready", timeout=ASK_TIMEOUT_S) as answer:
            return read(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return read(refused.read())
    except (OSError, ValueError):
        return State("absent", "the API does not answer yet")


def read(body: bytes) -> State:
    """Understand an answer of `/health/ready`."""
    try:
        told = json.loads(body)
        words = told.get("message") or told["status"]
        return State(str(told["status"]), str(words), str(told["checks"]["database"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return State("absent", "what answers is not this API")


def wait_until_ready(url: str, within_s: float, *, database_alone: bool = False) -> State:
    """Wait, showing on one line what for. Raises DockerFailed with what ended it before.

    With `database_alone` a model that still loads is no reason to wait, and another service that died none to give up.
    """
    began = looked = time.monotonic()
    line = ProgressLine()
    while True:
        state, waited = state_of(url), time.monotonic() - began
        if state.stage == "ready" or (database_alone and state.database == "ok"):
            say_what_died(("api",) if database_alone else ())
            line.end(f"{state.stage} after {waited:.1f} s")
            return state
        line.show(state.words, waited)
        if time.monotonic() - looked > LOOK_EVERY_S:
            looked = time.monotonic()
            say_what_died(("api",) if database_alone else ())
        if waited > within_s:
            line.end("")
            raise DockerFailed(f"not ready after {within_s:.0f} s: {state.words}")
        time.sleep(PAUSE_S)


def say_what_died(services: Collection[str] = ()) -> None:
    """Raise DockerFailed when a container ended by itself or is started again and again, with its last words.

    Only those of some services, if any are named.
    """
    for one in containers():
        if one["State"] in ("exited", "dead", "restarting") and (not services or one["Service"] in services):
            words = asked("logs", "--tail", LAST_LINES, str(one["Name"]))
            click.echo(f"\n{words.rstrip()}", err=True)
            raise DockerFailed(
                f"{one['Service']} is {one['State']} (status {one['ExitCode']}); its last lines are above"
            )


class ProgressLine:
    """One line that is written over on a terminal; elsewhere a line for each change."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = ""

    def show(self, words: str, waited_s: float) -> None:
        """Tell what is waited for."""
        if self._live:
            click.echo(f"\r\033[K{waited_s:4.0f} s  {words}", err=True, nl=False)
        elif words != self._last:
            click.echo(f"{waited_s:4.0f} s  {words}", err=True)
        self._last = words

    def end(self, words: str) -> None:
        """Leave the line."""
        click.echo(f"\r\033[K{words}" if self._live else words, err=True)

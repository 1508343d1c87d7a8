"""Where the verbs of backups run: in the appliance, whatever of it is up, or here. A script acts Docker's faults."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.processes import ROOT

IDENTITY = "AGE-SECRET-KEY-FOR-THIS-TEST"
DOCKER = """#!/bin/sh
echo "$@" >>{folder}/asked
case "$*" in
  "compose ps"*) {ps} ;;
  "compose config"*) echo '{{"name": "desk"}}' ;;
  "volume ls"*) echo "{volumes}" ;;
  *) cat >{folder}/given; {verb} ;;
esac
"""
RUNS = """echo '{"Service": "backup", "State": "running"}'"""
RESTARTS = """echo '{"Service": "backup", "State": "restarting"}'"""


class Docker:
    """A `docker` that says what a test wants, and keeps what it was asked and given."""

    def __init__(self, folder: Path, *, ps: str = "true", volumes: str = "", verb: str = "true") -> None:
        self.folder = folder
        program = folder / "docker"
        program.write_text(DOCKER.format(folder=folder, ps=ps, volumes=volumes, verb=verb))
        program.chmod(0o755)

    def ops(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb where this is what Docker is."""
        inherited = {"PATH": f"{self.folder}:{os.environ['PATH']}", "BACKUP_DIR": str(self.folder / "backups")}
        command = [sys.executable, "-m", "ops", *words]
        return subprocess.run(command, cwd=ROOT, env=inherited | env, capture_output=True, text=True, timeout=60)

    def ran(self) -> str:
        """Return how the verb was run."""
        return (self.folder / "asked").read_text().splitlines()[-1]


def test_they_run_beside_the_sidecar(tmp_path: Path) -> None:
    docker = Docker(tmp_path, ps=RUNS)
    assert docker.ops("backups").returncode == 0
    assert docker.ran() == "compose --progress quiet --profile * exec -T backup python -m ops backups"


def test_a_sidecar_that_does_not_come_up_keeps_nobody_from_the_snapshots(tmp_path: Path) -> None:
    docker = Docker(tmp_path, ps=RESTARTS)
    assert docker.ops("backups").returncode == 0
    assert "run --rm --no-deps -T --entrypoint python state-keeper -m ops backups" in docker.ran()


@pytest.mark.parametrize("verb", ["backups", "restore", "verify", "backup"])
def test_while_the_appliance_is_down_they_say_so_and_look_at_no_other_state(tmp_path: Path, verb: str) -> None:
    done = Docker(tmp_path, volumes="desk_state").ops(verb)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the appliance is down: `just up --wait-s 0` first")


@pytest.mark.parametrize("ps", ["exit 1", "true"])
def test_where_there_is_no_appliance_they_run_here(tmp_path: Path, ps: str) -> None:
    done = Docker(tmp_path, ps=ps).ops("restore", "--yes")
    assert done.returncode == 1
    assert f"there is no snapshot in {tmp_path}/backups" in done.stderr


def test_the_identity_goes_in_by_standard_input_and_is_in_no_argument(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text(IDENTITY)
    key.chmod(0o600)
    docker = Docker(tmp_path, ps=RUNS)
    assert docker.ops("verify", BACKUP_IDENTITY_FILE=str(key)).returncode == 0
    assert "--env BACKUP_IDENTITY_FILE=/dev/stdin" in docker.ran()
    assert (tmp_path / "given").read_text() == IDENTITY
    assert IDENTITY not in (tmp_path / "asked").read_text()


def test_an_identity_that_cannot_be_read_is_said_before_anything_is_run(tmp_path: Path) -> None:
    done = Docker(tmp_path, ps=RUNS).ops("verify", BACKUP_IDENTITY_FILE=str(tmp_path / "away.txt"))
    assert done.returncode == 1
    assert done.stderr == f"error: BACKUP_IDENTITY_FILE {tmp_path}/away.txt cannot be read: No such file or directory\n"
    assert not (tmp_path / "given").exists()


def test_what_goes_wrong_inside_is_said_once(tmp_path: Path) -> None:
    done = Docker(tmp_path, ps=RUNS, verb="echo 'error: no such luck' >&2; exit 1").ops("restore", "--yes")
    assert done.returncode == 1
    assert done.stderr == "error: no such luck\n"
    done = Docker(tmp_path, ps=RUNS, verb="echo 'error: no such luck' >&2; exit 1").ops("backups")
    words = "error: that went wrong in the appliance; the lines above say why"
    assert done.stderr == f"error: no such luck\n{words}\n"

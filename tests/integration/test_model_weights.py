"""Weights fetched from a hub over HTTP: whole, resumed, held to their checksums, and verified later."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.forks import run
from tests.fixtures.hub import COMMIT, Hub, running_hub

LARGE = "model-00001-of-00002.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {
        "config.json": b'{"a": 1}',
        LARGE: os.urandom(700_000),
        "model-00002-of-00002.safetensors": os.urandom(10),
        "README.md": b"words",
        "original/params.pth": b"other weights",
    }
    with running_hub(files) as running:
        yield running


def model(hub: Hub | None, folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    endpoint = ["--endpoint", hub.endpoint] if hub and words[0] == "fetch" else []
    return run(["model", words[0], *words[1:], "--folder", str(folder), *endpoint], env)


def test_weights_come_once_and_are_verified_by_sha256sum_too(hub: Hub, tmp_path: Path) -> None:
    fetched = model(hub, tmp_path / "m", "fetch")
    assert fetched.returncode == 0, fetched.stderr
    assert f"at {COMMIT} is in" in fetched.stdout
    names = {str(path.relative_to(tmp_path / "m")) for path in (tmp_path / "m").rglob("*") if path.is_file()}
    assert names == {"config.json", LARGE, "model-00002-of-00002.safetensors", "SHA256SUMS"}
    checked = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path / "m", capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert model(None, tmp_path / "m", "verify").stdout.count("ok ") == 3
    hub.asked.clear()
    assert model(hub, tmp_path / "m", "fetch").returncode == 0
    assert not [path for path, _ in hub.asked if "/resolve/" in path]


def test_a_file_that_was_cut_off_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cut[LARGE] = 250_000
    fetched = model(hub, tmp_path, "fetch")
    assert fetched.returncode == 0, fetched.stderr
    assert [asked for path, asked in hub.asked if path.endswith(LARGE)] == [None, "bytes=250000-"]
    assert (tmp_path / LARGE).read_bytes() == hub.files[LARGE]


def test_a_file_that_another_run_left_unfinished_is_taken_up(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / f"{LARGE}.part").write_bytes(hub.files[LARGE][:400_000])
    assert model(hub, tmp_path, "fetch").returncode == 0
    assert [asked for path, asked in hub.asked if path.endswith(LARGE)] == ["bytes=400000-"]
    assert (tmp_path / LARGE).read_bytes() == hub.files[LARGE]


def test_a_hub_that_cannot_go_on_in_the_middle_begins_again(hub: Hub, tmp_path: Path) -> None:
    hub.knows_ranges = False
    (tmp_path / f"{LARGE}.part").write_bytes(hub.files[LARGE][:400_000])
    assert model(hub, tmp_path, "fetch").returncode == 0
    assert [asked for path, asked in hub.asked if path.endswith(LARGE)] == ["bytes=400000-"]
    assert (tmp_path / LARGE).read_bytes() == hub.files[LARGE]


@pytest.mark.parametrize("name", [LARGE, "config.json"])
def test_a_file_with_a_wrong_checksum_never_gets_its_name(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.claimed[name] = hub.files[name][:-1] + b"?"
    refused = model(hub, tmp_path, "fetch")
    assert refused.returncode == 1
    assert refused.stderr == f"error: {name}: its checksum is wrong; it was removed, run it again\n"
    assert not (tmp_path / name).exists()
    assert not (tmp_path / f"{name}.part").exists()


def test_a_dry_run_says_what_would_come_and_brings_nothing(hub: Hub, tmp_path: Path) -> None:
    told = model(hub, tmp_path / "m", "fetch", "--dry-run", "--include", "*.safetensors")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("fetch  ") == 2
    assert "0.0 GB to fetch" in told.stdout
    assert not (tmp_path / "m").exists()


def test_a_token_opens_what_wants_one_and_is_never_shown(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    refused = model(hub, tmp_path / "m", "fetch")
    assert refused.stderr.endswith("cannot be listed: it wants a token (HF_TOKEN_FILE)\n")
    file = tmp_path / "token"
    file.write_text("hf_secret\n")
    fetched = model(hub, tmp_path / "m", "fetch", HF_TOKEN_FILE=str(file))
    assert fetched.returncode == 0
    assert "hf_secret" not in fetched.stdout + fetched.stderr


def test_a_repository_that_names_files_outside_itself_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["../outside.safetensors"] = b"x"
    refused = model(hub, tmp_path / "m", "fetch")
    assert refused.returncode == 1
    assert "names a file outside itself" in refused.stderr
    assert not (tmp_path / "outside.safetensors").exists()


def test_verify_names_what_is_damaged_or_missing(hub: Hub, tmp_path: Path) -> None:
    assert model(hub, tmp_path, "fetch").returncode == 0
    spoiled = bytearray((tmp_path / LARGE).read_bytes())
    spoiled[1000] ^= 1
    (tmp_path / LARGE).write_bytes(spoiled)
    (tmp_path / "config.json").unlink()
    found = model(None, tmp_path, "verify")
    assert found.returncode == 1
    assert f"BAD  {LARGE}: its checksum is wrong" in found.stdout
    assert "BAD  config.json: No such file or directory" in found.stdout
    assert model(None, tmp_path / "empty", "verify").stderr.startswith(f"error: {tmp_path / 'empty'} has no SHA256SUMS")

"""Everything for a host without internet: packed, held to its checksums, and unpacked into volumes that were gone."""

import subprocess
from pathlib import Path

from tests.containers.appliance import API_IMAGE, Appliance, docker
from tests.containers.test_appliance_outlives import wait_until_ready

WITHOUT_STATE = ("compose", "--profile", "*", "down", "--volumes")


def test_what_is_packed_here_starts_where_nothing_else_is(appliance: Appliance, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    told = appliance.ops("bundle", str(folder), "--no-wheels", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert not folder.exists()
    packed = appliance.ops("bundle", str(folder), "--no-wheels")
    assert packed.returncode == 0, packed.stderr
    assert {path.name for path in folder.iterdir()} == {"images.tar", "files.tar", "model.tar", "SHA256SUMS"}
    checked = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr

    appliance.run("docker", *WITHOUT_STATE)
    docker("image", "rm", "--force", "--no-prune", API_IMAGE)
    loaded = appliance.ops("load", str(folder))
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    docker("image", "inspect", API_IMAGE)  # before `up`, which would build what is not there
    up = appliance.ops("up", "--wait-s", "60")
    assert up.returncode == 0, up.stdout + up.stderr
    wait_until_ready(appliance)


def test_no_secret_and_no_state_is_packed(appliance: Appliance, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    assert appliance.ops("bundle", str(folder), "--no-wheels", "--no-model").returncode == 0
    names = subprocess.run(["tar", "-tf", folder / "files.tar"], capture_output=True, text=True, check=True).stdout
    assert "sovereign-assistant/compose.yaml\n" in names
    assert "sovereign-assistant/ops/appliance/secrets.py\n" in names
    assert "sovereign-assistant/secrets" not in names
    assert "sovereign-assistant/.env\n" not in names


def test_a_bundle_with_a_changed_byte_is_not_loaded(appliance: Appliance, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    assert appliance.ops("bundle", str(folder), "--no-wheels", "--no-model").returncode == 0
    with (folder / "images.tar").open("r+b") as file:
        file.seek(4096)
        byte = file.read(1)
        file.seek(4096)
        file.write(bytes([byte[0] ^ 1]))
    refused = appliance.ops("load", str(folder))
    assert refused.returncode == 1
    assert "error: images.tar: its checksum is wrong" in refused.stderr
    assert "Loaded image" not in refused.stdout

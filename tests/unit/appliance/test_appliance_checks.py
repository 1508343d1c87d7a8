"""What `just up` looks at before it starts anything, without an engine."""

import socket
from pathlib import Path
from typing import Any

import pytest

from ops.appliance import secrets
from ops.appliance.checks import (
    compose_check,
    copies_check,
    engine_check,
    environment_check,
    gpu_check,
    is_free,
    model_check,
    processor_check,
    secret_files,
    secrets_check,
)

GPU = {"deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia"}]}, "limits": {"cpus": 8}}}}


def config(**services: Any) -> dict[str, Any]:
    api = {"environment": {"MODEL_URL": "http://model:8000/v1"}}
    return {"services": {"api": api, **services}}


@pytest.mark.parametrize(
    ("version", "is_enough"), [("20.10.24+dfsg1", True), ("28.2.2", True), ("19.03.15", False), ("20.9", False)]
)
def test_the_engine_is_held_to_the_oldest_that_is_known_to_work(version: str, is_enough: bool) -> None:
    assert (not engine_check(version).problems) is is_enough


@pytest.mark.parametrize(("version", "is_enough"), [("2.26.1-4\n", True), ("v2.39.2", True), ("2.25.9", False)])
def test_compose_is_held_to_the_oldest_that_reads_our_file(version: str, is_enough: bool) -> None:
    assert (not compose_check(version).problems) is is_enough


def test_a_card_is_asked_of_the_engine_only_where_a_service_wants_one() -> None:
    assert not gpu_check(config(), {}).problems
    assert "COMPOSE_PROFILES=cpu" in gpu_check(config(vllm=GPU), {"Runtimes": {"runc": {}}}).problems[0]
    assert not gpu_check(config(vllm=GPU), {"Runtimes": {"nvidia": {}}}).problems
    assert not gpu_check(config(vllm=GPU), {"DiscoveredDevices": [{"ID": "nvidia.com/gpu=0"}]}).problems


def test_more_processors_than_there_are_is_said_with_what_to_set() -> None:
    assert not processor_check(config(vllm=GPU), 8).problems
    assert "ENGINE_CPUS=4" in processor_check(config(vllm=GPU), 4).problems[0]


def test_without_any_model_server_nothing_starts() -> None:
    assert model_check(config()).problems
    assert not model_check(config(vllm=GPU)).problems
    elsewhere = {"services": {"api": {"environment": {"MODEL_URL": "http://10.0.0.5:8000/v1"}}}}
    assert not model_check(elsewhere).problems


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_model_server_on_loopback_would_be_the_container_itself(host: str) -> None:
    api = {"environment": {"MODEL_URL": f"http://{host}:8000/v1"}}
    assert "host.docker.internal" in model_check({"services": {"api": api}}).problems[0]


def test_a_secret_in_the_environment_is_refused_and_not_repeated() -> None:
    check = environment_check({"API_KEY": "sk-plain", "PATH": "/bin"})
    assert check.problems
    assert "sk-plain" not in str(check)
    assert not environment_check({"API_KEY": ""}).problems


def test_a_port_that_somebody_has_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


def test_missing_secrets_are_made_once_for_their_owner_and_for_containers(tmp_path: Path) -> None:
    files = {name: tmp_path / "secrets" / name for name in secrets.MADE}
    assert secrets.missing(files) == files
    assert secrets.problems(files) == []
    for name, path in files.items():
        secrets.make(name, path)
    assert secrets.missing(files) == {}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o444}
    texts = [path.read_text().strip() for path in files.values()]
    assert len(set(texts)) == len(texts)
    assert min(map(len, texts)) >= 24
    with pytest.raises(FileExistsError):
        secrets.make("api_key", files["api_key"])


def test_a_folder_that_others_can_look_into_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert secrets.problems({"api_key": folder / "api_key"}) == [f"{folder}: others can look into it: chmod 700"]


def test_what_is_wrong_with_a_secret_is_said_without_it(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("api_key", "key_pepper", "model_api_key", "bucket_key")}
    files["api_key"].write_text(" \n")
    files["key_pepper"].write_text("a pepper that is secret")
    files["key_pepper"].chmod(0o600)
    files["model_api_key"].mkdir()
    check = secrets_check({"secrets": {name: {"file": str(path)} for name, path in files.items()}})
    assert [problem.partition(": ")[2].split(":")[0].split(";")[0] for problem in check.problems] == [
        "empty",
        "the container's user cannot read it",
        "not a file",
        "missing, and not a secret that can be made up",
    ]
    assert "a pepper that is secret" not in str(check)


def backups(folder: Path | None = None, **settings: str) -> dict[str, Any]:
    volume = {"type": "volume", "source": "no-copy", "target": "/copy"}
    mount = volume if folder is None else {"type": "bind", "source": str(folder), "target": "/copy"}
    return config(backup={"volumes": [mount], "environment": settings})


def test_that_there_is_no_copy_of_backups_is_said_and_no_reason_not_to_start(tmp_path: Path) -> None:
    check = copies_check(backups())
    assert check.found == "none: a dead disk takes all snapshots along with the state"
    assert not check.problems
    assert copies_check(backups(tmp_path)).found == str(tmp_path)


def test_a_folder_for_copies_has_to_be_there_and_a_bucket_has_to_have_both_keys(tmp_path: Path) -> None:
    [problem] = copies_check(backups(tmp_path / "away")).problems
    assert problem.endswith("away: no folder is there: mount its disk, mkdir it there, chown 10001:10001")
    bucket = {"BACKUP_BUCKET_URL": "https://host/bucket", "BACKUP_BUCKET_ACCESS_KEY_FILE": "/run/secrets/x"}
    assert copies_check(backups(**bucket)).problems
    assert not copies_check(backups(**bucket, BACKUP_BUCKET_SECRET_KEY_FILE="/run/secrets/y")).problems


def test_secrets_of_a_bucket_are_looked_at_only_where_the_operator_names_them(tmp_path: Path) -> None:
    named = {"bucket_access_key": {"file": str(tmp_path / "key")}, "bucket_secret_key": {"file": "/dev/null"}}
    assert secret_files({"secrets": named}) == {"bucket_access_key": tmp_path / "key"}


def test_credentials_of_backups_in_the_environment_are_refused_with_where_they_belong() -> None:
    [problem] = environment_check({"BACKUP_BUCKET_SECRET_KEY": "hidden"}).problems
    assert "takes it from BACKUP_BUCKET_SECRET_KEY_FILE" in problem
    assert "hidden" not in problem

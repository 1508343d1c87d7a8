"""compose.yaml takes what the documents say, passes on every setting of the API, and names no secret's value."""

import re
from typing import Any

import pytest
import yaml

from app import __version__
from app.settings import variables
from ops.backup.settings import BackupSettings
from ops.vllm.start import CHAT_TEMPLATE, EXTRA, MODEL, PARSER, SETTINGS
from tests.fixtures.processes import ROOT

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
API_SETTINGS = {one.var.name for one in variables()}
BACKUP_SETTINGS = {one.var.name for one in variables(BackupSettings)}  # docs/settings.md explains them
# Decided by the image and by compose.yaml itself, or not for a container: see docs/install.md.
NOT_PASSED_ON = {
    "API_HOST",
    "API_PORT",
    "DATABASE_URL",
    "KEY_JOURNAL_FILE",
    "MODELS_FILE",
    "READ_ONLY",
    "SHUTDOWN_GRACE_S",
}
SECRETS = {one.var.name for one in variables() if one.var.secret}
BACKUP_SECRETS = {one.var.name for one in variables(BackupSettings) if one.var.secret}
OF_COMPOSE = {"COMPOSE_PROFILES": "gpu"}
NOTHING = "/dev/null"
OF_RESTORES = {"BACKUP_IDENTITY"}  # given by standard input, to nothing that stays
OF_THE_CONTAINER = {"BACKUP_DIR", "BACKUP_METRICS_PORT", "BACKUP_METRICS_HOST"}
OF_THE_SIDECAR = re.compile("BACKUP_(KEEP|DRILL|SCRUB|METRICS)_")


def taken() -> dict[str, str]:
    """Every variable that compose.yaml reads and the API does not, with its default there or in the start script."""
    interpolated = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE))
    passed = {name for service in SERVICES.values() for name, value in environment(service).items() if value is None}
    found = dict.fromkeys(passed, "") | {
        name: "" if value == NOTHING else value for name, value in interpolated.items()
    }
    engine = {one.name: one.default for one in (*SETTINGS, MODEL, PARSER, CHAT_TEMPLATE, EXTRA)}
    ours = found.keys() - API_SETTINGS - BACKUP_SETTINGS
    return OF_COMPOSE | {name: engine.get(name, found[name]) for name in ours}


def environment(service: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = service.get("environment") or {}
    return found


def test_the_example_environment_has_every_variable_of_compose_yaml_with_its_default() -> None:
    section = (ROOT / ".env.example").read_text().partition("# --- the appliance")[2]
    assert dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", section, re.MULTILINE)) == taken()


def test_docs_install_explains_every_variable_of_compose_yaml_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|", (ROOT / "docs/install.md").read_text(), re.MULTILINE)
    assert dict(rows) == taken()


def test_the_api_is_given_every_setting_that_is_the_operators_to_make() -> None:
    given = set(environment(SERVICES["api"])) & API_SETTINGS  # METRICS_HOST and METRICS_PORT as compose.yaml decides
    assert given == API_SETTINGS - NOT_PASSED_ON - SECRETS


def test_defaults_that_stand_twice_are_the_same() -> None:
    engine = {one.name: one.default for one in (*SETTINGS, MODEL)}
    llama = dict(re.findall(r"\$\{(ENGINE_[A-Z_]+):-([^}]*)\}", str(SERVICES["llama"])))
    assert {name: value for name, value in llama.items() if name in engine}.items() <= engine.items()


@pytest.mark.parametrize("name", sorted(SECRETS - {"DATABASE_URL"}))
def test_secrets_reach_the_api_as_files(name: str) -> None:
    assert name not in COMPOSE.replace(f"{name}_FILE", "")
    assert environment(SERVICES["api"])[f"{name}_FILE"].startswith("/run/secrets/")


def test_the_images_bear_the_version_of_the_code() -> None:
    for name in ("Dockerfile", "Dockerfile.vllm"):
        assert f"ARG VERSION={__version__}\n" in (ROOT / name).read_text()
    assert f"${{APPLIANCE_VERSION:-{__version__}}}" in COMPOSE


def test_every_image_is_pinned_to_a_version() -> None:
    images = re.findall(r"image: ([^&\s]\S+)", COMPOSE) + re.findall(
        r"ARG BASE=(\S+)", (ROOT / "Dockerfile").read_text()
    )
    assert len(images) > 8
    assert [
        image for image in images if not re.search(r":[^:]*\d+\.\d+|:server-b\d+|:\$\{APPLIANCE_VERSION", image)
    ] == []


def test_the_sidecar_is_given_every_setting_of_backups_and_the_keeper_all_that_a_restore_needs() -> None:
    plain = BACKUP_SETTINGS - BACKUP_SECRETS
    sidecar, keeper = (set(environment(SERVICES[name])) for name in ("backup", "state-keeper"))
    assert plain - OF_THE_CONTAINER <= sidecar
    assert {name for name in plain if not OF_THE_SIDECAR.match(name)} <= keeper <= sidecar
    assert not (BACKUP_SECRETS | {f"{name}_FILE" for name in OF_RESTORES}) & sidecar


@pytest.mark.parametrize("service", ["backup", "state-keeper"])
def test_copies_are_where_the_operator_says_and_nowhere_by_default(service: str) -> None:
    assert "${BACKUP_COPY_DIR:-no-copy}:/copy" in SERVICES[service]["volumes"]
    assert environment(SERVICES[service])["BACKUP_COPY_DIR"] == "${BACKUP_COPY_DIR:+/copy}"
    assert "no-copy" in yaml.safe_load(COMPOSE)["volumes"]


@pytest.mark.parametrize("service", ["backup", "state-keeper"])
@pytest.mark.parametrize("name", sorted(BACKUP_SECRETS - OF_RESTORES))
def test_credentials_of_the_bucket_are_files_that_the_operator_names(service: str, name: str) -> None:
    secret = name.removeprefix("BACKUP_").lower()
    assert environment(SERVICES[service])[f"{name}_FILE"] == f"${{{name}_FILE:+/run/secrets/{secret}}}"
    assert secret in SERVICES[service]["secrets"]
    assert yaml.safe_load(COMPOSE)["secrets"][secret] == {"file": f"${{{name}_FILE:-{NOTHING}}}"}

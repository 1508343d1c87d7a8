"""What must be so before the appliance is started. Checks change nothing and say all that is wrong at once."""

import json
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ops.appliance import secrets
from ops.appliance.docker import asked, containers

OLDEST_ENGINE = (20, 10)
OLDEST_COMPOSE = (2, 26)
FREE_BYTES = 10 * 1024**3
GIVEN_ONLY_BY_FILE = {
    "API_KEY": "secrets/",
    "KEY_PEPPER": "secrets/",
    "MODEL_API_KEY": "secrets/",
    "BACKUP_BUCKET_ACCESS_KEY": "BACKUP_BUCKET_ACCESS_KEY_FILE",
    "BACKUP_BUCKET_SECRET_KEY": "BACKUP_BUCKET_SECRET_KEY_FILE",
    "BACKUP_IDENTITY": "BACKUP_IDENTITY_FILE, for one restore",
}
NO_SECRET = Path("/dev/null")
"""What compose.yaml names where the operator names no file."""
OWN_MACHINE = re.compile(r"//(localhost|127\.|\[::1\])")


class Check(NamedTuple):
    """One thing that was looked at, and what is wrong with it, a line each."""

    name: str
    found: str
    problems: tuple[str, ...] = ()


def all_checks(config: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Check]:
    """Look at everything. The engine is first: without it nothing else can be known. Raises DockerFailed."""
    engine = json.loads(asked("info", "--format", "{{json .}}"))
    yield engine_check(str(engine.get("ServerVersion", "")))
    yield compose_check(asked("compose", "version", "--short"))
    yield gpu_check(config, engine)
    yield processor_check(config, int(engine.get("NCPU", 0)))
    yield ports_check(config)
    yield disk_check(Path(str(engine.get("DockerRootDir", "/"))))
    yield secrets_check(config)
    yield copies_check(config)
    yield model_check(config)
    yield environment_check(env)


def version(text: str) -> tuple[int, ...]:
    """Read the leading numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def engine_check(found: str) -> Check:
    """Hold the engine to the oldest that is known to work."""
    old = version(found) < OLDEST_ENGINE
    return Check("Docker", found, (f"Docker {found} is older than 20.10",) if old else ())


def compose_check(found: str) -> Check:
    """Hold Compose to the oldest that understands compose.yaml."""
    old = version(found) < OLDEST_COMPOSE
    return Check("Compose", found.strip(), (f"Compose {found.strip()} is older than 2.26",) if old else ())


def gpu_check(config: Mapping[str, Any], engine: Mapping[str, Any]) -> Check:
    """Find what gives containers the card, if any service wants it."""
    if not any(reserved_devices(service) for service in config["services"].values()):
        return Check("GPU", "not asked for")
    devices = [str(device.get("ID", "")) for device in engine.get("DiscoveredDevices") or ()]
    if "nvidia" in (engine.get("Runtimes") or {}) or any(device.startswith("nvidia.com/") for device in devices):
        return Check("GPU", "NVIDIA runtime")
    words = "this engine has no NVIDIA runtime: install the NVIDIA container toolkit, or COMPOSE_PROFILES=cpu in .env"
    return Check("GPU", "none", (words,))


def reserved_devices(service: Mapping[str, Any]) -> list[Any]:
    """Return the devices that a service reserves."""
    resources = (service.get("deploy") or {}).get("resources") or {}
    return list((resources.get("reservations") or {}).get("devices") or ())


def processor_check(config: Mapping[str, Any], there: int) -> Check:
    """Compare limits with the machine: the engine refuses a limit above it."""
    limits = {name: cpus_of(service) for name, service in config["services"].items()}
    above = tuple(
        f"{name} may use {limit:g} processors and there are {there}: ENGINE_CPUS={there} in .env"
        for name, limit in limits.items()
        if limit > there
    )
    return Check("processors", str(there), above)


def cpus_of(service: Mapping[str, Any]) -> float:
    """Return how many processors a service may use; 0 when it is not said."""
    resources = (service.get("deploy") or {}).get("resources") or {}
    return float((resources.get("limits") or {}).get("cpus") or 0)


def ports_check(config: Mapping[str, Any]) -> Check:
    """Find ports that another program holds; those of our own running containers are ours."""
    ours = {int(published.get("PublishedPort", 0)) for one in containers() for published in one.get("Publishers") or ()}
    wanted = [
        (str(port.get("host_ip") or "0.0.0.0"), int(port["published"]))  # noqa: S104 - what Docker takes it to mean
        for service in config["services"].values()
        for port in service.get("ports") or ()
    ]
    taken = tuple(
        f"port {port} of {host} is taken" for host, port in wanted if port not in ours and not is_free(host, port)
    )
    return Check("ports", ", ".join(f"{host}:{port}" for host, port in wanted), taken)


def is_free(host: str, port: int) -> bool:
    """Tell whether a port could be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def disk_check(root: Path) -> Check:
    """Look at the disk that images and volumes are on."""
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return Check("disk", f"{root} cannot be looked at from here")
    few = (f"{free / 1e9:.0f} GB are free under {root}, at least {FREE_BYTES / 1e9:.0f} are needed",)
    return Check("disk", f"{free / 1e9:.0f} GB free", few if free < FREE_BYTES else ())


def secret_files(config: Mapping[str, Any]) -> dict[str, Path]:
    """Return where the secrets of the services are."""
    files = {name: Path(secret["file"]) for name, secret in (config.get("secrets") or {}).items() if "file" in secret}
    return {name: path for name, path in files.items() if path != NO_SECRET}


def secrets_check(config: Mapping[str, Any]) -> Check:
    """Look at the secrets' files, never at what is in them."""
    files = secret_files(config)
    missing = secrets.missing(files)
    found = f"{len(files) - len(missing)} of {len(files)} there"
    return Check("secrets", found, tuple(secrets.problems(files)))


def copies_check(config: Mapping[str, Any]) -> Check:
    """Look at where copies of backups go. Whether the folder can be written is the sidecar's to find out."""
    service = config["services"].get("backup") or {}
    settings = service.get("environment") or {}
    folders = [
        one["source"] for one in service.get("volumes") or () if (one["type"], one["target"]) == ("bind", "/copy")
    ]
    buckets = [str(url) for url in [settings.get("BACKUP_BUCKET_URL")] if url]
    away = tuple(
        f"BACKUP_COPY_DIR {folder}: no folder is there: mount its disk, mkdir it there, chown 10001:10001"
        for folder in folders
        if not Path(folder).is_dir()
    )
    named = all(settings.get(f"BACKUP_BUCKET_{key}_KEY_FILE") for key in ("ACCESS", "SECRET"))
    without = ("BACKUP_BUCKET_URL: needs BACKUP_BUCKET_ACCESS_KEY_FILE and BACKUP_BUCKET_SECRET_KEY_FILE",)
    found = ", ".join([*folders, *buckets]) or "none: a dead disk takes all snapshots along with the state"
    return Check("copies", found, (*away, *(without if buckets and not named else ())))


def model_check(config: Mapping[str, Any]) -> Check:
    """Find what the API will ask."""
    inside = {"vllm", "llama"} & set(config["services"])
    url = str(config["services"]["api"]["environment"].get("MODEL_URL") or "")
    if OWN_MACHINE.search(url):
        words = f"{url} is the API's own container: for one on this machine say http://host.docker.internal:PORT/v1"
        return Check("model server", "none", (words,))
    if inside or "//model:" not in url:
        return Check("model server", ", ".join(sorted(inside)) or url)
    words = "none: COMPOSE_PROFILES=gpu (vLLM) or cpu (llama.cpp) in .env, or MODEL_URL of a server of your own"
    return Check("model server", "none", (words,))


def environment_check(env: Mapping[str, str]) -> Check:
    """Refuse secrets in the environment: the appliance reads files, and would silently go by those."""
    given = [name for name in GIVEN_ONLY_BY_FILE if env.get(name)]
    words = tuple(
        f"{name} is set: the appliance takes it from {GIVEN_ONLY_BY_FILE[name]}, remove it from .env" for name in given
    )
    return Check("environment", "no secrets" if not given else "secrets", words)

"""What every service of the appliance is held to, over `docker compose config --format json`. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Service = Mapping[str, Any]

KEEPERS = {"model-keeper", "state-keeper"}  # run by a command and gone when it ends
WITH_OWN_CHECK = {"api", "vllm", "backup"}  # the Dockerfile has it
ONLY_INSIDE = {"vllm", "llama", "gpu-exporter"}
MAY_GO_OUT = {"proxy", "model-keeper"}
ALONE_ON = {"offsite": {"backup", "state-keeper"}}
PUBLISHED = {
    "api": {("127.0.0.1", "8001", 8001)},
    "prometheus": {("127.0.0.1", "8002", 9090)},
    "grafana": {("127.0.0.1", "3000", 3000)},
    "tracing": {("127.0.0.1", "16686", 16686)},
    "proxy": {("", "80", 80), ("", "443", 443)},
}
CAPABILITIES = {"proxy": ["NET_BIND_SERVICE"]}
ROOT_WITHOUT_RIGHTS = {"proxy"}
COMPILES = {"vllm"}  # what it compiles it loads from /tmp, which must not be noexec then
READ_ONLY_MOUNTS = {("vllm", "/models"), ("llama", "/models"), ("backup", "/data")}
FORBIDDEN = ("privileged", "pid", "ipc", "userns_mode", "devices", "cgroup_parent", "volumes_from", "env_file")
SECRET_NAME = re.compile(r"(KEY|PASSWORD|SECRET|TOKEN|PEPPER|DATABASE_URL)$")


def violations(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong, each beginning with the service's name."""
    for name, service in config["services"].items():
        for rule in (hardening, limits, lifecycle, mounts, reach, secrecy):
            yield from (f"{name}: {words}" for words in rule(name, service))
    if not config["networks"]["inside"].get("internal"):
        yield "inside: has a way out"
    for network in ("edge", "watch", "offsite"):
        options = config["networks"][network].get("driver_opts") or {}
        if options.get("com.docker.network.bridge.enable_ip_masquerade") != "false":
            yield f"{network}: has a way out"
    yield from stopping(config["services"])


def hardening(name: str, service: Service) -> Iterator[str]:
    """What its processes may do."""
    if not service.get("read_only"):
        yield "its root can be written"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add", []) != CAPABILITIES.get(name, []):
        yield "has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain privileges"
    if not re.fullmatch(r"[1-9]\d*:\d+", service.get("user", "")) and name not in ROOT_WITHOUT_RIGHTS:
        yield "may run as root"
    if not service.get("init"):
        yield "nobody buries its orphans"
    temporary = [one for one in service.get("tmpfs", []) if one.startswith("/tmp:")]
    wanted = {"nosuid", "nodev"} | (set() if name in COMPILES else {"noexec"})
    if not temporary or not wanted <= set(temporary[0].partition(":")[2].split(",")) or "size=" not in temporary[0]:
        yield "has no bounded /tmp that runs nothing"
    yield from (f"{word} is set" for word in FORBIDDEN if service.get(word))


def limits(_: str, service: Service) -> Iterator[str]:
    """What it may use up."""
    limited = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    yield from (f"its {what} are not bounded" for what in ("cpus", "memory", "pids") if not limited.get(what))
    logging = service.get("logging") or {}
    if logging.get("driver") != "json-file" or not {"max-size", "max-file"} <= set(logging.get("options") or {}):
        yield "its logs grow for ever"


def lifecycle(name: str, service: Service) -> Iterator[str]:
    """How it starts, is watched, and ends."""
    if service.get("restart") != ("no" if name in KEEPERS else "unless-stopped"):
        yield "is not started again"
    check = service.get("healthcheck") or {}
    if name in KEEPERS | WITH_OWN_CHECK:
        if check.get("test"):
            yield "has a health check beside that of its image"
    elif check.get("disable") or not check.get("test") or not check.get("timeout"):
        yield "has no health check"
    if name not in KEEPERS and not service.get("stop_grace_period"):
        yield "gets no time of its own to end"
    if not re.search(r":(?!latest)[^:@]*\d", service["image"]):
        yield "its image is not pinned"


def mounts(name: str, service: Service) -> Iterator[str]:
    """What of the host it sees."""
    for one in service.get("volumes", []):
        must = one["type"] == "bind" or (name, one["target"]) in READ_ONLY_MOUNTS
        if must and not one.get("read_only"):
            yield f"may write {one['target']}"
        if "docker.sock" in str(one.get("source")):
            yield "commands the engine"


def reach(name: str, service: Service) -> Iterator[str]:
    """Who can reach it, and whom it can reach."""
    published = {(one.get("host_ip", ""), one["published"], one["target"]) for one in service.get("ports", [])}
    if published != PUBLISHED.get(name, set()):
        yield f"publishes {sorted(published)}"
    networks = set(service.get("networks") or {})
    if name in ONLY_INSIDE and networks != {"inside"}:
        yield "is not on the inner network alone"
    if networks - {"inside", "edge", "watch", *ALONE_ON, "out"} or ("out" in networks and name not in MAY_GO_OUT):
        yield "is on a network that it should not be on"
    if any(network in networks and name not in alone for network, alone in ALONE_ON.items()):
        yield "is on a network that it should not be on"
    if service.get("network_mode", "none") != "none":
        yield "has a network of its own choice"


def secrecy(_: str, service: Service) -> Iterator[str]:
    """That no secret is in its environment or on its command line."""
    for variable in service.get("environment") or {}:
        if SECRET_NAME.search(variable):
            yield f"is given {variable} as a variable"
    for one in service.get("secrets", []):
        if not one["target"].startswith("/run/secrets/"):
            yield f"is given a secret at {one['target']}"


def stopping(services: Mapping[str, Service]) -> Iterator[str]:
    """That the API ends before the model server, and that nobody waits for a model to be alive."""
    api = services["api"]
    for model in ("vllm", "llama"):
        if seconds(api) >= seconds(services[model]):
            yield f"api: ends after {model}"
    for name, service in services.items():
        for other, condition in (service.get("depends_on") or {}).items():
            if condition["condition"] != "service_started":
                yield f"{name}: waits for {other} to be healthy"
    if not {"vllm", "llama"} <= set(api.get("depends_on") or {}):
        yield "api: is not stopped before the model server"


def seconds(service: Service) -> int:
    """Return how long a service gets to end."""
    return int(re.sub(r"\D", "", service.get("stop_grace_period", "10s")))

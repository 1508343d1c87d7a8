"""The Caddyfile that is handed out, in front of a real API: TLS, streams as they come, and whose request it is."""

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.e2e.streaming import new_assistant, new_thread, run_arrivals
from tests.fixtures.processes import ROOT, api_process, free_port, running, stand_in
from tests.fixtures.servers import API_KEY, MODEL
from tests.fixtures.wire import logged

CADDY = shutil.which("caddy")
CADDYFILE = ROOT / "ops/caddy/Caddyfile"
CLIENT = "127.0.0.2"
WORDS = 12
WORD_S = 0.05
START_S = 20.0


class Site(NamedTuple):
    """An API behind Caddy: a client of the latter, who calls from CLIENT, and the API's log."""

    client: httpx2.Client
    log: Path

    def address_of(self, answer: httpx2.Response) -> str:
        """Return whose request it was, as the log has it."""
        return str(logged(self.log, answer.headers["x-request-id"])["address"])


def adapted(port: int, api_url: str) -> dict[str, Any]:
    """Return the Caddyfile as Caddy reads it, on a free port, and with nothing of this machine touched."""
    env = {**os.environ, "SITE": "localhost", "API": api_url.removeprefix("http://").removesuffix("/v1")}
    command = [str(CADDY), "adapt", "--config", str(CADDYFILE)]
    config = json.loads(subprocess.run(command, env=env, check=True, capture_output=True, timeout=START_S).stdout)
    [server] = config["apps"]["http"]["servers"].values()
    server["listen"] = [f"127.0.0.1:{port}"]
    server["automatic_https"] = {"disable_redirects": True}
    config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    return {**config, "admin": {"disabled": True}}


def trusting(authority: Path) -> ssl.SSLContext:
    """Wait for Caddy's own authority, and trust it alone."""
    deadline = time.monotonic() + START_S
    while not (authority.exists() and authority.stat().st_size):
        assert time.monotonic() < deadline, "Caddy made no certificate"
        time.sleep(0.02)
    return ssl.create_default_context(cafile=str(authority))


@pytest.fixture(scope="module", autouse=True)
def caddy() -> str:
    if CADDY is None:
        missing = "no caddy on this machine (Debian package: caddy)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)  # for whoever develops without it; CI has failed above
    return CADDY


@pytest.fixture(scope="module")
def site(caddy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give an API behind the Caddyfile."""
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    env = {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with (
        stand_in(folder / "standin", "--model", MODEL, "--token-ms", str(WORD_S * 1000)) as model_url,
        api_process(folder / "log", {**env, "MODEL_URL": model_url}) as (api_url, _),
    ):
        (folder / "caddy.json").write_text(json.dumps(adapted(port, api_url)))
        command = [caddy, "run", "--config", str(folder / "caddy.json")]
        with running(command, {"XDG_DATA_HOME": str(folder), "HOME": str(folder)}, folder / "caddy.log"):
            context = trusting(folder / "caddy/pki/authorities/local/root.crt")
            transport = httpx2.HTTPTransport(verify=context, local_address=CLIENT, retries=20)
            headers = {"Authorization": f"Bearer {API_KEY}"}
            with httpx2.Client(base_url=f"https://localhost:{port}/v1", headers=headers, transport=transport) as client:
                yield Site(client, folder / "log")


def test_a_stream_comes_through_word_by_word(site: Site) -> None:
    arrivals = run_arrivals(site.client, new_assistant(site.client), new_thread(site.client, f"repeat {WORDS} words"))
    assert len(arrivals) >= WORDS
    assert arrivals[-1].at_s - arrivals[0].at_s > WORDS * WORD_S / 2
    assert len({arrival.read for arrival in arrivals}) > WORDS / 2


@pytest.mark.parametrize("claimed", [None, "203.0.113.9", "127.0.0.1", "<script>"])
def test_the_clients_address_is_the_one_that_caddy_saw(site: Site, claimed: str | None) -> None:
    headers = {} if claimed is None else {"X-Forwarded-For": claimed}
    answer = site.client.get("/models", headers=headers)
    assert answer.status_code == 200
    assert site.address_of(answer) == CLIENT


def test_a_browser_is_told_to_come_by_tls_only(site: Site) -> None:
    answer = site.client.get("/models")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "chunked"])
def test_a_body_that_is_too_large_is_refused_by_the_api(site: Site, stated: bool) -> None:
    body = b" " * (10 * 1024 * 1024 + 1)
    answer = site.client.post("/threads", content=body if stated else iter([body]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_body_beyond_what_caddy_takes_is_refused_too(site: Site) -> None:
    answer = site.client.post("/threads", content=b" " * 17_000_000)
    assert answer.status_code == 413


def test_the_handed_out_file_is_in_caddys_form(caddy: str) -> None:
    done = subprocess.run([caddy, "fmt", str(CADDYFILE)], check=True, capture_output=True, timeout=START_S)
    assert done.stdout.decode() == CADDYFILE.read_text()

"""A model server that is reached by TLS: trusted as the machine trusts, or not spoken to at all."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.e2e.test_caddy import START_S, caddy, trusting
from tests.fixtures.processes import api_process, free_port, running, stand_in
from tests.fixtures.servers import API_KEY, MODEL

__all__ = ["caddy"]  # a fixture

ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "say exactly: gold rose"}]}


class Secured(NamedTuple):
    """Where a model server is by TLS, and the certificate of the authority that vouches for it."""

    url: str
    authority: Path


def before(port: int, model_url: str) -> dict[str, Any]:
    """Return what makes Caddy end TLS for a model server, with an authority of its own."""
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": model_url.removeprefix("http://").removesuffix("/v1")}]}
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "automatic_https": {"disable_redirects": True},
        "routes": [{"match": [{"host": ["localhost"]}], "handle": [{**proxy, "flush_interval": -1}]}],
    }
    return {
        "admin": {"disabled": True},
        "apps": {
            "http": {"servers": {"model": server}},
            "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
            "tls": {"automation": {"policies": [{"issuers": [{"module": "internal"}]}]}},
        },
    }


@pytest.fixture(scope="module")
def secured(caddy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    with stand_in(folder / "standin", "--model", MODEL) as model_url:
        (folder / "caddy.json").write_text(json.dumps(before(port, model_url)))
        command = [caddy, "run", "--config", str(folder / "caddy.json")]
        with running(command, {"XDG_DATA_HOME": str(folder), "HOME": str(folder)}, folder / "caddy.log"):
            authority = folder / "caddy/pki/authorities/local/root.crt"
            transport = httpx2.HTTPTransport(verify=trusting(authority), retries=20)
            with httpx2.Client(transport=transport) as client:
                deadline = time.monotonic() + START_S
                while not client.get(f"https://localhost:{port}/health").is_success:
                    assert time.monotonic() < deadline
            yield Secured(f"https://localhost:{port}/v1", authority)


def settings(folder: Path, secured: Secured) -> dict[str, str]:
    return {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{folder}/a.db", "MODEL_URL": secured.url}


def asking(api_url: str, **more: object) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return httpx2.post(f"{api_url}/chat/completions", json={**ASKED, **more}, headers=headers, timeout=START_S)


def test_answers_and_streams_come_from_a_server_that_the_machine_trusts(secured: Secured, tmp_path: Path) -> None:
    trusted = {**settings(tmp_path, secured), "SSL_CERT_FILE": str(secured.authority)}
    with api_process(tmp_path / "log", trusted) as (api_url, _):
        deadline = time.monotonic() + START_S
        while (answer := asking(api_url)).status_code == 503:  # not looked at yet
            assert time.monotonic() < deadline
        assert answer.json()["choices"][0]["message"]["content"] == "gold rose"
        for _ in range(3):
            streamed = asking(api_url, stream=True)
            assert streamed.status_code == 200
            assert streamed.text.endswith("data: [DONE]\n\n")


def test_one_that_it_does_not_trust_is_not_spoken_to(secured: Secured, tmp_path: Path) -> None:
    with api_process(tmp_path / "log", settings(tmp_path, secured)) as (api_url, _):
        answer = asking(api_url)
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "The model server cannot be reached."
        assert "retry-after" in answer.headers

"""/docs and /redoc in a real Chromium: the document is drawn, and the page asks for nothing outside.

Chromium's own network log is the witness. It is read with the policy taken away, too: then it is the files
that ask for nothing, not the browser that refuses."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from litestar import Litestar, MediaType, Response, get
from litestar.types import Message, Scope

from app.web.pages.controller import SWAGGER_POLICY, PagesController
from tests.unit.pages.serving import OPERATION, document, served

CHROMIUM = shutil.which("chromium")
WITHIN_S = 120.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser's own errands end here as well: no name but this machine's is ever resolved.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=8000",
    "--enable-logging=stderr",
    "--dump-dom",
)
OUTSIDE = "http://outside.invalid/picture.png"


class Seen(NamedTuple):
    """What Chromium drew, what the page asked for, and what Chromium said on the page's console."""

    dom: str
    asked: list[str]
    console: list[str]


@get("/leak", sync_to_thread=False)
def leak() -> Response[bytes]:
    """The counter-example: a page that does ask for an outside picture."""
    page = f'<!doctype html><link rel="icon" href="data:,"><img src="{OUTSIDE}">'
    return Response(page.encode(), media_type=MediaType.HTML, headers={"content-security-policy": SWAGGER_POLICY})


async def without_policy(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        kept = [header for header in message["headers"] if header[0] != b"content-security-policy"]
        message["headers"] = kept


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    if CHROMIUM is None:
        missing = "no chromium on this machine (Debian package: chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)  # for whoever develops without it; CI has failed above


@pytest.fixture(scope="module")
def guarded() -> Iterator[int]:
    with served(Litestar([PagesController, document, leak], openapi_config=None)) as port:
        yield port


@pytest.fixture(scope="module")
def unguarded() -> Iterator[int]:
    app = Litestar([PagesController, document, leak], openapi_config=None, before_send=[without_policy])
    with served(app) as port:
        yield port


def look(port: int, path: str, folder: Path) -> Seen:
    """Open a page in a new Chromium with an empty profile."""
    assert CHROMIUM is not None
    log = folder / "network.json"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(done.stdout, asked_by(f"http://127.0.0.1:{port}", log), console)


def asked_by(origin: str, log: Path) -> list[str]:
    """The addresses that pages of `origin` asked for; the browser's own errands have no such initiator."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    requests = [event.get("params", {}) for event in events]
    return sorted({request["url"] for request in requests if request.get("initiator") == origin})


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_draws_an_operation_of_the_document(guarded: int, path: str, tmp_path: Path) -> None:
    seen = look(guarded, path, tmp_path)
    assert OPERATION in seen.dom
    assert "<title>Sovereign Assistant API</title>" in seen.dom
    assert seen.console == []  # a word from the policy would stand here


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_asks_for_nothing_outside_even_where_it_could(unguarded: int, path: str, tmp_path: Path) -> None:
    seen = look(unguarded, path, tmp_path)
    assert OPERATION in seen.dom
    assert f"http://127.0.0.1:{unguarded}/openapi.json" in seen.asked
    assert [url for url in seen.asked if not url.startswith(f"http://127.0.0.1:{unguarded}/")] == []


def test_the_network_log_would_show_an_outside_address(unguarded: int, tmp_path: Path) -> None:
    assert look(unguarded, "/leak", tmp_path).asked == [OUTSIDE]


def test_the_policy_refuses_an_outside_address(guarded: int, tmp_path: Path) -> None:
    seen = look(guarded, "/leak", tmp_path)
    assert seen.asked == []
    assert any("Content Security Policy" in line for line in seen.console)

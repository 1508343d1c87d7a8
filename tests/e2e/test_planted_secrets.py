"""A secret planted wherever a client, a model or an operator can put one is told to nobody, by a real server.

Each secret says where it was planted, so that what is found says where it came from. What is looked at is all that a
server leaves behind: every line it writes, the audit, usage, metrics and spans. Error answers are looked at, too: they
quote what the original quotes, and ECHOED is the whole list.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from app.settings import variables
from tests.e2e.planting import Harvest, found_in, plant_all, planted
from tests.fakes.model_server import model_server
from tests.fixtures.processes import api_process

pytestmark = pytest.mark.anyio

ENVIRONMENT = {
    "API_KEY": f"sk-{planted('bootstrap_key')}",
    "KEY_PEPPER": planted("key_pepper_of_32_characters"),
    "MODEL_API_KEY": planted("model_api_key"),
    "LOG_LEVEL": "DEBUG",
    "SHUTDOWN_GRACE_S": "0.2",
    "BODY_LIMIT_BYTES": "4096",
}
# Values that an error names by OpenAI's contract, to whoever sent them: ids, and what is none of the words allowed.
ECHOED = {
    *("path", "path_id", "path_id_of_a_wrong_kind", "path_method", "admin_path_id", "model_in_path"),
    *("cursor", "cursor_of_odd_form", "order", "audit_action", "audit_since", "usage_project"),
    *("unknown_assistant", "assistant_of_a_wrong_kind"),
    *("value", "tool_of_a_wrong_type", "scope", "unknown_field", "metadata_of_a_wrong_type", "content_type"),
}


@pytest.fixture(scope="module", params=["json", "text"])
async def harvest(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Harvest]:
    """Plant everything on a server that tells all it can in one form, and give what was left behind."""
    folder: Path = tmp_path_factory.mktemp("planted")
    file = folder / "store.db"
    async with model_server() as model, model_server() as collector:
        env = ENVIRONMENT | {
            "DATABASE_URL": f"sqlite:///{file}",
            "MODEL_URL": model.url,
            "LOG_FORMAT": request.param,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.removesuffix("/v1"),
        }
        with api_process(folder / "log", env) as (url, _):
            headers = {"Authorization": f"Bearer {env['API_KEY']}"}
            async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), headers=headers, timeout=10) as api:
                answers = await plant_all(api, model, file)
                told = await look(api)
    with closing(sqlite3.connect(file)) as store:
        told |= {f"table {name}": str(store.execute(f"SELECT * FROM {name}").fetchall()) for name in ("audit", "usage")}
    told["journal of revocations"] = Path(f"{file}.revocations").read_text()
    spans = [exchange.body.decode("latin-1") for exchange in collector.requests]
    yield Harvest(log=(folder / "log").read_text(), told=told, spans=spans, answers=answers)


async def look(api: httpx2.AsyncClient) -> dict[str, str]:
    """Return all that an administrator is told of what was done."""
    told = {}
    for path in ("/admin/audit", "/admin/usage"):
        pages, after = [], ""
        while True:
            page = await api.get(path, params={"limit": "100", "order": "asc", "after": after})
            pages.append(page.raise_for_status().text)
            after = page.json()["last_id"]
            if not page.json()["has_more"]:
                break
        told[path] = "\n".join(pages)
    for path in ("/v1/usage", "/metrics", "/health", "/health/ready"):
        told[path] = (await api.get(path)).text
    return told


def test_no_line_of_the_log_tells_a_secret(harvest: Harvest) -> None:
    assert harvest.log.count("unhandled fault") >= 2
    assert "a run met a fault of ours" in harvest.log
    assert "Traceback" in harvest.log
    leaks = [line for line in harvest.log.splitlines() if found_in(line)]
    assert not leaks, "\n".join(leaks)


def test_audit_usage_and_metrics_tell_no_secret(harvest: Harvest) -> None:
    assert all(word in harvest.told["/admin/audit"] for word in ("run.create", "access.denied", "admin.failed"))
    assert '"runs":' in harvest.told["/admin/usage"]
    assert {where: found for where, text in harvest.told.items() if (found := found_in(text))} == {}


def test_spans_tell_no_secret_once_there_are_any(harvest: Harvest) -> None:
    tracing = [one.var.name for one in variables() if "OTEL" in one.var.name or "TRAC" in one.var.name]
    assert bool(tracing) == bool(harvest.spans), f"{tracing} are there: make this server send its spans here"
    assert not [found for body in harvest.spans if (found := found_in(body))]


def test_error_answers_quote_what_the_original_quotes_and_nothing_else(harvest: Harvest) -> None:
    quoted = {place: found_in(text) for place, text in harvest.answers.items()}
    assert {place for place, found in quoted.items() if found} == ECHOED
    assert not {place: found for place, found in quoted.items() if found - {place}}


def test_a_secret_is_found_where_there_is_one() -> None:
    assert found_in(f"x {planted('here')}, {planted('there_too')}.") == {"here", "there_too"}

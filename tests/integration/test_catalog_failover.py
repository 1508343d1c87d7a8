"""Several model servers, over HTTP: runs fail over before their first token, and go back; what clients see of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app.catalog.routing import Route
from app.errors import Unavailable
from app.inference.client import ChatRequest
from app.inference.failures import ModelBroke, ModelUnreachable
from tests.fakes.model_faults import cuts, replies, resets, stalls, streams
from tests.fakes.model_server import Exchange, ModelServer, model_server, refusing_url
from tests.fakes.model_wire import models, role, text
from tests.fixtures.calls import Json, assert_refused, ended, get, new_assistant, new_run, new_thread, texts_of
from tests.fixtures.counted import counted
from tests.fixtures.rooms import CHAT, Served, served

pytestmark = pytest.mark.anyio

FILE = """
[[upstream]]
name = "main"
url = "{main}"
api_key = "sk-of-main"

[[upstream]]
name = "cpu"
url = "{cpu}"
api_key = "sk-of-cpu"
fallback_for = ["main"]
fallback_model = "small"

[aliases]
"gpt-4o" = "large"
"""
ASK = ChatRequest(model="large", messages=[{"role": "user", "content": "x"}])


class Pair(NamedTuple):
    """An API over two model servers."""

    on: Served
    main: ModelServer
    cpu: ModelServer

    async def run(self, **fields: Any) -> Json:
        """Carry out a run to its end."""
        api = self.on.client
        assistant = await new_assistant(api, model="gpt-4o")
        return await ended(api, await new_run(api, await new_thread(api, "x"), assistant, **fields))


def asked(server: ModelServer) -> list[str]:
    """Return the models that chats at a server asked for."""
    return [request.json["model"] for request in server.requests if request.path == CHAT]


def lists(*names: str) -> Any:
    return replies(200, models(*names))


def goes_away(server: ModelServer) -> None:
    """Break every connection from now on, as a killed server's host does."""
    server.listing = resets(head=False)
    server.script.extend([resets(head=False)] * 50)


def comes_back(server: ModelServer, *names: str) -> None:
    server.script.clear()
    server.listing = lists(*names)


@asynccontextmanager
async def api_of(checker: Any, folder: Path, file: str, **env: str) -> AsyncIterator[Served]:
    (folder / "models.toml").write_text(file)
    env |= {"DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db", "MODELS_FILE": str(folder / "models.toml")}
    async with served(checker, SHUTDOWN_GRACE_S="0.2", **env) as on:
        yield on


@pytest.fixture
async def pair(conformance: Any, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Pair]:
    """Give an API over a main server and one that stands in for it."""
    async with model_server() as main, model_server() as cpu:
        main.listing, cpu.listing = lists("large"), lists("small")
        async with api_of(conformance, tmp_path, FILE.format(main=main.url, cpu=cpu.url)) as on:
            yield Pair(on, main, cpu)


async def told(pair: Pair, upstream: str) -> None:
    """Wait until requests for the main model go to this server, no request having been made."""
    async with asyncio.timeout(10):
        while pair.on.parts.catalog.route("large").upstream != upstream:
            await asyncio.sleep(0.01)


async def test_each_server_is_asked_with_its_own_key_and_the_list_has_the_models_of_both(pair: Pair) -> None:
    listed = [found["id"] for found in (await get(pair.on.client, "/v1/models"))["data"]]
    assert listed == ["large", "small", "gpt-4o"]
    for server, key in ((pair.main, "sk-of-main"), (pair.cpu, "sk-of-cpu")):
        assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    answer = await pair.on.client.get("/v1/models/nope")
    refused: Any = {"status": 404, "param": "model", "code": "model_not_found"}
    assert_refused(answer, "The model 'nope' does not exist", **refused)


async def test_a_server_that_goes_away_is_noticed_without_a_request_replaced_and_given_back_to(pair: Pair) -> None:
    assert (await pair.run())["status"] == "completed"
    goes_away(pair.main)
    await told(pair, "cpu")
    ready = await pair.on.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["message"].startswith("main: ")
    listed = [found["id"] for found in (await get(pair.on.client, "/v1/models"))["data"]]
    assert listed == ["large", "small", "gpt-4o"]
    assert (await pair.run())["status"] == "completed"
    assert (asked(pair.main), asked(pair.cpu)) == (["large"], ["small"])
    comes_back(pair.main, "large")
    await told(pair, "main")
    assert (await get(pair.on.client, "/health/ready"))["message"] is None
    assert (await pair.run())["status"] == "completed"
    assert (asked(pair.main), asked(pair.cpu)) == (["large", "large"], ["small"])


async def test_a_run_that_meets_a_server_just_gone_goes_on_at_the_other(pair: Pair) -> None:
    goes_away(pair.main)
    before = counted("upstream_failovers_total", upstream="cpu")
    run = await pair.run()
    assert (run["status"], run["model"]) == ("completed", "gpt-4o")
    assert counted("upstream_failovers_total", upstream="cpu") == before + 1
    assert await texts_of(pair.on.client, run["thread_id"]) == ["x", "hello there"]
    assert asked(pair.cpu) == ["small"]


@pytest.mark.parametrize("fault", [cuts(role(), text("half ")), resets(role(), text("half "))], ids=["cut", "reset"])
async def test_a_run_that_was_given_a_first_token_is_asked_for_nowhere_again(pair: Pair, fault: Any) -> None:
    pair.main.script.append(fault)
    run = await pair.run()
    assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
    assert await texts_of(pair.on.client, run["thread_id"]) == ["x", "half "]
    assert (asked(pair.main), asked(pair.cpu)) == (["large"], [])


async def test_runs_wait_while_both_are_away_and_the_first_to_come_takes_them(pair: Pair) -> None:
    goes_away(pair.main)
    goes_away(pair.cpu)
    api = pair.on.client
    assistant = await new_assistant(api, model="gpt-4o")
    run = await new_run(api, await new_thread(api, "x"), assistant)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            while pair.on.parts.catalog.route("large"):
                await asyncio.sleep(0.01)
    assert (await api.get("/health/ready")).status_code == 503
    assert (await get(api, f"/v1/threads/{run['thread_id']}/runs/{run['id']}"))["status"] in ("queued", "in_progress")
    comes_back(pair.cpu, "small")
    assert (await ended(api, run))["status"] == "completed"
    assert await texts_of(api, run["thread_id"]) == ["x", "hello there"]


async def test_a_server_that_loads_is_passed_over_until_it_serves(conformance: Any, tmp_path: Path) -> None:
    loading = replies(503, b'{"error":{"message":"Loading model"}}')
    async with model_server() as main, model_server() as cpu:
        main.listing, cpu.listing = loading, lists("small")
        async with api_of(conformance, tmp_path, FILE.format(main=main.url, cpu=cpu.url)) as on:
            pair = Pair(on, main, cpu)
            assert (await pair.run())["status"] == "completed"
            assert (
                "main: The model server is overloaded or loading: Loading model"
                in (await get(on.client, "/health/ready"))["message"]
            )
            main.listing = lists("large")
            await told(pair, "main")
            assert (await pair.run())["status"] == "completed"
            assert (asked(main), asked(cpu)) == (["large"], ["small"])


async def test_a_server_that_was_never_there_is_stood_in_for(conformance: Any, tmp_path: Path) -> None:
    async with model_server() as cpu:
        cpu.listing = lists("small")
        async with api_of(conformance, tmp_path, FILE.format(main=refusing_url(), cpu=cpu.url)) as on:
            assert (await Pair(on, cpu, cpu).run())["status"] == "completed"
            assert asked(cpu) == ["small"]


async def test_a_run_of_an_unknown_model_is_the_first_servers_to_refuse(pair: Pair) -> None:
    pair.main.script.append(streams("passed on"))
    api = pair.on.client
    assistant = await new_assistant(api, model="nope")
    assert (await ended(api, await new_run(api, await new_thread(api, "x"), assistant)))["status"] == "completed"
    assert (asked(pair.main), asked(pair.cpu)) == (["nope"], [])


def opened(route: Route) -> Any:
    return route.client.stream(ASK)


async def test_a_relayed_request_is_answered_by_the_other_and_says_so(pair: Pair) -> None:
    catalog = pair.on.parts.catalog
    await get(pair.on.client, "/v1/models")
    async with catalog.answering("gpt-4o", "chat", opened) as (route, _):
        assert (route.upstream, route.name, route.headers()) == ("main", "large", {})
    goes_away(pair.main)
    async with catalog.answering("gpt-4o", "chat", opened) as (route, chunks):
        assert (route.name, route.headers()) == ("small", {"x-model-upstream": "cpu", "x-model-fallback": "true"})
        said = [chunk.choices[0].delta.content async for batch in chunks for chunk in batch if chunk.choices]
    assert "".join(piece or "" for piece in said) == "hello there"
    assert catalog.route("large").upstream == "cpu"


async def test_a_relayed_answer_that_breaks_off_is_not_asked_for_again(pair: Pair) -> None:
    await get(pair.on.client, "/v1/models")
    pair.main.script.append(cuts(role(), text("half ")))
    with pytest.raises(ModelBroke):
        async with pair.on.parts.catalog.answering("large", "chat", opened) as (_, chunks):
            async for _batch in chunks:
                pass
    assert (len(asked(pair.main)), asked(pair.cpu)) == (1, [])


async def test_servers_are_asked_no_more_often_than_stated(pair: Pair) -> None:
    def listings(server: ModelServer) -> list[Exchange]:
        return [request for request in server.requests if request.path == "/v1/models"]

    await get(pair.on.client, "/v1/models")
    main = pair.on.parts.catalog.route("large").server
    before = len(listings(pair.main))
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.2
    while loop.time() < until:
        main.failed(ModelUnreachable("x"))
        await pair.on.client.get("/health/ready")
        await asyncio.sleep(0.01)
    assert 1 <= len(listings(pair.main)) - before <= 3


async def test_a_wrong_key_of_the_main_server_is_told(conformance: Any, tmp_path: Path) -> None:
    async with model_server() as main:
        main.listing = replies(401, b'{"error":"Unauthorized"}')
        file = f'[[upstream]]\nname = "main"\nurl = "{main.url}"\n'
        async with api_of(conformance, tmp_path, file) as on:
            ready = (await on.client.get("/health/ready")).json()
            assert (ready["status"], ready["message"][:31]) == ("unavailable", "The model server refused this s")


async def test_a_servers_own_timeouts_hold_for_it(conformance: Any, tmp_path: Path) -> None:
    async with model_server() as main:
        main.listing = lists("large")
        file = f'[[upstream]]\nname = "main"\nurl = "{main.url}"\nfirst_token_timeout_s = 0.2\nidle_timeout_s = 0.2\n'
        async with api_of(conformance, tmp_path, file, MODEL_ALIASES="gpt-4o=large") as on:
            for silence in (stalls(head=False), stalls(role(), text("half "))):
                main.script.append(silence)
                assert (await Pair(on, main, main).run())["status"] == "failed"

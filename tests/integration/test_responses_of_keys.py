"""What a key's scopes, models and limits say to responses, and what the audit tells of them."""

import asyncio
from typing import Any

import pytest

from app.db.tables import AuditRow, table
from tests.fakes.model_tools import says_and_waits
from tests.fixtures.calls import assert_refused, get, post
from tests.fixtures.responses import PATH, became, respond
from tests.fixtures.rooms import Scripted, Served

pytestmark = pytest.mark.anyio

AUDIT = table(AuditRow)
SECRET = "what nobody may read in an audit"


class Keyed:
    """A client that uses a key of its own."""

    def __init__(self, client: Any, key: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}"}

    async def post(self, path: str, **options: Any) -> Any:
        """POST with the key."""
        return await self._client.post(path, headers=self._headers, **options)

    async def get(self, path: str, **options: Any) -> Any:
        """GET with the key."""
        return await self._client.get(path, headers=self._headers, **options)


async def keyed(api: Any, **fields: Any) -> Keyed:
    """Make a key; return a client that uses it."""
    return Keyed(api, (await post(api, "/admin/keys", {"name": "desk", **fields}))["key"])


async def test_a_key_needs_the_scope_of_responses(rooms: Any) -> None:
    other, own = await keyed(rooms, scopes=["chat"]), await keyed(rooms, scopes=["responses"])
    assert (await other.post(PATH, json={"input": "x"})).json()["error"]["code"] == "missing_scope"
    assert (await own.post(PATH, json={"input": "x"})).status_code == 200


@pytest.mark.parametrize("path", [PATH, f"{PATH}/input_tokens", f"{PATH}/compact"])
async def test_a_key_may_use_its_models_only_also_that_which_is_served(rooms: Any, path: str) -> None:
    key = await keyed(rooms, models=["another"])
    for body in ({"input": "x"}, {"input": "x", "model": "sovereign-standin"}, {"input": "x", "store": False}):
        if path != PATH:
            body.pop("store", None)
        answer = await key.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "model_not_found")


@pytest.mark.parametrize("store", [False, True])
async def test_a_response_is_charged_what_the_model_server_reported(rooms: Any, store: bool) -> None:
    key = await keyed(rooms, limits={"tokens_per_day": 100_000})
    response = await respond(key, "repeat 9 words", store=store)
    used = (await get(key, "/v1/usage"))["today"]
    assert (used["prompt_tokens"], used["completion_tokens"], used["runs"]) == (
        response["usage"]["input_tokens"],
        response["usage"]["output_tokens"],
        1,
    )


@pytest.mark.parametrize("fields", [{}, {"store": False}, {"background": True}, {"stream": True}])
async def test_what_is_not_there_to_spend_is_refused(rooms: Any, fields: dict[str, Any]) -> None:
    key = await keyed(rooms, limits={"tokens_per_day": 300})
    first = await respond(key, "x")
    for body in ({"input": "x", "max_output_tokens": 1000}, {"input": "word " * 400}):
        context = {"previous_response_id": first["id"]}
        assert (await key.post(PATH, json=body | fields | context)).status_code == 429


@pytest.mark.parametrize("store", [False, True])
async def test_responses_are_limited_as_runs_and_as_streams(scripted: Scripted, store: bool) -> None:
    gate = asyncio.Event()
    runs = await keyed(scripted.client, limits={"concurrent_runs": 1})
    streams = await keyed(scripted.client, limits={"concurrent_streams": 1})
    for key in (runs, streams):
        scripted.model.script.append(says_and_waits(gate, "Well"))
        scripted.model.requests.clear()
        first = asyncio.create_task(key.post(PATH, json={"input": "x", "stream": True, "store": store}))
        await scripted.chat()
        refused = await key.post(PATH, json={"input": "x", "stream": True, "store": store})
        assert refused.status_code == 429
        gate.set()
        await first
        gate.clear()
        assert (await key.post(PATH, json={"input": "x", "stream": True, "store": store})).status_code == 200


async def test_a_full_queue_refuses_a_response(narrow: Scripted) -> None:
    gate, api = asyncio.Event(), narrow.client
    narrow.model.script.append(says_and_waits(gate, "Well"))
    begun = [await respond(api, "x", background=True) for _ in range(3)]
    answer = await api.post(PATH, json={"input": "x", "store": False})
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
    gate.set()
    for response in begun:
        await became(api, response, "completed")


async def test_every_change_is_recorded_and_no_word_of_it(served_rooms: Served) -> None:
    api = served_rooms.client
    response = await respond(api, SECRET, instructions=SECRET, metadata={"a": SECRET})
    background = await respond(api, "repeat 100000 words", background=True)
    await post(api, f"{PATH}/{background['id']}/cancel")
    await api.delete(f"{PATH}/{response['id']}")
    await respond(api, SECRET, store=False)
    rows = await served_rooms.database.read(lambda tx: tx.all(AUDIT.select().order_by(AUDIT.c.seq)))
    told = [(row.action, row.object_id) for row in rows if row.action.startswith("response.")][-4:]
    assert told == [
        ("response.create", response["id"]),
        ("response.create", background["id"]),
        ("response.cancel", background["id"]),
        ("response.delete", response["id"]),
    ]
    assert SECRET not in str(rows)


async def test_a_wrong_key_is_refused(rooms: Any) -> None:
    answer = await rooms.post(PATH, json={"input": "x"}, headers={"Authorization": "Bearer sk-wrong-key-of-somebody"})
    assert_refused(answer, "Incorrect API key provided: sk-***body.", status=401, code="invalid_api_key")

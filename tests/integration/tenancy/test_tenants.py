"""Another project's id answers exactly like an unknown one, wherever it is sent: made from the exported document.

In time, too: the same statements are carried out, in the same order. That is the same on every machine, as a clock is
not, and what differs between them then is only that an index is read to its end or not.
"""

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from tests.fakes.model_tools import says_and_waits
from tests.fixtures.calls import ended, get, new_assistant, new_run, new_thread, post
from tests.fixtures.rooms import Scripted
from tests.integration.tenancy.aims import (
    CURSORS,
    DOCUMENT,
    NOT_LOOKED_UP,
    Aim,
    Operation,
    aims_of,
    operations,
    smallest,
)
from tests.integration.tenancy.conftest import House
from tests.integration.tenancy.tenants import TAKEN, Asked, Caller, ask, request_of, rows_of, statements, unknown

pytestmark = pytest.mark.anyio

TRIES = 25
OPERATIONS = operations()
SERVED = [operation for operation in OPERATIONS if not operation.is_administration and not operation.is_open]
ADMINISTRATION = [operation for operation in OPERATIONS if operation.is_administration]
READING = [operation for operation in SERVED if operation.method == "get" and operation.path_ids]
LISTS = [o for o in SERVED if o.method == "get" and set(CURSORS) <= set(o.query_ids())]
FORBIDDEN = (
    "You have insufficient permissions for this operation. Missing scopes: admin. "
    "Check that the API key has the necessary scopes."
)


def test_every_id_that_the_document_knows_has_an_object_of_the_other_project_to_aim_with(house: House) -> None:
    for operation in OPERATIONS:
        aims_of(operation, house.other.ids)


def test_what_is_not_looked_up_names_nothing_that_this_server_has() -> None:
    served = [path for path in DOCUMENT["paths"] if path.startswith(("/v1/files", "/v1/vector_stores"))]
    assert not served, f"{served} are there now: take their ids out of {NOT_LOOKED_UP}, and make one in tenants.py"


async def test_the_document_is_the_one_that_is_served(house: House) -> None:
    assert await get(house.admin, "/openapi.json") == DOCUMENT


@pytest.mark.parametrize("operation", READING, ids=str)
async def test_what_is_aimed_at_is_there_for_the_other_project_itself(house: House, operation: Operation) -> None:
    answer = await house.other.api.get(operation.path.format_map(house.other.ids))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("operation", SERVED, ids=str)
async def test_another_projects_id_answers_like_an_unknown_one(house: House, operation: Operation) -> None:
    before = await stored(house)
    for aim in aims_of(operation, house.other.ids):
        others, nobodys = await aimed(house, operation, aim)
        assert others == nobodys, f"{operation}, {aim}"
        assert_refused_for_its_id(others, aim)
        assert not [one for one in house.other.everything if one in others.body]
    assert await stored(house) == before


async def stored(house: House) -> dict[str, list[Any]]:
    """Return what is stored for the other project, once what was counted of its own requests is, too."""
    await get(house.own.api, "/v1/usage")
    return await rows_of(house.database, house.other.ids["project_id"])


async def aimed(house: House, operation: Operation, aim: Aim) -> tuple[Asked, Asked]:
    """Aim at the other project's object and at nothing. What the server does beside may slip in between: try again."""
    hidden = {*house.other.ids.values(), *unknown(house.other.ids).values()}
    for _ in range(TRIES):
        others, nobodys = [
            await ask(house.own.api, *request_of(operation, aim, house.own, ids), hidden)
            for ids in (house.other.ids, unknown(house.other.ids))
        ]
        if others == nobodys:
            break
    return others, nobodys


def assert_refused_for_its_id(answer: Asked, aim: Aim) -> None:
    """Demand that the aim hit: the answer speaks of the id, or is a list of nothing."""
    if answer.status == 200:
        assert aim.in_query not in (None, *CURSORS)
        assert '"data":[]' in answer.body
    else:
        assert answer.status in (400, 404)
        assert "<id>" in answer.body


@pytest.mark.parametrize("operation", ADMINISTRATION, ids=str)
async def test_administration_is_for_administrators_whatever_id_is_named(house: House, operation: Operation) -> None:
    before = await stored(house)
    for aim in [Aim(), *aims_of(operation, house.other.ids)]:
        others, nobodys = await aimed(house, operation, aim)
        assert others == nobodys
        assert (others.status, FORBIDDEN in others.body) == (403, True)
    assert await stored(house) == before


@pytest.mark.parametrize("operation", LISTS, ids=str)
async def test_a_list_holds_nothing_of_another_project(house: House, operation: Operation) -> None:
    path = operation.path.format_map(house.own.ids)
    answer = await house.own.api.get(path, params={"limit": 100})
    assert answer.status_code == 200
    assert answer.json()["data"]
    found = {one for one in house.other.everything if one in answer.text}
    assert not found
    theirs = await house.other.api.get(operation.path.format_map(house.other.ids), params={"limit": 100})
    assert theirs.json()["data"]
    assert not {row["id"] for row in theirs.json()["data"]} & {row["id"] for row in answer.json()["data"]}


async def test_metadata_of_another_project_finds_nothing(house: House) -> None:
    async def found(api: Any, word: str) -> int:
        return len((await get(api, "/v1/threads", **{"metadata[of]": word}))["data"])

    ours, theirs = house.own.api, house.other.api
    assert [await found(ours, "ours"), await found(theirs, "theirs")] == [2, 2]
    assert [await found(ours, "theirs"), await found(theirs, "ours")] == [0, 0]


async def test_usage_tells_only_ones_own(house: House) -> None:
    before = await get(house.other.api, "/v1/usage")
    for _ in range(5):
        await get(house.own.api, "/v1/assistants")
    after = await get(house.other.api, "/v1/usage")
    assert after["today"]["requests"] == before["today"]["requests"] + 1
    assert {name: after["today"][name] for name in ("runs", "refused", "total_tokens")} == {
        name: before["today"][name] for name in ("runs", "refused", "total_tokens")
    }
    assert (after["key_id"], after["project_id"]) == (house.other.ids["key_id"], house.other.ids["project_id"])


async def test_another_project_cannot_be_named_and_is_refused_like_one_that_is_not_there(house: House) -> None:
    async def naming(project: str) -> Asked:
        headers = {"OpenAI-Project": project}
        return await ask(house.own.api, "GET", "/v1/assistants", {"headers": headers}, {project})

    theirs = await naming(house.other.ids["project_id"])
    assert theirs == await naming(unknown(house.other.ids)["project_id"])
    assert (theirs.status, "mismatched_project" in theirs.body) == (401, True)
    assert (await naming(house.own.ids["project_id"])).status == 200


async def test_statements_are_seen_at_all(house: House) -> None:
    with statements() as told:
        await get(house.own.api, f"/v1/assistants/{house.own.ids['assistant_id']}")
    assert [one for one in told if "FROM assistants" in one]


def ends_what_it_names(operation: Operation) -> bool:
    return operation.method != "get" and bool({"thread_id", "conversation_id"} & {*operation.path_ids})


@pytest.mark.parametrize("operation", [o for o in SERVED if ends_what_it_names(o)], ids=str)
async def test_a_run_of_another_project_goes_on_whatever_is_tried(scripted: Scripted, operation: Operation) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.append(says_and_waits(gate, "still here"))
    run = await new_run(api, await new_thread(api, "x"), await new_assistant(api))
    await scripted.chat()
    project = (await post(api, "/admin/projects", {"name": "ours"}))["id"]
    key = (await post(api, "/admin/keys", {"name": "ours", "project_id": project}))["key"]
    names = {"thread_id": run["thread_id"], "run_id": run["id"]}
    names |= {"conversation_id": f"conv{run['thread_id'].removeprefix('thread')}"}
    path = operation.path.format_map(defaultdict(lambda: "msg_none", names))
    own = TAKEN | {"assistant_id": run["assistant_id"], "tool_call_id": "call_none"}
    body = smallest(operation.body, own) if operation.body else None
    answer = await Caller(api, key).request(operation.method.upper(), path, json=body)
    assert answer.status_code == 404, answer.text
    gate.set()
    assert (await ended(api, run))["status"] == "completed"

"""A model that answers in a thread that was moved is shown what it would have been shown before the move."""

import pytest

from tests.fakes.model_tools import calling, calls, function
from tests.fixtures.calls import completed_run, ended, new_assistant, new_thread
from tests.fixtures.rooms import Scripted
from tests.fixtures.tools import submit, waiting_run
from tests.integration.moving.household import bring_in, new_project, take_out

pytestmark = pytest.mark.anyio


async def test_the_model_is_shown_the_same_messages_and_calls_in_the_same_order(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(calls(calling("get_price", '{"symbol":"ACME"}'), says="Let me see."))
    assistant = await new_assistant(api, model="tiny", tools=[function("get_price")])
    thread = await new_thread(api, "What is the price of ACME?")
    run = await waiting_run(api, thread, assistant)
    assert [line["object"] for line in await take_out(api, thread_id=thread)] == ["thread", "thread.message"]
    assert (await submit(api, run, "101.25")).status_code == 200
    await ended(api, run)
    lines, project = await take_out(api, thread_id=thread), await new_project(api)
    await completed_run(api, thread, assistant)
    before = scripted.asked[-1]["messages"]
    assert [said["role"] for said in before] == ["user", "assistant", "assistant", "tool", "assistant"]

    moved = await bring_in(api, lines, project_id=project)
    copy = next(one["new_id"] for one in moved["renamed"] if one["object"] == "thread")
    made = (await api.post("/admin/keys", json={"name": "x", "project_id": project})).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    other = (await api.post("/v1/assistants", json={"model": "tiny"}, headers=headers)).json()["id"]
    asked = {"assistant_id": other, "tools": [function("get_price")], "stream": True}
    answer = await api.post(f"/v1/threads/{copy}/runs", json=asked, headers=headers)
    assert b"thread.run.completed" in answer.content
    assert scripted.asked[-1]["messages"] == before

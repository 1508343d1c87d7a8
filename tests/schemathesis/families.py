"""What schemathesis finds on a server that has been in use: a second tenant, and conversations.

No generated id names an object. A family is an assistant, a thread with a message, and a run with its step that has
ended, or that waits for the output of a tool call; a stored chat completion; and a
response, which goes on where it is to be cancelled. The thread is a conversation, too, and
the message an item of it.
"""

import asyncio
from typing import Any, NamedTuple

import httpx2

from tests.fixtures.calls import became, get, new_assistant, new_run, new_thread, post
from tests.fixtures.servers import MODEL

WAITING = "requires_action"
# The status of a family's run, by the operation that uses the family up.
USES = {
    **{"cancelRun": WAITING, "submitToolOuputsToRun": WAITING},
    **{"deleteMessage": "completed", "deleteConversationItem": "completed"},
    **{"deleteChatCompletion": "completed", "deleteResponse": "completed", "others": "completed"},
    "cancelResponse": "completed",  # the last: what goes on until it is cancelled makes the model server slow
}
LONG = "cancelResponse"
EACH, SLOW = 16, 4
WITHIN_S = 30.0
TOOL = {"type": "function", "function": {"name": "get_price", "parameters": {"type": "object", "properties": {}}}}

Family = dict[str, Any]


class Caller(NamedTuple):
    """A key of a second project, and the ids of what must stay for both callers to go on."""

    key: str
    spared: list[str]


def make_caller(url: str, admin_key: str) -> Caller:
    """Make a second project over HTTP, with a key of its own that may do all but administer."""
    headers = {"Authorization": f"Bearer {admin_key}"}
    with httpx2.Client(base_url=url.removesuffix("/v1"), headers=headers, timeout=WITHIN_S) as api:
        first = [project["id"] for project in api.get("/admin/projects").raise_for_status().json()["data"]]
        project = api.post("/admin/projects", json={"name": "Second"}).raise_for_status().json()["id"]
        made = api.post("/admin/keys", json={"name": "Second", "project_id": project}).raise_for_status().json()
        return Caller(made["key"], [*first, project, made["id"]])


def make_families(url: str, key: str) -> dict[str, list[Family]]:
    """Make families over HTTP; return them by what they are for."""
    return asyncio.run(_make(url, key))


async def _make(url: str, key: str) -> dict[str, list[Family]]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), headers=headers, timeout=WITHIN_S) as api:
        return {
            use: await asyncio.gather(*(_family(api, use, status) for _ in range(SLOW if use == LONG else EACH)))
            for use, status in USES.items()
        }


async def _family(api: Any, use: str, status: str) -> Family:
    assistant = await new_assistant(api, tools=[TOOL] if status == WAITING else [])
    thread = await new_thread(api, "What is the price of ACME?")
    run = await became(api, await new_run(api, thread, assistant), status)
    step = (await get(api, f"/v1/threads/{thread}/runs/{run['id']}/steps"))["data"][0]["id"]
    message = (await get(api, f"/v1/threads/{thread}/messages", order="asc"))["data"][0]["id"]
    ids = {"assistant_id": assistant, "thread_id": thread, "run_id": run["id"], "step_id": step, "message_id": message}
    ids |= {"conversation_id": f"conv{thread.removeprefix('thread')}", "item_id": message}
    kept = {"model": MODEL, "store": True, "messages": [{"role": "user", "content": "What is the price of ACME?"}]}
    ids["completion_id"] = (await post(api, "/v1/chat/completions", kept))["id"]
    asked = {"input": "repeat 100000 words", "background": True} if use == LONG else {"input": "x"}
    ids["response_id"] = ids["previous_response_id"] = (await post(api, "/v1/responses", asked))["id"]
    action = run["required_action"]
    calls = action["submit_tool_outputs"]["tool_calls"] if action else []
    return ids | {"calls": [call["id"] for call in calls]}

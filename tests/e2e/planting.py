"""Plants secrets: in all that a client sends, whether it is taken or refused, and in all that a model server says."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

from app.kit.ids import ID_PREFIXES
from tests.fakes import model_wire as wire
from tests.fakes.model_server import Behaviour, Exchange, ModelServer
from tests.fakes.model_tools import calling, calls
from tests.fixtures.calls import Json, became, ended, get, new_assistant, new_run, new_thread, post
from tests.fixtures.tools import submit, waiting_run
from tests.integration.tenancy.aims import operations, smallest

NUMBER = "7c1e5a90"
_PLANTED = re.compile(rf"planted-(\w+)-{NUMBER}")
# Where a schema says less than what reads it.
TEXTS: Json = {"model": wire.MODEL, "messages": [{"role": "user", "content": "x"}], "instructions": "x", "name": "x"}
DEEP = "[" * 200 + "]" * 200


class Harvest(NamedTuple):
    """What a server left behind, and its error answers by where the secret of each request was planted."""

    log: str
    told: dict[str, str]
    spans: list[str]
    answers: dict[str, str]


def planted(place: str) -> str:
    """Return the secret that is planted at a place."""
    return f"planted-{place}-{NUMBER}"


def found_in(text: str) -> set[str]:
    """Return the places whose secrets are in a text, and `?` where a piece of one is."""
    places = set(_PLANTED.findall(text))
    return places | ({"?"} if NUMBER in _PLANTED.sub("", text) else set())


async def plant_all(api: httpx2.AsyncClient, model: ModelServer, file: Path) -> dict[str, str]:
    """Plant everything; return the error answers by where the secret of each was planted."""
    assistant = await new_assistant(api, **assistant_fields())
    await converse(api, model, assistant)
    await respond_to(api, model)
    await plant_on_every_route(api)
    failing = asyncio.create_task(fail_at_the_model(api, model, assistant))
    answers = await refuse_keys(api)
    for place, (method, path, options) in refused().items():
        answer = await api.request(method, path, **options)
        assert answer.status_code in range(400, 500), (place, answer.text)
        answers[place] = answer.text
    wired = on_the_wire()
    answers |= zip(wired, await asyncio.gather(*(told_on_the_wire(api, data) for data in wired.values())), strict=True)
    await failing
    return answers | await meet_faults_of_ours(api, assistant, file)


def assistant_fields() -> Json:
    """Return an assistant with a secret in every text of it."""
    function = {
        "name": planted("tool_name"),
        "description": planted("tool_description"),
        "parameters": {"type": "object", "properties": {planted("tool_parameter"): {"type": "string"}}},
    }
    return {
        "model": wire.MODEL,
        "name": planted("assistant_name"),
        "description": planted("assistant_description"),
        "instructions": planted("assistant_instructions"),
        "metadata": {planted("metadata_key"): planted("metadata_value")},
        "tools": [{"type": "function", "function": function}],
        "tool_resources": {"code_interpreter": {"file_ids": [planted("file_id")]}},
    }


async def converse(api: Any, model: ModelServer, assistant: str) -> None:
    """Let a model call a tool and answer, once polled and once streamed."""
    model.script += [
        calls(calling(planted("tool_name"), planted("tool_arguments")), says=planted("model_text")),
        says(wire.answer(planted("model_answer"))),
    ]
    thread = await new_thread(api, planted("prompt"), metadata={"desk": planted("thread_metadata")})
    fields = {
        "additional_instructions": planted("additional_instructions"),
        "additional_messages": [{"role": "user", "content": planted("additional_message")}],
        "metadata": {"run": planted("run_metadata")},
    }
    run = await waiting_run(api, thread, assistant, **fields)
    answer = await submit(api, run, planted("tool_output"))
    assert (await ended(api, answer.json()))["status"] == "completed"
    model.script.append(says(wire.answer(planted("streamed_answer"))))
    body = {"assistant_id": assistant, "instructions": planted("run_instructions"), "stream": True}
    assert "streamed_answer" in (await api.post(f"/v1/threads/{thread}/runs", json=body)).text
    await get(api, "/v1/threads", **{f"metadata[{planted('filter_key')}]": planted("filter_value")})


async def respond_to(api: Any, model: ModelServer) -> None:
    """Make responses with a secret in every text: one that calls a tool, one that goes on, and one that is not kept."""
    reasoned = wire.chunk({"reasoning": planted("model_reasoning")})
    asked = {
        "input": [
            {"role": "developer", "content": planted("developer_message")},
            {"role": "user", "content": planted("response_prompt")},
        ],
        "instructions": planted("response_instructions"),
        "metadata": {"response": planted("response_metadata")},
        "tools": [{"type": "function", "name": planted("response_tool"), "parameters": {"type": "object"}}],
        "user": planted("response_user"),
    }
    model.script += [
        calls(reasoned, calling(planted("response_tool"), planted("response_arguments"))),
        says(wire.answer(planted("response_answer"))),
        says(wire.answer(planted("unkept_answer"))),
        says(wire.answer(planted("summary"))),
    ]
    first = await post(api, "/v1/responses", asked)
    call = first["output"][-1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": planted("response_output")}
    after = {"input": [output], "previous_response_id": first["id"]}
    assert "response_answer" in (await api.post("/v1/responses", json=after | {"stream": True})).text
    assert "unkept_answer" in (await api.post("/v1/responses", json=after | {"store": False})).text
    await post(api, "/v1/responses/compact", {"model": wire.MODEL, "previous_response_id": first["id"]})


async def plant_on_every_route(api: httpx2.AsyncClient) -> None:
    """Send a secret to every route that the document knows, wherever it takes a text: one that is added, too."""
    for operation in operations():
        ids = {name: f"{ID_PREFIXES.get(name, 'x')}_{planted('any_path')}" for name in operation.path_names}
        query = {one["name"]: planted("any_query") for one in operation.described["parameters"] if one["in"] == "query"}
        whole = json.dumps(operation.body and smallest(operation.body, TEXTS)).replace(
            '"x"', f'"{planted("any_body")}"'
        )
        for options in ({"json": json.loads(whole)}, {"json": json.loads(whole), "params": query}):
            answer = await api.request(operation.method.upper(), operation.path.format_map(ids), **options)
            assert answer.status_code != 500, (operation, answer.text)


def says(data: bytes, status: int = 200) -> Behaviour:
    """Answer with bytes: a stream, or an error's body."""

    async def behave(exchange: Exchange) -> None:
        if status != 200:
            await exchange.reply(status, data)
            return
        await exchange.begin()
        await exchange.send(data)
        await exchange.end()

    return behave


def model_faults() -> dict[str, Behaviour]:
    """Return model servers that quote what they were sent, each in another way."""

    def error(place: str, status: int) -> bytes:
        return json.dumps(wire.error(f"cannot read {planted(place)}", "BadRequestError", None, status)).encode()

    return {
        "model_refusal": says(error("model_refusal", 400), 400),
        "model_fault": says(error("model_fault", 500), 500),
        "model_fault_page": says(f"<h1>{planted('model_fault_page')}</h1>".encode(), 500),
        "model_event": says(wire.role() + wire.event(json.loads(error("model_event", 400)))),
        "model_broken_json": says(wire.role() + f'data: {{"{planted("model_broken_json")}\n\n'.encode()),
        "model_wrong_type": says(wire.event({"choices": planted("model_wrong_type")})),
        "model_arguments": calls(calling(planted("unknown_tool"), '{"a": ' + planted("model_arguments"))),
    }


async def fail_at_the_model(api: Any, model: ModelServer, assistant: str) -> None:
    """Carry out a run against each of them, all at once: some are asked again for seconds."""
    faults = model_faults()

    async def behave(exchange: Exchange) -> None:
        (place,) = [place for place in faults if planted(f"prompt_of_{place}") in exchange.body.decode()]
        await faults[place](exchange)

    async def run_against(place: str) -> None:
        run = await new_run(api, await new_thread(api, planted(f"prompt_of_{place}")), assistant)
        await became(api, run, "requires_action" if place == "model_arguments" else "failed")

    model.script += [behave] * 10 * len(faults)
    await asyncio.gather(*map(run_against, faults))
    model.script.clear()
    for place in ("model_refusal", "model_fault"):
        model.script.append(faults[place])
        body = {"model": wire.MODEL, "messages": [{"role": "user", "content": planted(f"relayed_to_{place}")}]}
        answer = await api.post("/v1/chat/completions", json=body)
        assert answer.status_code >= 400, answer.text
    model.script.clear()


async def refuse_keys(api: httpx2.AsyncClient) -> dict[str, str]:
    """Use keys that are taken no more, never were, or stand where none belongs."""
    body = {"name": planted("project_name")}
    project = (await post(api, "/admin/projects", body))["id"]
    key = await post(api, "/admin/keys", {"name": planted("key_name"), "project_id": project})
    await post(api, f"/admin/keys/{key['id']}/rotate", {"grace_s": 0})
    answers = {}
    wrong = {
        "wrong_key": {"Authorization": f"Bearer sk-{planted('wrong_key')}x"},
        "wrong_api_key": {"Authorization": "", "X-API-Key": f"{planted('wrong_api_key')}x"},
        "key_in_another_header": {"Authorization": "", "Api-Key": planted("key_in_another_header")},
        "basic_password": {"Authorization": f"Basic {planted('basic_password')}"},
        "project_header": {"Authorization": f"Bearer {key['key']}", "OpenAI-Project": planted("project_header")},
        "forged_key": {"Authorization": f"Bearer sk-sov-{planted('forged_key')}-{'x' * 40}"},
    }
    for place, headers in wrong.items():
        answer = await api.get("/v1/assistants", headers=headers)
        assert answer.status_code == 401, (place, answer.text)
        answers[place] = answer.text
    rotated = await api.get("/v1/assistants", headers={"Authorization": f"Bearer {key['key']}"})
    assert rotated.status_code == 401
    assert key["key"] not in rotated.text
    return answers


def refused() -> dict[str, tuple[str, str, Json]]:
    """Return requests that are refused, by where in each the secret is."""

    def sent(place: str, path: str, **body: Any) -> tuple[str, str, Json]:
        return "POST", path, {"json": json.loads(json.dumps(body).replace("SECRET", planted(place)))}

    def raw(place: str, content: str, kind: str = "application/json") -> tuple[str, str, Json]:
        headers = {"Content-Type": kind.replace("SECRET", planted(place))}
        return "POST", "/v1/threads", {"content": content.replace("SECRET", planted(place)), "headers": headers}

    def read(place: str, path: str, **query: str) -> tuple[str, str, Json]:
        params = {name: value.replace("SECRET", planted(place)) for name, value in query.items()}
        return "GET", path.replace("SECRET", planted(place)), {"params": params}

    threads, assistants = "/v1/threads", "/v1/assistants"
    return {
        "path_id": read("path_id", "/v1/assistants/asst_SECRET"),
        "path_id_of_a_wrong_kind": read("path_id_of_a_wrong_kind", "/v1/assistants/SECRET"),
        "path": read("path", "/v1/SECRET"),
        "path_method": ("PUT", f"/v1/assistants/{planted('path_method')}", {}),
        "admin_path_id": read("admin_path_id", "/admin/keys/key_SECRET"),
        "model_in_path": read("model_in_path", "/v1/models/SECRET"),
        "cursor": read("cursor", assistants, after="asst_SECRET"),
        "cursor_of_odd_form": read("cursor_of_odd_form", assistants, before="SECRET!"),
        "limit": read("limit", assistants, limit="SECRET"),
        "order": read("order", assistants, order="SECRET"),
        "audit_action": read("audit_action", "/admin/audit", action="SECRET !"),
        "audit_since": read("audit_since", "/admin/audit", since="SECRET"),
        "usage_day": read("usage_day", "/admin/usage", first_day="SECRET"),
        "usage_project": read("usage_project", "/admin/usage", project_id="SECRET"),
        "value": sent("value", threads, messages=[{"role": "SECRET", "content": "x"}]),
        "value_of_a_wrong_type": sent("value_of_a_wrong_type", threads, messages="SECRET"),
        "long_value": sent("long_value", assistants, model="tiny", name="SECRET" * 40),
        "unknown_field": sent("unknown_field", threads, SECRET=1),
        "metadata_of_a_wrong_type": sent("metadata_of_a_wrong_type", threads, metadata={"SECRET": 1}),
        "wrong_pattern": sent("wrong_pattern", threads, metadata={"a": "SECRET" * 40}),
        "prompt_beside_a_fault": sent(
            "prompt_beside_a_fault", threads, messages=[{"role": "user", "content": "SECRET", "x": 1}]
        ),
        "unknown_assistant": sent("unknown_assistant", f"{threads}/runs", assistant_id="asst_SECRET"),
        "assistant_of_a_wrong_kind": sent("assistant_of_a_wrong_kind", f"{threads}/runs", assistant_id="SECRET"),
        "tool_of_a_wrong_name": sent(
            "tool_of_a_wrong_name",
            assistants,
            model="tiny",
            tools=[{"type": "function", "function": {"name": "SECRET !"}}],
        ),
        "tool_of_a_wrong_type": sent("tool_of_a_wrong_type", assistants, model="tiny", tools=[{"type": "SECRET"}]),
        "scope": sent("scope", "/admin/keys", name="x", scopes=["SECRET"]),
        "broken_json": raw("broken_json", '{"messages": "SECRET'),
        "deep_json": raw("deep_json", '{"SECRET": ' + DEEP + "}"),
        "large_body": raw("large_body", '{"x": "' + "SECRET" * 500 + '"}'),
        "not_utf8": raw("not_utf8", '{"metadata": {"x": "SECRET\\ud800"}}'),
        "content_type": raw("content_type", "{}", "text/SECRET"),
        "body_of_another_type": raw("body_of_another_type", "SECRET", "text/plain"),
    }


def on_the_wire() -> dict[str, bytes]:
    """Return requests that are none, or too large to be one."""
    found = {
        "wire_version": "GET /SECRET HTTP/9.9\r\n\r\n",
        "wire_method": "SECRET / HTTP/1.1\r\nHost: api\r\n\r\n",
        "wire_header": "GET / HTTP/1.1\r\nHost: api\r\nSECRET\r\n\r\n",
        "wire_length": "POST / HTTP/1.1\r\nHost: api\r\nContent-Length: SECRET\r\n\r\n",
        "wire_long_uri": "GET /" + "SECRET" * 600 + " HTTP/1.1\r\nHost: api\r\n\r\n",
        "wire_long_head": "GET /health HTTP/1.1\r\nHost: api\r\nX: " + "SECRET" * 3000 + "\r\n\r\n",
        "wire_headers": "GET /health/nothing HTTP/1.1\r\nHost: api\r\nConnection: close\r\nUser-Agent: SECRET\r\n"
        "Cookie: SECRET\r\nReferer: SECRET\r\nX-Request-Id: SECRET\r\nX-Forwarded-For: SECRET\r\nOrigin: SECRET\r\n"
        "\r\n",
    }
    return {place: data.replace("SECRET", planted(place)).encode() for place, data in found.items()}


async def told_on_the_wire(api: httpx2.AsyncClient, data: bytes) -> str:
    """Send bytes on a connection of their own; return all that comes until the server closes it."""
    parts = urlsplit(str(api.base_url))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 4"), (data[:60], answer)
    return answer.decode("latin-1")


async def meet_faults_of_ours(api: Any, assistant: str, file: Path) -> dict[str, str]:
    """Put rows in the store that no version of ours writes, and ask for them: their readers' errors quote them."""
    thread = await new_thread(api, "x")
    kept = await new_assistant(api, model=wire.MODEL)
    with closing(sqlite3.connect(file)) as store, store:
        content = json.dumps([{"type": planted("fault_of_ours")}])
        store.execute("UPDATE messages SET content = ? WHERE thread_id = ?", (content, thread))
        store.execute(
            "UPDATE assistants SET tools = ? WHERE id = ?", (json.dumps([{"type": planted("odd_tool")}]), kept)
        )
    answers = {}
    asked = {"fault_of_ours": f"/v1/threads/{thread}/messages", "odd_tool": f"/v1/assistants/{kept}"}
    for place, path in asked.items():
        answer = await api.get(path)
        assert answer.status_code == 500, answer.text
        answers[place] = answer.text
    assert (await ended(api, await new_run(api, thread, assistant)))["status"] == "failed"
    return answers

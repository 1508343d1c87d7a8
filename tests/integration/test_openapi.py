"""/openapi.json: valid, whole, true to the routes that the app has and to what they take and answer."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from app import __version__
from app.chat.schemas import Relayed
from app.kit.ids import ID_PREFIXES
from tests.conformance.spec import SPEC_PATH
from tests.fixtures.calls import completed_run, get, new_assistant, new_thread, post
from tests.fixtures.responses import respond
from tests.fixtures.routes import GUARDED, ROUTES, Route

pytestmark = pytest.mark.anyio

Document = dict[str, Any]


@pytest.fixture(scope="module")
async def document(shared_api: Any) -> Document:
    answer = await shared_api.get("/openapi.json", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found: Document = answer.json()
    return found


def operation_of(document: Document, route: Route) -> Document:
    operation: Document = document["paths"][route.path][route.method.lower()]
    return operation


def faults_of(document: Document, schema: Document, value: Any) -> list[str]:
    """Say what a schema of the document has against a value."""
    whole = {**schema, "components": document["components"]}
    return [f"{fault.json_path}: {fault.message}" for fault in Draft202012Validator(whole).iter_errors(value)]


def answer_schema(operation: Document, status: int) -> Document:
    content = operation["responses"][str(status)]["content"]
    schema: Document = content.get("application/json", content.get("text/event-stream"))["schema"]
    return schema


every_route = pytest.mark.parametrize("route", ROUTES, ids=str)


OFFICIAL = OpenAPIV31SpecValidator.schema_validator.schema


class SpecValidator(OpenAPIV31SpecValidator):
    """The official validator, its schema searched for anchors once, and not anew for every reference to one."""

    schema_validator = Draft202012Validator(
        {"$ref": OFFICIAL["$id"]},
        registry=Registry().with_resource(OFFICIAL["$id"], DRAFT202012.create_resource(OFFICIAL)).crawl(),
    )


async def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == __version__
    validate(document, cls=SpecValidator)


async def test_it_has_every_route_and_no_other(document: Document) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_it_leaves_nothing_of_the_first_issue_out(document: Document) -> None:
    thread, run = "/v1/threads/{thread_id}", "/v1/threads/{thread_id}/runs/{run_id}"
    expected = {
        "/v1/assistants": "get post",
        "/v1/assistants/{assistant_id}": "delete get post",
        "/v1/threads": "post",
        thread: "delete get post",
        f"{thread}/messages": "get post",
        f"{thread}/messages/{{message_id}}": "delete get post",
        "/v1/threads/runs": "post",
        f"{thread}/runs": "get post",
        run: "get post",
        f"{run}/steps": "get",
        f"{run}/steps/{{step_id}}": "get",
        "/v1/models": "get",
        "/v1/models/{model}": "get",
        "/health": "get",
        "/health/live": "get",
        "/health/ready": "get",
    }
    for path, methods in expected.items():
        assert set(methods.split()) <= document["paths"][path].keys()
    assert sum(len(methods.split()) for path, methods in expected.items() if "model" not in path) == 24


@every_route
async def test_an_operation_says_what_it_is_for(document: Document, route: Route) -> None:
    operation = operation_of(document, route)
    assert re.fullmatch(r"[A-Z][^.]{5,110}", operation["summary"])
    assert operation["description"].startswith(operation["summary"])
    assert operation["description"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in document["tags"]}
    assert operation["tags"]


async def test_names_of_operations_are_the_originals(document: Document) -> None:
    ours = {
        (method, path.removeprefix("/v1")): operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert len(set(ours.values())) == len(ours)
    if not SPEC_PATH.is_file():
        pytest.skip(f"{SPEC_PATH} is absent")
    official = json.loads(SPEC_PATH.read_text())["paths"]
    for (method, path), name in ours.items():
        if method in official.get(path, {}):
            assert name == official[path][method]["operationId"]


@every_route
async def test_an_operation_has_schemas_for_what_it_takes_and_for_every_answer(
    document: Document, route: Route
) -> None:
    operation = operation_of(document, route)
    statuses = set(operation["responses"])
    assert {"200", "500"} <= statuses
    if route in GUARDED:
        assert {"401", "403", "503"} <= statuses
    if route.ids:
        assert {"400", "404"} <= statuses
    if route.is_page:
        assert "400" in statuses
    if route.body is not None:
        assert {"400", "413", "415"} <= statuses
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body["$ref"] == f"#/components/schemas/{route.body.__name__}"
    else:
        assert "requestBody" not in operation
    for status, answer in operation["responses"].items():
        assert answer["description"]
        assert {"x-request-id", "openai-processing-ms", "openai-version"} <= answer["headers"].keys()
        schema = answer_schema(operation, status)
        is_error = int(status) >= 400 and route.path != "/health/ready"
        assert (schema == {"$ref": "#/components/schemas/ErrorEnvelope"}) is (is_error or schema == ERROR)


ERROR = {"$ref": "#/components/schemas/ErrorEnvelope"}


@every_route
async def test_an_operation_names_its_parameters(document: Document, route: Route) -> None:
    given = {(found["in"], found["name"]): found for found in operation_of(document, route).get("parameters", [])}
    in_path = set(re.findall(r"{(\w+)}", route.path))
    assert {name for where, name in given if where == "path"} == in_path
    assert all(found["required"] is (where == "path") for (where, _), found in given.items())
    assert all(found["description"] and found["schema"] for found in given.values())
    if route.is_page:
        assert {("query", name) for name in ("limit", "order", "after", "before")} <= given.keys()
        assert given["query", "limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
        assert given["query", "order"]["schema"] == {"type": "string", "enum": ["asc", "desc"], "default": "desc"}
    if route.operation_id == "listMessages":
        assert ("query", "run_id") in given


@every_route
async def test_an_id_is_described_as_it_is_taken(document: Document, route: Route) -> None:
    given = {found["name"]: found["schema"] for found in operation_of(document, route)["parameters"]}
    for name in route.ids:
        pattern = given[name]["pattern"]
        if name not in ID_PREFIXES:
            continue  # an item's, which is of one of several kinds
        assert re.search(pattern, f"{ID_PREFIXES[name]}_0VbgGT7zL58lXAFaIRf94xP3")
        assert not any(re.search(pattern, wrong) for wrong in ("", "undefined", f"{ID_PREFIXES[name]}_é", "x_1"))


async def test_every_query_parameter_that_is_read_is_described(document: Document) -> None:
    threads = document["paths"]["/v1/threads"]["get"]["parameters"]
    (metadata,) = (found for found in threads if found["name"] == "metadata")
    assert (metadata["in"], metadata["style"], metadata["explode"]) == ("query", "deepObject", True)
    events = document["paths"]["/v1/threads/{thread_id}/runs/{run_id}/events"]["get"]["parameters"]
    assert {("query", "after"), ("header", "Last-Event-ID")} <= {(found["in"], found["name"]) for found in events}


async def test_what_makes_an_object_leads_to_all_that_takes_its_id(document: Document) -> None:
    def links(path: str, method: str) -> Document:
        found: Document = document["paths"][path][method]["responses"]["200"].get("links", {})
        return found

    thread = {"thread_id": "$request.path.thread_id"}
    made = links("/v1/threads/{thread_id}/messages", "post")
    assert set(made) == {"getMessage", "modifyMessage", "deleteMessage"}
    assert made["getMessage"]["parameters"] == thread | {"message_id": "$response.body#/id"}
    steps = links("/v1/threads/{thread_id}/runs/{run_id}/steps", "get")
    assert steps["getRunStep"]["parameters"]["step_id"] == "$response.body#/data/0/id"
    both = links("/v1/threads/runs", "post")["getRun"]["parameters"]
    assert both == {"thread_id": "$response.body#/thread_id", "run_id": "$response.body#/id"}
    assert links("/v1/threads/{thread_id}", "get") == {}


@every_route
async def test_only_what_is_open_is_said_to_be(document: Document, route: Route) -> None:
    assert {"bearer", "apiKey"} == {name for way in document["security"] for name in way}
    operation = operation_of(document, route)
    assert operation.get("security") == (None if route in GUARDED else [])


@pytest.mark.parametrize("path", ["/v1/threads/runs", "/v1/threads/{thread_id}/runs"])
async def test_runs_may_answer_with_a_stream(document: Document, path: str) -> None:
    responses = document["paths"][path]["post"]["responses"]
    assert set(responses["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "429" in responses


async def test_every_schema_says_what_it_is(document: Document) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []


async def test_what_is_never_taken_is_not_described(document: Document) -> None:
    for route in GUARDED:
        if route.body is not None:
            schema = document["components"]["schemas"][route.body.__name__]
            passed_on = issubclass(route.body, Relayed)
            assert schema.get("additionalProperties", True) is passed_on, route.body


async def test_real_answers_are_as_the_document_says(document: Document, shared_api: Any) -> None:
    tools = [{"type": "file_search"}, {"type": "function", "function": {"name": "f"}}]
    assistant = await new_assistant(shared_api, tools=tools, response_format={"type": "text"})
    thread = await new_thread(shared_api, "x", tool_resources={"code_interpreter": {"file_ids": ["file-1"]}})
    run = await completed_run(shared_api, thread, assistant)
    where = f"/v1/threads/{thread}"
    step = (await get(shared_api, f"{where}/runs/{run['id']}/steps"))["data"][0]["id"]
    message = (await get(shared_api, f"{where}/messages"))["data"][0]["id"]
    key = (await post(shared_api, "/admin/keys", {"name": "x"}))["id"]
    ids = {"assistant_id": assistant, "thread_id": thread, "run_id": run["id"], "step_id": step, "message_id": message}
    ids |= {"key_id": key, "project_id": "proj_default"}
    ids |= {"response_id": (await respond(shared_api, "x"))["id"]}
    ids |= {"conversation_id": f"conv{thread.removeprefix('thread')}", "item_id": message}
    for route in (route for route in ROUTES if route.method == "GET" and not route.path.endswith("/events")):
        if "completion_id" in route.ids:
            continue  # stored completions are held to the document where they are made: test_stored_completions.py
        answer = await get(shared_api, route.path.format(**ids, model="sovereign-standin"))
        schema = answer_schema(operation_of(document, route), 200)
        assert faults_of(document, schema, answer) == [], route
        # The schema would also see what is missing.
        assert all(faults_of(document, schema, {k: v for k, v in answer.items() if k != name}) for name in answer)
    for path in (f"{where}/messages/{message}", where, f"/v1/assistants/{assistant}"):
        route = next(route for route in ROUTES if route.method == "DELETE" and _fits(route.path, path))
        answer = (await shared_api.delete(path)).json()
        assert faults_of(document, answer_schema(operation_of(document, route), 200), answer) == []
    refused = (await shared_api.get(where)).json()
    assert faults_of(document, ERROR, refused) == []
    assert faults_of(document, ERROR, {"error": {"message": "x"}})


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) is not None


BODIES: list[tuple[str, Any, bool]] = [
    ("CreateAssistant", {}, True),
    ("CreateAssistant", {"temperature": 2, "top_p": None, "tools": None}, True),
    ("CreateAssistant", {"temperature": 2.1}, False),
    ("CreateAssistant", {"name": "x" * 257}, False),
    ("CreateAssistant", {"metadata": {"k" * 65: "x"}}, False),
    ("CreateAssistant", {"metadata": {str(n): "x" for n in range(17)}}, False),
    ("CreateAssistant", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, False),
    ("CreateAssistant", {"tools": [{"type": "other"}]}, False),
    ("CreateAssistant", {"unknown": 1}, False),
    ("CreateMessage", {"role": "user", "content": "x"}, True),
    ("CreateMessage", {"role": "user", "content": [{"type": "text", "text": "x"}]}, True),
    ("CreateMessage", {"role": "user", "content": []}, False),
    ("CreateMessage", {"role": "system", "content": "x"}, False),
    ("CreateMessage", {"role": "user"}, False),
    ("CreateConversation", {"items": [{"role": "user", "content": ""}, {"id": "msg_1"}]}, True),
    ("CreateConversation", {"items": [{"type": None, "role": "system", "content": []}]}, True),
    ("CreateConversation", {"items": [{"type": "function_call", "call_id": "c", "name": "f"}]}, False),
    ("CreateConversation", {"items": [{"type": "computer_call"}]}, False),
    ("CreateConversation", {"items": [{"role": "tool", "content": "x"}]}, False),
    ("CreateItems", {"items": [{"id": "msg_1"}] * 21}, False),
    ("UpdateConversation", {}, False),
    ("CreateRun", {"assistant_id": "asst_1", "response_format": "auto", "max_prompt_tokens": 256}, True),
    ("CreateRun", {"assistant_id": "asst_1", "max_prompt_tokens": 255}, False),
    ("CreateRun", {"assistant_id": "thread_1"}, False),
    ("CreateThread", {"assistant_id": "thread_1"}, False),
    ("UpdateAssistant", {"model": None}, False),
    ("CreateRun", {"assistant_id": "asst_1", "tool_choice": "always"}, False),
    ("CreateRun", {"assistant_id": "asst_1", "tools": [{"type": "code_interpreter"}] * 21}, False),
]


@pytest.mark.parametrize(("name", "body", "taken"), BODIES)
async def test_bodies_are_right_and_wrong_as_they_are_for_the_server(
    document: Document, name: str, body: Any, taken: bool
) -> None:
    faults = faults_of(document, {"$ref": f"#/components/schemas/{name}"}, body)
    assert (faults == []) is taken, faults


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_pages_that_show_it_are_open(shared_api: Any, path: str) -> None:
    answer = await shared_api.get(path, headers={"Authorization": ""})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert loaded
    for address in loaded:
        assert address.startswith("/")
        assert (await shared_api.get(address, headers={"Authorization": ""})).status_code == 200

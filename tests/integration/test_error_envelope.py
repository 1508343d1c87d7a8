"""Every failure on every route that it applies to: the envelope, its exact words, and the headers of any answer."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.chat.schemas import Relayed
from tests.fixtures.calls import assert_refused, completed_run, get, new_assistant, new_thread, post
from tests.fixtures.responses import respond
from tests.fixtures.rooms import led_by_a_script
from tests.fixtures.routes import GUARDED, ROUTES, Route

pytestmark = pytest.mark.anyio

PREFIXES = {
    "assistant_id": "asst",
    "thread_id": "thread",
    "message_id": "msg",
    "run_id": "run",
    "step_id": "step",
    "key_id": "key",
    "project_id": "proj",
    "completion_id": "chatcmpl",
    "conversation_id": "conv",
    "response_id": "resp",
}
NOUNS = {
    "assistant_id": "assistant",
    "thread_id": "thread",
    "message_id": "message",
    "run_id": "run",
    "step_id": "run step",
    "key_id": "API key",
    "project_id": "project",
    "completion_id": "chat completion",
}
UNKNOWN = {
    "conversation_id": "Conversation with id '{}' not found.",
    "response_id": "Response with id '{}' not found.",
}
"""The refusals that the original words in a way of their own."""
NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
)
REQUIRED = {
    **{"name": "x", "role": "user", "content": "x", "tool_outputs": [{"tool_call_id": "call_1", "output": "x"}]},
    **{"metadata": {}, "items": []},
    **{"model": "sovereign-standin", "messages": [{"role": "user", "content": "x"}], "prompt": "x", "input": "x"},
}

BODIES = [route for route in GUARDED if route.body is not None]
STRICT = [route for route in BODIES if not issubclass(route.body, Relayed)]  # type: ignore[arg-type]
"""Those that refuse a field they do not know; relayed requests pass it on."""
LABELLED = [route for route in BODIES if "metadata" in route.body.__struct_fields__]  # type: ignore[union-attr]
PAGES = [route for route in GUARDED if route.is_page]
PATH_IDS = [
    pytest.param(route, name, id=f"{route} {name}") for route in GUARDED for name in route.ids if name in PREFIXES
]


def on(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=str)


@pytest.fixture(scope="module")
async def known(shared_api: Any) -> dict[str, str]:
    """One object of each kind, each in the one before."""
    assistant, thread = await new_assistant(shared_api), await new_thread(shared_api, "say exactly: x")
    run = await completed_run(shared_api, thread, assistant)
    message = (await get(shared_api, f"/v1/threads/{thread}/messages"))["data"][0]["id"]
    step = (await get(shared_api, f"/v1/threads/{thread}/runs/{run['id']}/steps"))["data"][0]["id"]
    ids = {"assistant_id": assistant, "thread_id": thread, "run_id": run["id"], "message_id": message}
    key = (await post(shared_api, "/admin/keys", {"name": "x"}))["id"]
    ids |= {"conversation_id": f"conv{thread.removeprefix('thread')}", "item_id": message}
    ids |= {"step_id": step, "key_id": key, "model": "sovereign-standin", "project_id": "proj_default"}
    ids |= {"response_id": (await respond(shared_api, "x"))["id"]}
    return ids | {"completion_id": "chatcmpl-1"}  # nobody's: what is refused here is so before it is looked for


def minimal_body(route: Route) -> dict[str, Any] | None:
    """Return a body that is right for a route, in which nothing need exist."""
    if route.body is None:
        return None
    required = {field.name for field in msgspec.structs.fields(route.body) if field.required}
    return {name: REQUIRED[name] for name in sorted(required)}


async def call(api: Any, route: Route, ids: dict[str, str], **request: Any) -> Any:
    """Send a request to a route; without a body of its own the smallest that is right."""
    if "content" not in request and "json" not in request and (body := minimal_body(route)) is not None:
        request["json"] = body
    return await api.request(route.method, route.path.format(**ids), **request)


@on(GUARDED)
async def test_no_key(shared_api: Any, known: dict[str, str], route: Route) -> None:
    answer = await call(shared_api, route, known, headers={"authorization": ""})
    text = (
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY), or in an X-API-Key header."
    )
    assert_refused(answer, text, status=401)


@on(GUARDED)
async def test_a_wrong_key(shared_api: Any, known: dict[str, str], route: Route) -> None:
    answer = await call(shared_api, route, known, headers={"authorization": "Bearer sk-wrong-key-of-somebody"})
    assert_refused(answer, "Incorrect API key provided: sk-***body.", status=401, code="invalid_api_key")


@pytest.mark.parametrize(("route", "name"), PATH_IDS)
async def test_an_unknown_id(shared_api: Any, known: dict[str, str], route: Route, name: str) -> None:
    unknown = f"{PREFIXES[name]}_000000000000000000000000"
    answer = await call(shared_api, route, {**known, name: unknown})
    text = UNKNOWN.get(name, f"No {NOUNS.get(name)} found with id '{{}}'.").format(unknown)
    assert_refused(answer, text, status=404)


@pytest.mark.parametrize(("route", "name"), PATH_IDS)
async def test_a_malformed_id(shared_api: Any, known: dict[str, str], route: Route, name: str) -> None:
    for wrong in ("undefined", "null", "None", "0"):
        answer = await call(shared_api, route, {**known, name: wrong})
        text = f"Invalid '{name}': '{wrong}'. Expected an ID that begins with '{PREFIXES[name]}'."
        assert_refused(answer, text, param=name, code="invalid_value")
    answer = await call(shared_api, route, {**known, name: f"{PREFIXES[name]}_%00é"})
    text = (
        f"Invalid '{name}': '{PREFIXES[name]}_\0é'. Expected an ID that contains letters, numbers, underscores, "
        "or dashes, but this value contained additional characters."
    )
    assert_refused(answer, text, param=name, code="invalid_value")


@on(ROUTES)
async def test_a_wrong_method(shared_api: Any, known: dict[str, str], route: Route) -> None:
    path = route.path.format(**known)
    taken = {other.method for other in ROUTES if other.path == route.path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - taken:
        answer = await shared_api.request(method, path)
        text = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
        assert_refused(answer, text, status=405, code="method_not_supported")
        assert {name.strip() for name in answer.headers["allow"].split(",")} == taken | {"OPTIONS"}


@on(ROUTES)
async def test_options_are_answered_with_every_method_of_the_path(
    shared_api: Any, known: dict[str, str], route: Route
) -> None:
    answer = await shared_api.request("OPTIONS", route.path.format(**known))
    taken = {other.method for other in ROUTES if other.path == route.path}
    assert answer.status_code == 204
    assert {name.strip() for name in answer.headers["allow"].split(",")} == taken | {"OPTIONS"}


NOT_QUITE_JSON = {
    "open": b"{",
    "comma": b'{"metadata":{},}',
    "quotes": b"{'metadata':{}}",
    "two": b"{} {}",
    "blank": b"  ",
    "words": b"hello",
    "form": b"metadata=1",
    "bytes": b'{"metadata":{"a":"\xff"}}',
    "half a pair": b'{"metadata":{"a":"\\ud800"}}',
    "no number": b'{"metadata":NaN}',
    "wrong, then broken": b'{"metadata":1,',
    "out of range": b'{"metadata":1e999}',
}


@on(BODIES)
@pytest.mark.parametrize("fault", NOT_QUITE_JSON)
async def test_bad_json(shared_api: Any, known: dict[str, str], route: Route, fault: str) -> None:
    answer = await call(shared_api, route, known, content=NOT_QUITE_JSON[fault])
    assert_refused(answer, NOT_JSON)


@on(BODIES)
async def test_json_that_is_too_deep(shared_api: Any, known: dict[str, str], route: Route) -> None:
    answer = await call(shared_api, route, known, content=b'{"metadata":' + b"[" * 100_000)
    text = "Request body is nested too deeply. Expected at most 64 levels of arrays and objects."
    assert_refused(answer, text, code="request_too_deep")


@on(BODIES)
async def test_json_that_is_no_object(shared_api: Any, known: dict[str, str], route: Route) -> None:
    for body, kind in ((b"[]", "an array"), (b'"x"', "a string"), (b"1", "an integer"), (b"null", "null")):
        answer = await call(shared_api, route, known, content=body)
        assert_refused(answer, f"Invalid type: expected an object, but got {kind} instead.", code="invalid_type")


@on(STRICT)
async def test_an_unknown_parameter(shared_api: Any, known: dict[str, str], route: Route) -> None:
    body = {**(minimal_body(route) or {}), "tenperature": 1}
    answer = await call(shared_api, route, known, json=body)
    assert_refused(answer, "Unknown parameter: 'tenperature'.", param="tenperature", code="unknown_parameter")


@on(LABELLED)
async def test_a_wrong_type(shared_api: Any, known: dict[str, str], route: Route) -> None:
    answer = await call(shared_api, route, known, json={**(minimal_body(route) or {}), "metadata": "x"})
    text = "Invalid type for 'metadata': expected an object, but got a string instead."
    assert_refused(answer, text, param="metadata", code="invalid_type")


@on(LABELLED)
async def test_a_value_that_is_too_long(shared_api: Any, known: dict[str, str], route: Route) -> None:
    answer = await call(shared_api, route, known, json={**(minimal_body(route) or {}), "metadata": {"k": "x" * 513}})
    text = (
        "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, "
        "but got a string with length 513 instead."
    )
    assert_refused(answer, text, param="metadata.k", code="string_above_max_length")


@on(BODIES)
async def test_a_missing_parameter(shared_api: Any, known: dict[str, str], route: Route) -> None:
    for missing in minimal_body(route) or {}:
        body = {name: value for name, value in (minimal_body(route) or {}).items() if name != missing}
        answer = await call(shared_api, route, known, json=body)
        text = f"Missing required parameter: '{missing}'."
        assert_refused(answer, text, param=missing, code="missing_required_parameter")


@on(BODIES)
@pytest.mark.parametrize("sent", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
async def test_an_unsupported_media_type(shared_api: Any, known: dict[str, str], route: Route, sent: str) -> None:
    answer = await call(shared_api, route, known, content=b"{}", headers={"content-type": sent})
    text = (
        f"Unsupported content type: '{sent.partition(';')[0]}'. This API method only accepts 'application/json' "
        f"requests, but you specified the header 'Content-Type: {sent}'. Please try again with a supported content "
        "type."
    )
    assert_refused(answer, text, status=415, code="unsupported_content_type")


@pytest.fixture(scope="module")
async def small(conformance: Any, tmp_path_factory: Any, anyio_backend: str) -> AsyncIterator[Any]:
    """An API that takes 2 kB."""
    async with led_by_a_script(conformance, tmp_path_factory.mktemp("small"), BODY_LIMIT_BYTES="2048") as api:
        yield api.client


@on(BODIES)
async def test_a_body_that_is_too_large(small: Any, known: dict[str, str], route: Route) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 1000

    for content in (b" " * 2049, in_pieces()):
        answer = await call(small, route, known, content=content)
        text = "Request body too large. Expected at most 2048 bytes."
        assert_refused(answer, text, status=413, code="request_too_large")


@on(PAGES)
async def test_bad_queries(shared_api: Any, known: dict[str, str], route: Route) -> None:
    for param, value, text, code in (
        (
            "limit",
            "101",
            "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead.",
            "integer_above_max_value",
        ),
        ("order", "up", "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.", "invalid_value"),
        ("after", "x_1", "Invalid 'after': no object with id 'x_1' found in this list.", "invalid_value"),
        ("before", "x_1", "Invalid 'before': no object with id 'x_1' found in this list.", "invalid_value"),
    ):
        answer = await call(shared_api, route, known, params={param: value})
        assert_refused(answer, text, param=param, code=code)


NOWHERE = ("/", "/v1", "/v1/nothing", "/v1/threads/thread_1/nothing", "/v2/threads", "/v1/%00")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/docs/assets/nothing"), *((method, path) for path in NOWHERE for method in ("GET", "POST", "DELETE"))],
)
async def test_an_unknown_route(shared_api: Any, method: str, path: str) -> None:
    answer = await shared_api.request(method, path, params={"secret": "query"})
    assert_refused(answer, f"Invalid URL ({method} {path.replace('%00', chr(0))})", status=404)


async def test_an_answer_to_an_error_is_json_with_the_headers_of_any_answer(shared_api: Any) -> None:
    seen = set()
    for method, path, headers in (
        ("GET", "/v1/threads/thread_unknown", {}),
        ("GET", "/v1/nothing", {}),
        ("PUT", "/v1/threads", {}),
        ("GET", "/v1/assistants", {"authorization": "Bearer x"}),
        ("POST", "/v1/threads", {"content-type": "text/plain"}),
        ("GET", "/v1/assistants?limit=0", {}),
        ("POST", "/v1/threads", {"content-length": "999999999"}),
        ("POST", "/v1/threads", {"content-length": "many"}),
    ):
        answer = await shared_api.request(method, path, headers=headers)
        assert answer.status_code >= 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-processing-ms"].isdecimal()
        assert list(json.loads(answer.content)["error"]) == ["message", "type", "param", "code"]
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 8

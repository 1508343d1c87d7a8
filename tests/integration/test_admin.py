"""/admin over both databases: projects and keys as an administrator meets them, and as their holders do."""

import time
from typing import Any

import pytest

from tests.fixtures.calls import assert_refused, get, new_assistant, post
from tests.fixtures.servers import API_KEY

pytestmark = pytest.mark.anyio

NO_LIMITS = dict.fromkeys(
    (
        "requests_per_minute",
        "tokens_per_minute",
        "concurrent_runs",
        "concurrent_streams",
        "tokens_per_day",
        "tokens_per_month",
    )
)
LATER = 4_000_000_000


def bearer(key: Any, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key['key'] if isinstance(key, dict) else key}", **headers}


async def status(api: Any, key: Any, method: str = "GET", path: str = "/v1/assistants", **headers: str) -> int:
    """Say with which status a key is answered."""
    body = {"json": {}} if method == "POST" else {}
    answer = await api.request(method, path, headers=bearer(key, **headers), **body)
    return int(answer.status_code)


async def new_key(api: Any, **fields: Any) -> dict[str, Any]:
    return await post(api, "/admin/keys", {"name": "desk", **fields})


async def test_a_key_is_shown_once_with_every_field(rooms: Any) -> None:
    before = int(time.time())
    made = await new_key(rooms)
    key, created_at = made.pop("key"), made["created_at"]
    assert before <= created_at <= time.time()
    assert made == {
        "id": f"key_{key[7:19]}",
        "object": "api_key",
        "project_id": "proj_default",
        "name": "desk",
        "scopes": ["assistants", "responses", "chat", "files"],
        "models": None,
        "limits": NO_LIMITS,
        "created_at": created_at,
        "rotated_at": None,
        "previous_until": None,
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
    }
    assert await get(rooms, f"/admin/keys/{made['id']}") == made
    assert (await get(rooms, "/admin/keys", limit=1))["data"] == [made] or made in (
        await get(rooms, "/admin/keys", limit=100)
    )["data"]


async def test_every_field_of_a_key_can_be_set_and_changed(rooms: Any) -> None:
    fields = {
        "name": "Börse 📈",
        "scopes": ["chat", "read"],
        "models": ["small", "large"],
        "limits": NO_LIMITS | {"requests_per_minute": 60, "tokens_per_month": 10**12},
        "expires_at": LATER,
    }
    made = await new_key(rooms, **fields)
    assert {name: made[name] for name in fields} == fields
    other = {"name": "x", "scopes": ["files"], "models": ["m"], "limits": NO_LIMITS, "expires_at": LATER + 1}
    for name, value in other.items():
        changed = await post(rooms, f"/admin/keys/{made['id']}", {name: value})
        fields[name] = value
        assert {name: changed[name] for name in fields} == fields
    cleared = await post(rooms, f"/admin/keys/{made['id']}", {"models": None, "limits": None, "expires_at": None})
    assert (cleared["models"], cleared["limits"], cleared["expires_at"]) == (None, NO_LIMITS, None)
    assert "key" not in cleared


async def test_a_new_key_works_until_it_is_revoked(rooms: Any) -> None:
    made = await new_key(rooms)
    assert await status(rooms, made) == 200
    revoked = await post(rooms, f"/admin/keys/{made['id']}/revoke")
    assert revoked["revoked_at"] is not None
    answer = await rooms.get("/v1/assistants", headers=bearer(made))
    assert_refused(answer, f"The API key sk-***{made['key'][-4:]} was revoked.", status=401, code="invalid_api_key")
    assert await post(rooms, f"/admin/keys/{made['id']}/revoke") == revoked
    for path, body in ((f"/admin/keys/{made['id']}", {"name": "x"}), (f"/admin/keys/{made['id']}/rotate", {})):
        refused = await rooms.post(path, json=body)
        assert_refused(refused, f"API key '{made['id']}' was revoked.", code="key_revoked")


async def test_a_rotation_gives_a_new_secret_and_the_old_one_a_day_or_what_is_said(rooms: Any) -> None:
    made = await new_key(rooms)
    rotated = await post(rooms, f"/admin/keys/{made['id']}/rotate")
    assert rotated["previous_until"] == rotated["rotated_at"] + 86_400
    assert [await status(rooms, made), await status(rooms, rotated)] == [200, 200]
    again = await post(rooms, f"/admin/keys/{made['id']}/rotate", {"grace_s": 0})
    assert again["previous_until"] is None
    assert [await status(rooms, key) for key in (made, rotated, again)] == [401, 401, 200]
    assert "key" not in await get(rooms, f"/admin/keys/{made['id']}")


@pytest.mark.parametrize(
    ("scope", "method", "path", "expected"),
    [
        ("assistants", "POST", "/v1/threads", 200),
        ("assistants", "GET", "/v1/threads", 200),
        ("assistants", "GET", "/v1/models", 200),
        ("assistants", "GET", "/admin/keys", 403),
        ("assistants", "GET", "/admin//keys", 403),
        ("assistants", "POST", "/admin/keys", 403),
        ("chat", "POST", "/v1/threads", 403),
        ("chat", "POST", "/v1//threads", 403),
        ("chat", "GET", "/v1/threads", 403),
        ("chat", "GET", "/v1/models", 200),
        ("chat", "GET", "/v1/nothing", 404),
        ("read", "GET", "/v1/threads", 200),
        ("read", "POST", "/v1/threads", 403),
        ("read", "GET", "/admin/projects", 403),
        ("admin", "POST", "/v1/threads", 200),
        ("admin", "GET", "/admin/projects", 200),
    ],
)
async def test_a_scope_is_what_a_key_may_do(rooms: Any, scope: str, method: str, path: str, expected: int) -> None:
    made = await new_key(rooms, scopes=[scope])
    assert await status(rooms, made, method, path) == expected


async def test_a_missing_scope_is_named_in_the_originals_words(rooms: Any) -> None:
    made = await new_key(rooms, scopes=["chat"])
    assert_refused(
        await rooms.get("/v1/assistants", headers=bearer(made)),
        "You have insufficient permissions for this operation. Missing scopes: assistants. "
        "Check that the API key has the necessary scopes.",
        status=403,
        code="missing_scope",
    )


async def test_a_project_sees_only_what_is_its_own(rooms: Any) -> None:
    project = await post(rooms, "/admin/projects", {"name": "rates", "limits": {"concurrent_runs": 2}})
    assert project == {
        "id": project["id"],
        "object": "project",
        "name": "rates",
        "created_at": project["created_at"],
        "archived_at": None,
        "limits": NO_LIMITS | {"concurrent_runs": 2},
    }
    made = await new_key(rooms, project_id=project["id"])
    outside = await new_assistant(rooms)
    inside = (await rooms.post("/v1/assistants", json={}, headers=bearer(made))).json()["id"]
    assert [one["id"] for one in (await rooms.get("/v1/assistants", headers=bearer(made))).json()["data"]] == [inside]
    assert await status(rooms, made, path=f"/v1/assistants/{outside}") == 404
    assert (await rooms.get(f"/v1/assistants/{inside}")).status_code == 404
    assert await status(rooms, API_KEY, path=f"/v1/assistants/{inside}", **{"OpenAI-Project": project["id"]}) == 200
    listed = await get(rooms, "/admin/keys", project_id=project["id"])
    assert [key["id"] for key in listed["data"]] == [made["id"]]


async def test_a_project_that_a_key_may_not_name_is_like_one_that_is_not_there(rooms: Any) -> None:
    project = (await post(rooms, "/admin/projects", {"name": "other"}))["id"]
    made = await new_key(rooms)
    text = "OpenAI-Project header should match project for API key"
    for named, key in ((project, made), ("proj_nowhere", made), ("proj_nowhere", API_KEY), ("proj_\u00e9", API_KEY)):
        headers = bearer(key) | {"OpenAI-Project": named.encode("latin-1")}
        answer = await rooms.get("/v1/assistants", headers=headers)
        assert_refused(answer, text, status=401, code="mismatched_project")
    assert await status(rooms, made, **{"OpenAI-Project": "proj_default"}) == 200


async def test_an_archived_project_is_closed_and_keeps_what_it_has(rooms: Any) -> None:
    project = await post(rooms, "/admin/projects", {"name": "old"})
    where = f"/admin/projects/{project['id']}"
    renamed = await post(rooms, where, {"name": "older", "limits": None})
    assert renamed == project | {"name": "older"}
    made = await new_key(rooms, project_id=project["id"])
    assert await status(rooms, made) == 200
    archived = await post(rooms, f"{where}/archive")
    assert archived["archived_at"] is not None
    assert await get(rooms, where) == archived
    answer = await rooms.get("/v1/assistants", headers=bearer(made))
    text = f"The project of the API key sk-***{made['key'][-4:]} is archived."
    assert_refused(answer, text, status=401, code="invalid_api_key")
    assert await status(rooms, API_KEY, **{"OpenAI-Project": project["id"]}) == 401
    refused = await rooms.post("/admin/keys", json={"name": "x", "project_id": project["id"]})
    assert_refused(refused, f"Project '{project['id']}' is archived.", code="project_archived")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "name", "missing_required_parameter"),
        ({"name": ""}, "name", "empty_string"),
        ({"name": "x", "scopes": []}, "scopes", None),
        ({"name": "x", "scopes": ["everything"]}, "scopes[0]", "invalid_value"),
        ({"name": "x", "models": []}, "models", None),
        ({"name": "x", "expires_at": 1}, "expires_at", "invalid_value"),
        ({"name": "x", "project_id": "default"}, "project_id", None),
        ({"name": "x", "limits": {"requests_per_minute": 0}}, "limits.requests_per_minute", "integer_below_min_value"),
        ({"name": "x", "limits": {"requests": 1}}, "limits.requests", "unknown_parameter"),
        ({"name": "x", "key": "sk-sov-mine"}, "key", "unknown_parameter"),
    ],
    ids=str,
)
async def test_a_key_that_cannot_be_made_is_refused_in_words(rooms: Any, body: Any, param: str, code: Any) -> None:
    answer = await rooms.post("/admin/keys", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert code is None or error["code"] == code


async def test_a_project_that_is_not_there_is_not_found(rooms: Any) -> None:
    answer = await rooms.post("/admin/keys", json={"name": "x", "project_id": "proj_nowhere"})
    assert_refused(answer, "No project found with id 'proj_nowhere'.", status=404)
    for path, method in (("", "GET"), ("", "POST"), ("/archive", "POST")):
        body = {"json": {}} if method == "POST" else {}
        answer = await rooms.request(method, f"/admin/projects/proj_nowhere{path}", **body)
        assert_refused(answer, "No project found with id 'proj_nowhere'.", status=404)
        answer = await rooms.request(method, f"/admin/projects/undefined{path}", **body)
        assert answer.status_code == 400


async def test_the_default_project_cannot_be_archived(rooms: Any) -> None:
    answer = await rooms.post("/admin/projects/proj_default/archive")
    assert_refused(answer, "The default project cannot be archived.", code="default_project")

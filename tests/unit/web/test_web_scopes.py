"""Which scope lets a request through: every route has its line, and nothing is reached around it."""

import pytest

from app.errors import PermissionDenied
from app.keys.grant import SCOPES, Scope
from app.web.scopes import FOR_EVERY_KEY, SURFACES, missing_scope, require_scope
from tests.fixtures.routes import GUARDED, Route

NOTHING: frozenset[Scope] = frozenset()


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_every_route_has_a_scope_or_is_for_every_key(route: Route) -> None:
    parts = tuple(route.path.split("/")[1:3])
    assert parts in SURFACES or parts in FOR_EVERY_KEY or parts[0] == "admin"


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/assistants", "assistants"),
        ("/v1/assistants/asst_1", "assistants"),
        ("/v1/threads/thread_1/runs/run_1/cancel", "assistants"),
        ("/v1/responses", "responses"),
        ("/v1/conversations/conv_1/items", "responses"),
        ("/v1/chat/completions", "chat"),
        ("/v1/completions", "chat"),
        ("/v1/embeddings", "chat"),
        ("/v1/files", "files"),
        ("/v1/vector_stores/vs_1", "files"),
        ("/admin/keys", "admin"),
        ("/admin", "admin"),
        ("/metrics", "admin"),
    ],
)
def test_a_surface_is_open_to_its_scope_to_admin_and_for_reading_to_read(path: str, scope: Scope) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE", "PUT"):
        reads = method in ("GET", "HEAD") and scope != "admin"
        allowed = {one for one in SCOPES if missing_scope(frozenset({one}), method, path) is None}
        assert allowed == {scope, "admin"} | ({"read"} if reads else set())
        assert missing_scope(NOTHING, method, path) == scope


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/some/model", "/v1/usage", "/v1/nothing", "/"])
def test_some_paths_are_for_every_key(path: str) -> None:
    assert missing_scope(NOTHING, "GET", path) is None


@pytest.mark.parametrize("path", ["//v1/threads", "/v1//threads", "/v1/threads/", "///v1///threads//x"])
def test_empty_parts_of_a_path_lead_around_nothing(path: str) -> None:
    assert missing_scope(NOTHING, "POST", path) == "assistants"


@pytest.mark.parametrize("path", ["//admin/keys", "/admin//keys", "/admin/", "////////admin/keys"])
def test_nor_do_they_lead_to_administration(path: str) -> None:
    assert missing_scope(frozenset({"read", "assistants"}), "GET", path) == "admin"


def test_a_refusal_has_the_originals_words() -> None:
    with pytest.raises(PermissionDenied) as refused:
        require_scope(frozenset({"chat"}), "POST", "/v1/threads")
    assert refused.value.code == "missing_scope"
    assert refused.value.message == (
        "You have insufficient permissions for this operation. Missing scopes: assistants. "
        "Check that the API key has the necessary scopes."
    )

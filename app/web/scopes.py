"""Which scope a request needs. One table of what paths begin with; pure."""

from collections.abc import Set

from app.errors import PermissionDenied
from app.keys.grant import Scope

SURFACES: dict[tuple[str, ...], Scope] = {
    ("v1", "assistants"): "assistants",
    ("v1", "threads"): "assistants",
    ("v1", "responses"): "responses",
    ("v1", "conversations"): "responses",
    ("v1", "chat"): "chat",
    ("v1", "completions"): "chat",
    ("v1", "embeddings"): "chat",
    ("v1", "files"): "files",
    ("v1", "vector_stores"): "files",
}
FOR_EVERY_KEY = frozenset({("v1", "models"), ("v1", "usage")})
ADMINISTRATION = frozenset({("admin",), ("metrics",)})
READING = frozenset({"GET", "HEAD", "OPTIONS"})


def is_administration(path: str) -> bool:
    """Tell whether a path is the operators'."""
    return _parts(path)[:1] in ADMINISTRATION


def missing_scope(scopes: Set[Scope], method: str, path: str) -> Scope | None:
    """Return the scope that a request needs and its key lacks. What no route serves needs none: it is a 404.

    Empty parts of a path are left out, as the router leaves them out.
    """
    if "admin" in scopes:
        return None
    if is_administration(path):
        return "admin"
    parts = _parts(path)
    needed = SURFACES.get(parts)
    if needed is None or needed in scopes or (method in READING and "read" in scopes):
        return None
    return needed


def _parts(path: str) -> tuple[str, ...]:
    return tuple([part for part in path.split("/") if part][:2])


def require_scope(scopes: Set[Scope], method: str, path: str) -> None:
    """Raise PermissionDenied, in the original's words, when a key may not do this."""
    missing = missing_scope(scopes, method, path)
    if missing is not None:
        raise PermissionDenied(
            f"You have insufficient permissions for this operation. Missing scopes: {missing}. "
            "Check that the API key has the necessary scopes.",
            code="missing_scope",
        )

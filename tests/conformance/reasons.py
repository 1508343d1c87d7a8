"""Makes one readable reason of what a JSON Schema validator found wrong. Decides nothing."""

from collections import defaultdict
from collections.abc import Iterable

from jsonschema import ValidationError
from jsonschema.exceptions import relevance

# A branch of a union that fails on one of these was not the branch that was meant.
TAGS = frozenset({"type", "object", "role"})
TAG_KEYWORDS = frozenset({"enum", "const", "type"})
LONGEST_MESSAGE = 300


def reason(errors: Iterable[ValidationError]) -> str | None:
    """Say where and why a value is wrong; None where it is not."""
    error = max(errors, key=relevance, default=None)
    if error is None:
        return None
    error = _sharpen(error)
    message = error.message if len(error.message) <= LONGEST_MESSAGE else f"{error.message[:LONGEST_MESSAGE]}…"
    note = error.schema.get("description") if isinstance(error.schema, dict) else None
    return f"{error.json_path}: {message}" + (f" ({note})" if note else "")


def _sharpen(error: ValidationError) -> ValidationError:
    """Follow a failed union into the branch that was meant, where one can be told."""
    while error.context:
        branches: dict[object, list[ValidationError]] = defaultdict(list)
        for inner in error.context:
            branches[inner.schema_path[0]].append(inner)
        meant = [found for found in branches.values() if not any(map(_is_tag_error, found))]
        if not meant:
            return error
        fewest = min(meant, key=lambda found: len(found))
        error = max(fewest, key=relevance)
    return error


def _is_tag_error(error: ValidationError) -> bool:
    path = error.relative_path
    at_tag = len(path) == 1 and path[0] in TAGS
    return error.validator in TAG_KEYWORDS and (at_tag or not path)

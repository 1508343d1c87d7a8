"""A small JSON value that satisfies a JSON schema, for response_format and for the arguments of tool calls.

Handled: enum, const, objects, arrays, unions, allOf, $ref. Left alone: not, if/then/else, patternProperties.
"""

import re
from typing import Any

from ops.standin.prompt_words import PromptWords
from ops.standin.refusals import Refused
from ops.standin.scalars import write_number, write_string
from ops.standin.wire import Schema

_KNOWN_TYPES = frozenset(("object", "array", "string", "number", "integer", "boolean", "null"))
_SHALLOW_DEPTH = 5  # from here on nothing optional is written
_DEEPEST = 40  # a schema that needs more has no finite value
_FOLDED = frozenset(("$ref", "allOf", "anyOf", "oneOf"))


def make_instance(schema: Schema, message: str) -> Any:
    """Make a value that satisfies the schema, with words of the user's message where they fit."""
    try:
        return _Writer(schema, PromptWords(message)).write(schema, "", 0, 0)
    except (AttributeError, TypeError, ValueError, ArithmeticError, re.error) as problem:
        # A keyword with a value of the wrong kind; checking each of them would be a validator of its own.
        raise Refused(f"Grammar error: {problem}") from problem


class _Writer:
    def __init__(self, root: Schema, words: PromptWords) -> None:
        self._root = root
        self._words = words

    def write(self, schema: Any, name: str, depth: int, ordinal: int) -> Any:
        """Write one value; `name` is the property it is for, `ordinal` its place in an array."""
        if depth > _DEEPEST:
            raise Refused("Grammar error: the schema has no finite instance")
        schema = self._flatten(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choose(schema["enum"], ordinal)
        match _name_type(schema, depth):
            case "object":
                return self._write_object(schema, depth)
            case "array":
                return self._write_array(schema, name, depth)
            case "integer":
                return write_number(schema, self._words, ordinal, whole=True)
            case "number":
                return write_number(schema, self._words, ordinal, whole=False)
            case "boolean":
                return ordinal % 2 == 0
            case "null":
                return None
            case _:
                return write_string(schema, name, self._words, ordinal)

    def _flatten(self, schema: Any, depth: int, hops: int = 0) -> Schema:
        """Fold references, allOf and one branch of each union into one plain schema."""
        if hops > _DEEPEST:
            raise Refused("Grammar error: the schema refers to itself without end")
        if not isinstance(schema, dict):
            return {}
        branches = [self._follow(schema["$ref"])] if "$ref" in schema else []
        branches += schema.get("allOf", [])
        branches += [self._pick(schema[key], depth) for key in ("anyOf", "oneOf") if schema.get(key)]
        plain = {key: value for key, value in schema.items() if key not in _FOLDED}
        return _merge([plain, *(self._flatten(branch, depth, hops + 1) for branch in branches)])

    def _follow(self, reference: str) -> Any:
        target: Any = self._root
        for part in reference.lstrip("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or part not in target:
                raise Refused(f"Grammar error: Pointer {reference} does not exist")
            target = target[part]
        return target

    def _pick(self, branches: list[Any], depth: int) -> Any:
        if depth < _SHALLOW_DEPTH:
            return branches[0]
        return min(branches, key=_weigh)

    def _choose(self, values: list[Any], ordinal: int) -> Any:
        mentioned = [value for value in values if isinstance(value, str) and value and self._words.mentions(value)]
        if mentioned and not ordinal:
            return mentioned[0]
        return values[ordinal % len(values)]

    def _write_object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties", {})
        required: list[str] = schema.get("required", [])
        wanted = [name for name in properties if name in required]
        wanted += [name for name in required if name not in properties]
        if not required and depth < _SHALLOW_DEPTH:
            wanted = list(properties)
        least = schema.get("minProperties", 0)
        spare = [name for name in properties if name not in wanted]
        spare += [f"key_{number}" for number in range(1, least + 1)]
        wanted += spare[: max(0, least - len(wanted))]
        others = schema.get("additionalProperties", {})
        return {name: self.write(properties.get(name, others), name, depth + 1, 0) for name in wanted}

    def _write_array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least: int = schema.get("minItems", 0)
        leading: list[Any] = schema.get("prefixItems", [])
        size = max(least, min(1, schema.get("maxItems", 1)), len(leading)) if depth < _SHALLOW_DEPTH else least
        rest = schema.get("items", {})
        if rest is False:
            size = min(size, len(leading))
        item_name = name.removesuffix("s")
        shapes = [*leading, *[rest] * size][:size]
        return [self.write(shape, item_name, depth + 1, ordinal) for ordinal, shape in enumerate(shapes)]


def _merge(schemas: list[Schema]) -> Schema:
    merged: Schema = {}
    for key, value in (item for schema in schemas for item in schema.items()):
        if key == "required":
            merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
        elif key == "properties":
            merged[key] = {**merged.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def _name_type(schema: Schema, depth: int) -> str:
    """Name the type to write; a schema without one is read from its other keywords."""
    named = schema.get("type")
    options = named if isinstance(named, list) else [named] if named is not None else []
    for option in options:
        if option not in _KNOWN_TYPES:
            raise Refused(f"Grammar error: Invalid type: {option}")
    if "null" in options and (depth >= _SHALLOW_DEPTH or len(options) == 1):
        return "null"
    if options:
        return str(next(option for option in options if option != "null"))
    return _guess_type(schema)


def _guess_type(schema: Schema) -> str:
    if schema.keys() & {"properties", "required", "minProperties"}:
        return "object"
    if schema.keys() & {"items", "prefixItems", "minItems"}:
        return "array"
    if schema.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}:
        return "number"
    return "string"


def _weigh(branch: Any) -> int:
    """Order the branches of a union by how little they nest."""
    if not isinstance(branch, dict) or branch.get("type") == "null":
        return 0
    if branch.keys() & {"$ref", "anyOf", "oneOf", "allOf", "properties"} or branch.get("type") in (
        "object",
        "array",
    ):
        return 2
    return 1

"""Turns the OpenAPI dialect of the official document into plain JSON Schema 2020-12.

Pure functions over dictionaries: no files, no validators, no knowledge of any operation.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}
# `allOf: [X, {nullable: true}]` is how the document marks a reference as nullable.
NULLABLE: Schema = {"nullable": True}
ANNOTATIONS = frozenset({"nullable", "discriminator", "default", "deprecated", "$recursiveAnchor"})
ONE = frozenset({"items", "additionalProperties", "propertyNames", "not"})
SEVERAL = frozenset({"anyOf", "oneOf", "allOf"})


def component(name: str) -> str:
    """Give the reference under which a named schema is found."""
    return f"#/components/schemas/{name}"


def to_json_schema(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Convert all named schemas of a document."""
    return {name: convert(schema, name) for name, schema in schemas.items()}


def convert(node: Any, owner: str) -> Any:
    """Convert one schema; `owner` is the named schema it lies in, which `$recursiveRef` points back to."""
    if not isinstance(node, dict):
        return node
    plain: Schema = {}
    for key, value in node.items():
        if key not in ANNOTATIONS:
            new_key, new_value = _keyword(key, value, owner)
            plain[new_key] = new_value
    # Keys are asked for only in objects: without this a list would satisfy such a schema.
    if "properties" in plain:
        plain.setdefault("type", "object")
    # A discriminated union says which branch is meant, so that a second branch fits as well is no fault.
    if "discriminator" in node and "oneOf" in plain:
        plain["anyOf"] = plain.pop("oneOf")
    return {"anyOf": [plain, NULL]} if _is_nullable(node) else plain


def _keyword(key: str, value: Any, owner: str) -> tuple[str, Any]:
    if key == "$recursiveRef":
        return "$ref", component(owner)
    if key == "properties":
        return key, {name: convert(schema, owner) for name, schema in value.items()}
    if key in ONE:
        return key, convert(value, owner)
    if key in SEVERAL:
        return key, [convert(schema, owner) for schema in value if schema != NULLABLE]
    return key, value


def _is_nullable(node: Schema) -> bool:
    return bool(node.get("nullable")) or NULLABLE in node.get("allOf", [])

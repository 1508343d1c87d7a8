"""Structured answers: instances that validate against their schema."""

import json

import pytest
from jsonschema import Draft202012Validator

from ops.standin.json_answers import make_instance
from ops.standin.refusals import Refused

TREE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["value", "next", "children"],
}
ORDER = {
    "type": "object",
    "properties": {
        "side": {"enum": ["buy", "sell"]},
        "kind": {"const": "limit"},
        "legs": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/leg"}},
        "note": {"type": ["string", "null"], "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    },
    "required": ["side", "kind", "legs", "note", "tags"],
    "additionalProperties": False,
    "$defs": {
        "leg": {
            "type": "object",
            "properties": {
                "symbol": {"type": "string", "minLength": 3, "maxLength": 6},
                "size": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
                "lots": {"type": "integer", "minimum": 10, "multipleOf": 4},
            },
            "required": ["symbol", "size", "lots"],
        }
    },
}
SCHEMAS = {
    "order": ORDER,
    "tree": TREE,
    "any": {},
    "all optional": {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}},
    "no properties": {"type": "object", "required": ["x", "y"], "additionalProperties": {"type": "integer"}},
    "few properties": {"type": "object", "minProperties": 3, "properties": {"a": {}}},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    "distinct numbers": {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "integer"}},
    "distinct words": {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "string"}},
    "distinct values": {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"enum": ["a", "b"]}},
    "all of": {
        "allOf": [{"$ref": "#/$defs/a"}, {"required": ["b"]}],
        "$defs": {"a": {"properties": {"b": {}}}},
    },
    "one of with base": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "negative": {"type": "integer", "exclusiveMaximum": -3},
    "between": {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.2},
    "fractions": {"type": "number", "multipleOf": 0.25, "minimum": 2.1},
    "small multiple": {"type": "integer", "multipleOf": 5, "maximum": 4},
    "pattern": {"type": "string", "pattern": "^[A-Z]{3}$"},
    "date": {"type": "string", "format": "date"},
    "escaped reference": {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}},
}


@pytest.mark.parametrize("message", ["", "Sell 12 lots of MSFT at 0.15, not -7"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_an_instance_validates_against_its_schema(name, message):
    instance = make_instance(SCHEMAS[name], message)
    Draft202012Validator(SCHEMAS[name]).validate(instance)
    assert make_instance(SCHEMAS[name], message) == instance


def test_an_instance_takes_the_words_of_the_message():
    made = make_instance(ORDER, "Sell 12 lots of MSFT")
    assert made["side"] == "sell"
    assert made["legs"][0]["symbol"] == "MSFT"
    assert made["legs"][0]["lots"] == 12


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"type": "object", "properties": []},
        {"type": "string", "pattern": "("},
        {"type": "integer", "multipleOf": 0},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ],
)
def test_a_schema_without_an_instance_is_refused(schema):
    with pytest.raises(Refused, match="Grammar error"):
        make_instance(schema, "")


@pytest.mark.anyio
async def test_a_schema_answer_is_json_that_validates_streamed_or_not(standin):
    response_format = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER}}
    plain = await standin.chat("Sell MSFT", response_format=response_format)
    chunks = await standin.stream_chat("Sell MSFT", response_format=response_format)
    streamed = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    text = plain["choices"][0]["message"]["content"]
    Draft202012Validator(ORDER).validate(json.loads(text))
    assert text == streamed


@pytest.mark.anyio
async def test_a_json_object_holds_the_marked_reply(standin):
    body = await standin.chat("hello", response_format={"type": "json_object"})
    answer = json.loads(body["choices"][0]["message"]["content"])
    assert answer["answer"].startswith("[stand-in] ")


@pytest.mark.anyio
async def test_a_dictated_json_object_is_answered_as_it_is(standin):
    body = await standin.chat('say exactly: {"a": 1}', response_format={"type": "json_object"})
    assert body["choices"][0]["message"]["content"] == '{"a": 1}'

"""The official document: which operation a request is, and which schema its answer or event must satisfy.

Reads ../shared beside the repository. What the schemas do not say is in tables.py and events.py, not here.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from . import extensions
from .convert import Schema, component, to_json_schema
from .events import ASSISTANT_EVENTS, DATA_ONLY, ERROR_EVENT, LIFECYCLE, UNSPECIFIED_RESPONSE_EVENTS, EventRule

REPOSITORY = Path(__file__).resolve().parents[2]
SPEC_PATH = REPOSITORY.parent / "shared" / "reference" / "openai_spec.json"
DOCUMENT_URI = "urn:openai"
API_PREFIX = "/v1"
BETA = "?beta=true"


def _is_strict_integer(_: TypeChecker, value: object) -> bool:
    # JSON Schema lets 1714453013.0 pass as an integer; strict clients do not.
    return isinstance(value, int) and not isinstance(value, bool)


StrictValidator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_strict_integer),
)


@dataclass(frozen=True)
class Operation:
    """One method on one path template, with what the document says of its answers."""

    method: str
    template: str
    answers: Mapping[str, Mapping[str, str | None]]

    @property
    def key(self) -> str:
        """Name the operation as the scope list and the failures do."""
        return f"{self.method} {self.template}"

    def schema(self, status: int, content_type: str) -> str | None:
        """Give the name of the schema for an answer, or None where the document has none."""
        return self.answers.get(str(status), {}).get(content_type)


@dataclass(frozen=True)
class Match:
    """An operation recognised in a request, with the values of its path parameters."""

    operation: Operation
    params: Mapping[str, str]
    query: Mapping[str, list[str]]


class Spec:
    """The document, parsed and converted once; validators are built when first asked for."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        schemas = to_json_schema(document["components"]["schemas"]) | extensions.SCHEMAS
        root = {"components": {"schemas": schemas}}
        self._registry: Registry[Any] = Registry().with_resource(DOCUMENT_URI, DRAFT202012.create_resource(root))
        self._validators: dict[str, Draft202012Validator] = {}
        self._response_events = _response_events(schemas)
        self.operations = [_operation(*entry) for entry in _entries(document)]
        # Most literal first, so that /threads/runs is not taken for /threads/{thread_id}.
        ranked = sorted([*self.operations, *EXTENSIONS], key=lambda operation: operation.template.count("{"))
        self._routes = [(_pattern(operation.template), operation) for operation in ranked]

    def match(self, method: str, url: str) -> Match | None:
        """Find the operation that a request is, with or without host and the /v1 prefix."""
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        path = parts.path.removeprefix(API_PREFIX).rstrip("/")
        suffixes = [BETA, ""] if query.get("beta") == ["true"] else [""]
        for suffix in suffixes:
            for pattern, operation in self._routes:
                found = pattern.fullmatch(path + suffix)
                if found and operation.method == method.upper():
                    params = {name: unquote(value) for name, value in found.groupdict().items()}
                    return Match(operation, params, query)
        return None

    def errors(self, schema_name: str, value: Any) -> Iterable[ValidationError]:
        """Validate a value against a named schema."""
        if schema_name not in self._validators:
            reference = {"$ref": f"{DOCUMENT_URI}{component(schema_name)}"}
            self._validators[schema_name] = StrictValidator(reference, registry=self._registry)
        errors: Iterable[ValidationError] = self._validators[schema_name].iter_errors(value)
        return errors

    def event_rule(self, event: str | None, payload: Any) -> EventRule | None:
        """Find what holds for a stream event; None for an event that no official stream has."""
        kind = payload.get("type") if isinstance(payload, dict) else None
        if event and event in ASSISTANT_EVENTS:
            return ASSISTANT_EVENTS[event]
        if event == kind and kind in self._response_events:
            return EventRule(self._response_events[kind], LIFECYCLE if "response" in payload else ())
        if event == kind and kind in UNSPECIFIED_RESPONSE_EVENTS:
            return EventRule()
        if event == "error" or (event is None and isinstance(payload, dict) and "error" in payload):
            return ERROR_EVENT
        if event is None and isinstance(payload, dict):
            return DATA_ONLY.get(str(payload.get("object")))
        return None


@cache
def load_spec(path: Path = SPEC_PATH) -> Spec:
    """Read the document, once for each path; FileNotFoundError where ../shared is absent."""
    return Spec(json.loads(path.read_bytes()))


def _entries(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    shared = document["components"].get("responses", {})
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), template, operation["responses"], shared


def _extension(key: str, schema: str | None) -> Operation:
    method, template = key.split(" ")
    kind = "text/event-stream" if schema is None else "application/json"
    return Operation(method, template, {"200": {kind: schema}})


EXTENSIONS = [_extension(*entry) for entry in extensions.OPERATIONS.items()]


def _operation(method: str, template: str, responses: Mapping[str, Any], shared: Mapping[str, Any]) -> Operation:
    answers: dict[str, dict[str, str | None]] = {}
    for status, response in responses.items():
        full = shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
        answers[status] = {kind: _name(body["schema"]) for kind, body in full.get("content", {}).items()}
    return Operation(method, template, answers)


def _name(schema: Schema) -> str | None:
    reference: str | None = schema.get("$ref")
    return reference and reference.rpartition("/")[2]


def _pattern(template: str) -> re.Pattern[str]:
    literal = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    literal = literal.replace("{model}", "(?P<model>.+)")  # names of models have slashes, and SDKs leave them
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/?]+)", literal))


def _response_events(schemas: Mapping[str, Schema]) -> dict[str, str]:
    names = [_name(branch) or "" for branch in schemas["ResponseStreamEvent"]["anyOf"]]
    return {schemas[name]["properties"]["type"]["enum"][0]: name for name in names}

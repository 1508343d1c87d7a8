"""The official document is read as it is meant: nullable, unions, templates and stream events."""

import pytest

from tests.conformance.checker import Checker
from tests.conformance.convert import convert
from tests.conformance.events import ASSISTANT_EVENTS
from tests.conformance.reasons import reason
from tests.conformance.scope import IN_SCOPE


def test_nullable_becomes_a_union_with_null() -> None:
    plain = {"type": "string", "enum": ["a"], "nullable": True, "default": "a"}
    assert convert(plain, "X") == {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}


def test_a_nullable_member_of_all_of_makes_the_whole_nullable() -> None:
    node = {"allOf": [{"$ref": "#/x"}, {"nullable": True}]}
    assert convert(node, "X") == {"anyOf": [{"allOf": [{"$ref": "#/x"}]}, {"type": "null"}]}


def test_properties_named_like_keywords_stay_properties() -> None:
    node = {"properties": {"nullable": {"type": "boolean"}, "default": {"nullable": True, "type": "string"}}}
    assert convert(node, "X") == {
        "properties": {
            "nullable": {"type": "boolean"},
            "default": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "type": "object",
    }


def test_a_recursive_reference_points_to_its_own_schema() -> None:
    assert convert({"items": {"$recursiveRef": "#"}}, "X") == {"items": {"$ref": "#/components/schemas/X"}}


MATCHES = {
    ("POST", "/v1/threads/runs"): "POST /threads/runs",
    ("post", "http://host:1/v1/threads/thread_1?x=1"): "POST /threads/{thread_id}",
    ("GET", "/threads/t/runs/r/steps/s"): "GET /threads/{thread_id}/runs/{run_id}/steps/{step_id}",
    ("POST", "/v1/responses/compact"): "POST /responses/compact",
    ("POST", "/v1/responses"): "POST /responses",
    ("POST", "/v1/responses?beta=true"): "POST /responses?beta=true",
    ("GET", "/v1/responses/r?beta=true"): "GET /responses/{response_id}?beta=true",
    ("GET", "/v1/threads"): "GET /threads",
    ("GET", "/v1/threads/t/runs/r/events?after=3"): "GET /threads/{thread_id}/runs/{run_id}/events",
    ("PUT", "/v1/threads"): None,
    ("PUT", "/v1/threads/t"): None,
    ("GET", "/v1/threads/t/u"): None,
}


@pytest.mark.parametrize(("request_line", "key"), MATCHES.items())
def test_a_request_is_matched_to_its_operation(
    checker: Checker, request_line: tuple[str, str], key: str | None
) -> None:
    match = checker.spec.match(*request_line)
    assert (match and match.operation.key) == key


def test_path_parameters_are_decoded(checker: Checker) -> None:
    match = checker.spec.match("GET", "/v1/models/meta%2Fllama")
    assert match
    assert match.params == {"model": "meta/llama"}


def test_the_document_has_81_operations_and_all_those_in_scope(checker: Checker) -> None:
    keys = {operation.key for operation in checker.spec.operations}
    assert len(keys) == 81
    assert keys >= set(IN_SCOPE)


def test_every_schema_of_an_answer_or_event_can_be_used(checker: Checker) -> None:
    answers = {name for item in checker.spec.operations for kinds in item.answers.values() for name in kinds.values()}
    events = {rule.schema for rule in ASSISTANT_EVENTS.values()}
    for name in filter(None, answers | events | {"ResponseStreamEvent"}):
        # Something no schema accepts: every reference on the way must resolve.
        assert reason(checker.spec.errors(name, [{}])) is not None, name


def test_response_events_are_found_by_their_type(checker: Checker) -> None:
    rule = checker.spec.event_rule("response.output_text.delta", {"type": "response.output_text.delta"})
    assert rule
    assert rule.schema == "ResponseTextDeltaEvent"
    assert checker.spec.event_rule("response.created", {"type": "response.completed"}) is None


def test_a_reason_follows_a_union_into_the_branch_that_was_meant(checker: Checker) -> None:
    item = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal"}],
    }
    page = {"object": "list", "data": [item], "has_more": False, "first_id": "m", "last_id": "m"}
    found = reason(checker.spec.errors("ConversationItemList", page))
    assert found == "$.data[0].content[0]: 'refusal' is a required property"

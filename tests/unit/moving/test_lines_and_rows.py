"""Lines become columns and columns lines: nothing is lost, and what OpenAI left out is filled in as it meant it."""

import json
from typing import Any

import pytest
from msgspec import UNSET, to_builtins

from app.moving.reading import read
from app.moving.rows import KINDS, columns_of, kind_of, line_of, same
from tests.integration.moving.household import AT, everything, message, run, step, thread

PROJECT = {"object": "project", "id": "proj_1", "created_at": AT, "name": "x"}


def line(of: dict[str, Any]) -> Any:
    [found] = read(json.dumps(of).encode())
    return found


def through_columns(of: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = to_builtins(line_of(of["object"], columns_of(line(of))))
    return found


@pytest.mark.parametrize("of", [PROJECT, *everything()], ids=lambda of: f"{of['object']} {of['id']}")
def test_a_line_that_was_taken_out_becomes_the_same_line_again(of: dict[str, Any]) -> None:
    assert through_columns(of) == of


def test_there_is_one_of_every_kind_among_them() -> None:
    assert {kind_of(line(of)) for of in [PROJECT, *everything()]} == set(KINDS)


def test_a_message_that_was_in_progress_is_one_that_was_cut_short() -> None:
    found = through_columns(message(1, status="in_progress", completed_at=None))
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "run_failed"})
    assert found["incomplete_at"] == AT + 1


@pytest.mark.parametrize(
    ("fields", "ended_at"),
    [
        ({"completed_at": AT + 7, "failed_at": None}, AT + 7),
        ({"failed_at": AT + 8}, AT + 8),
        ({"cancelled_at": AT + 9}, AT + 9),
        ({"completed_at": None, "started_at": AT + 2}, AT + 2),
        ({"started_at": None}, AT + 1),
    ],
)
def test_a_run_of_openai_ended_when_it_says_or_else_when_it_is_last_heard_of(
    fields: dict[str, Any], ended_at: int
) -> None:
    bare = {name: value for name, value in run().items() if name != "ended_at"}
    columns = columns_of(line(bare | fields))
    assert (columns["ended_at"], columns["surface"], columns["owner"]) == (ended_at, "run", None)


def test_a_step_without_a_place_has_none() -> None:
    bare = step("step_1", "run_1", 1, {"type": "tool_calls", "tool_calls": []})
    del bare["position"]
    assert columns_of(line(bare))["position"] is None


def test_the_same_is_the_same_wherever_it_stands_and_in_whatever_order_its_pairs_are() -> None:
    one = columns_of(line(message(1, metadata={"a": "1", "b": "2"})))
    moved = columns_of(line(message(1, position=7, metadata={"b": "2", "a": "1"})))
    assert same("thread.message", one, moved)
    assert same("thread", columns_of(line(thread())), columns_of(line(thread(last_position=8))))
    for other in (
        message(1, metadata={"a": "1"}),
        message(1, metadata={"a": "1", "b": "2"}, thread="thread_2"),
        message(1, metadata={"a": "1", "b": "2"}, run_id="run_1"),
    ):
        assert not same("thread.message", one, columns_of(line(other)))


def test_what_a_line_does_not_say_is_not_made_up() -> None:
    bare = line({"object": "thread", "id": "thread_1", "created_at": AT})
    assert (bare.assistant_id, bare.messages, columns_of(bare)["last_position"]) == (UNSET, UNSET, 0)

"""What the model is shown of a thread: what fits, never nothing, the newest always."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.context import (
    Past,
    PastCall,
    PastCalls,
    PastMessage,
    choose,
    estimated,
    first_exchange,
    known,
    most,
    opening,
    pinned,
    sound,
)
from app.inference.tokens import MOST_TOKENS_PER_MESSAGE, TOKENS_PER_MESSAGE, estimate_message, estimate_tokens

ROUND = PastCalls([PastCall("call_1", "look_up", '{"a":1}', "found " * 10), PastCall("call_2", "add", "{}", "3")])
MESSAGES = st.builds(PastMessage, st.sampled_from(["user", "assistant"]), st.text("ab ,é", max_size=40))
HISTORIES = st.lists(MESSAGES | st.just(ROUND), min_size=1, max_size=12)
ROOMS = st.integers(-50, 900)


def talk(count: int, words: int = 20) -> list[PastMessage]:
    """Make a talk of so many messages, each of so many words and told apart by its first."""
    roles = ("user", "assistant")
    return [PastMessage(roles[number % 2], f"{number} " + "word " * (words - 1)) for number in range(count)]


def test_instructions_open_the_prompt_as_the_system_and_are_left_out_when_empty() -> None:
    assert opening("Be brief.") == [{"role": "system", "content": "Be brief."}]
    assert opening("") == []


# A talk of ten, a user's turn first: the newest two are an exchange, of which the question is shown whatever it takes.
@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (100, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (99, [0, 1, 3, 4, 5, 6, 7, 8, 9]),
        (50, [0, 1, 7, 8, 9]),
        (40, [0, 1, 8, 9]),
        (39, [7, 8, 9]),
        (30, [7, 8, 9]),
        (20, [8, 9]),
        (19, [8, 9]),
        (0, [8, 9]),
    ],
)
def test_what_does_not_fit_is_dropped_from_the_middle(room: int, shown: list[int]) -> None:
    assert choose(talk(10), [10] * 10, room) == shown


def test_the_newest_question_stays_while_the_rounds_of_calls_after_it_are_dropped() -> None:
    history = [*talk(4), PastMessage("user", "4"), ROUND, ROUND, ROUND]
    assert choose(history, [10] * 8, 50) == [0, 1, 4, 6, 7]
    assert choose(history, [10] * 8, 20) == [4, 7]


def test_the_first_exchange_goes_up_to_the_first_answer_with_the_calls_that_led_to_it() -> None:
    history = [PastMessage("user", "0"), ROUND, PastMessage("assistant", "2"), *talk(4)]
    assert list(first_exchange(history)) == [0, 1, 2]
    assert choose(history, [10] * 7, 50) == [0, 1, 2, 5, 6]
    assert choose(history, [10] * 7, 49) == [3, 4, 5, 6]
    assert list(first_exchange(talk(1))) == [0]
    assert list(first_exchange([])) == []


def test_parts_count_by_their_text_and_are_shown_as_they_are() -> None:
    parts = [{"type": "text", "text": "a word"}, {"type": "image_url", "image_url": {"url": "https://example.com/a"}}]
    message = PastMessage("user", parts)
    assert estimated(message) == estimated(PastMessage("user", "a word\n"))
    assert message.chat() == [{"role": "user", "content": parts}]
    assert message.text_only() == [{"role": "user", "content": "a word\n"}]


@given(history=HISTORIES, room=ROOMS, data=st.data())
def test_what_is_chosen_fits_or_is_nothing_but_what_must_be_shown(
    history: list[Past], room: int, data: st.DataObject
) -> None:
    costs = data.draw(st.lists(st.integers(1, 100), min_size=len(history), max_size=len(history)))
    shown = choose(history, costs, room)
    assert shown == sorted(set(shown))
    assert shown[-1] == len(history) - 1
    assert set(shown) >= pinned(history)
    assert sum(costs[at] for at in shown) <= room or set(shown) == pinned(history)
    assert len(shown) == len(history) or sum(costs) > room


@given(text=st.text(max_size=200), room=st.sampled_from(["tiny", "other"]))
def test_a_bound_is_above_the_estimate_of_plain_text_and_a_count_is_taken_of_its_own_model_alone(
    text: str, room: str
) -> None:
    message = PastMessage("user", text, "msg_1", 7, "tiny")
    assert known(message, room) == (7 if room == "tiny" else None)
    assert most(message, room) == (7 if room == "tiny" else len(text.encode()) + MOST_TOKENS_PER_MESSAGE)


@given(text=st.text(max_size=200), more=st.text(max_size=50))
def test_an_estimate_never_shrinks_as_a_text_grows(text: str, more: str) -> None:
    assert estimate_tokens(text + " " + more) >= estimate_tokens(text)
    assert estimate_message(text) == estimate_tokens(text) + TOKENS_PER_MESSAGE


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("hello", 2), ("one two three", 4), ("a" * 800, 100)])
def test_an_estimate_counts_words_and_signs_and_minds_long_words(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_a_round_of_calls_is_shown_with_its_outputs() -> None:
    asked, *outputs = ROUND.chat()
    assert (asked["role"], asked["content"]) == ("assistant", "")
    assert [call["function"] for call in asked["tool_calls"]] == [
        {"name": "look_up", "arguments": '{"a":1}'},
        {"name": "add", "arguments": "{}"},
    ]
    assert [(message["role"], message["tool_call_id"]) for message in outputs] == [
        ("tool", "call_1"),
        ("tool", "call_2"),
    ]
    assert [call["id"] for call in asked["tool_calls"]] == ["call_1", "call_2"]


def test_a_round_without_outputs_is_not_shown() -> None:
    assert PastCalls([]).chat() == []


@pytest.mark.parametrize(
    ("arguments", "kept"), [('{"a":1}', True), ("{}", True), ('{"a"', False), ("[1]", False), ("", False)]
)
def test_arguments_that_are_no_object_are_shown_inside_one(arguments: str, kept: bool) -> None:
    shown = sound(arguments)
    assert (shown == arguments) is kept
    assert isinstance(json.loads(shown), dict)
    assert kept or json.loads(shown)["malformed_arguments"] == arguments

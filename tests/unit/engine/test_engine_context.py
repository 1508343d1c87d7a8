"""What the model is shown of a thread: what fits, never nothing, the newest always."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.context import RESERVED_FOR_ANSWER, PastCall, PastCalls, PastMessage, build_prompt, sound
from app.inference.tokens import TOKENS_PER_MESSAGE, estimate_message, estimate_tokens

MESSAGES = st.builds(PastMessage, st.sampled_from(["user", "assistant"]), st.text("ab ,é", max_size=400))
HISTORIES = st.lists(MESSAGES, min_size=1, max_size=12)
WINDOWS = st.integers(RESERVED_FOR_ANSWER, RESERVED_FOR_ANSWER + 700)


def talk(count: int, words: int = 20) -> list[PastMessage]:
    """Make a talk of so many messages, each of so many words and told apart by its first."""
    roles = ("user", "assistant")
    return [PastMessage(roles[number % 2], f"{number} " + "word " * (words - 1)) for number in range(count)]


def numbers(prompt: list[dict[str, Any]]) -> list[int]:
    return [int(message["content"].split()[0]) for message in prompt if message["role"] != "system"]


def cost(words: int = 20) -> int:
    return talk(1, words)[0].tokens()


def window_for(messages: int, instructions: str = "") -> int:
    """Give the smallest window that takes so many messages of a talk."""
    return RESERVED_FOR_ANSWER + estimate_message(instructions) + messages * cost()


def test_without_a_window_everything_is_shown() -> None:
    assert numbers(build_prompt("", talk(50), None)) == list(range(50))


def test_instructions_come_first_as_the_system_and_are_left_out_when_empty() -> None:
    assert build_prompt("Be brief.", talk(1), None)[0] == {"role": "system", "content": "Be brief."}
    assert [message["role"] for message in build_prompt("", talk(2), None)] == ["user", "assistant"]


def test_what_fits_to_the_last_token_is_shown_whole() -> None:
    assert numbers(build_prompt("", talk(10), window_for(10))) == list(range(10))


def test_one_token_less_drops_from_the_middle() -> None:
    assert numbers(build_prompt("", talk(10), window_for(10) - 1)) == [0, 1, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("fits", "shown"), [(5, [0, 1, 7, 8, 9]), (3, [0, 1, 9]), (2, [8, 9]), (1, [9]), (0, [9])])
def test_the_first_exchange_stays_while_the_newest_has_room_beside_it(fits: int, shown: list[int]) -> None:
    assert numbers(build_prompt("", talk(10), window_for(fits))) == shown


def test_instructions_take_their_part_of_the_window() -> None:
    instructions = "word " * 100
    assert numbers(build_prompt(instructions, talk(10), window_for(5, instructions))) == [0, 1, 7, 8, 9]
    assert numbers(build_prompt(instructions, talk(10), window_for(5))) == [9]


def test_a_newest_message_larger_than_the_window_is_shown_alone() -> None:
    history = [*talk(4), PastMessage("user", "4 " + "word " * 5000)]
    assert numbers(build_prompt("", history, 1000)) == [4]


def test_parts_count_by_their_text_and_are_shown_as_they_are() -> None:
    parts = [{"type": "text", "text": "a word"}, {"type": "image_url", "image_url": {"url": "https://example.com/a"}}]
    message = PastMessage("user", parts)
    assert message.tokens() == PastMessage("user", "a word\n").tokens()
    assert build_prompt("", [message], 300) == [{"role": "user", "content": parts}]


def test_an_empty_thread_shows_the_instructions_alone() -> None:
    assert build_prompt("Be brief.", [], 300) == [{"role": "system", "content": "Be brief."}]


@given(history=HISTORIES, window=WINDOWS, instructions=st.text("ab ", max_size=100))
def test_what_is_shown_is_part_of_the_history_in_its_order_and_ends_with_the_newest(
    history: list[PastMessage], window: int, instructions: str
) -> None:
    marked = [PastMessage(message.role, f"{number} {message.content}") for number, message in enumerate(history)]
    shown = numbers(build_prompt(instructions, marked, window))
    assert shown == sorted(set(shown))
    assert shown[-1] == len(history) - 1
    gaps = [number for number, after in pairwise(shown) if after != number + 1]
    assert len(gaps) <= 1, "what is dropped is one stretch"
    assert shown[0] == 0 or shown == list(range(shown[0], len(history)))


@given(history=HISTORIES, window=WINDOWS, instructions=st.text("ab ", max_size=100))
def test_what_is_shown_fits_unless_it_is_the_newest_alone(
    history: list[PastMessage], window: int, instructions: str
) -> None:
    prompt = build_prompt(instructions, history, window)
    shown = [message for message in prompt if message["role"] != "system"]
    assert shown
    taken = sum(estimate_message(message["content"]) for message in shown) + estimate_message(instructions)
    assert taken <= window - RESERVED_FOR_ANSWER or len(shown) == 1


@given(history=HISTORIES, window=WINDOWS)
def test_nothing_is_dropped_that_fits(history: list[PastMessage], window: int) -> None:
    everything = sum(message.tokens() for message in history) + estimate_message("")
    if everything <= window - RESERVED_FOR_ANSWER:
        assert len(build_prompt("", history, window)) == len(history)


@given(text=st.text(max_size=200), more=st.text(max_size=50))
def test_an_estimate_never_shrinks_as_a_text_grows(text: str, more: str) -> None:
    assert estimate_tokens(text + " " + more) >= estimate_tokens(text)
    assert estimate_message(text) == estimate_tokens(text) + TOKENS_PER_MESSAGE


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("hello", 2), ("one two three", 4), ("a" * 800, 100)])
def test_an_estimate_counts_words_and_signs_and_minds_long_words(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


ROUND = PastCalls([PastCall("call_1", "look_up", '{"a":1}', "found " * 10), PastCall("call_2", "add", "{}", "3")])


def test_a_round_of_calls_is_shown_with_its_outputs() -> None:
    asked, *outputs = build_prompt("", [ROUND], None)
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
    assert build_prompt("", [PastCalls([])], None) == []


def test_a_round_of_calls_is_dropped_whole() -> None:
    history = [*talk(6), ROUND, PastMessage("assistant", "7 " + "word " * 19)]
    shown = build_prompt("", history, window_for(3) + ROUND.tokens() - 1)
    assert [message["role"] for message in shown].count("tool") == 0
    shown = build_prompt("", history, window_for(3) + ROUND.tokens())
    assert [message["role"] for message in shown] == ["user", "assistant", "assistant", "tool", "tool", "assistant"]


@pytest.mark.parametrize(
    ("arguments", "kept"), [('{"a":1}', True), ("{}", True), ('{"a"', False), ("[1]", False), ("", False)]
)
def test_arguments_that_are_no_object_are_shown_inside_one(arguments: str, kept: bool) -> None:
    shown = sound(arguments)
    assert (shown == arguments) is kept
    assert isinstance(json.loads(shown), dict)
    assert kept or json.loads(shown)["malformed_arguments"] == arguments

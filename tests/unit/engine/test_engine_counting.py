"""Which tokens of a prompt belong to which message, for tokenizers that write their tokens in different ways."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.context import Past, PastCall, PastCalls, PastMessage
from app.engine.counting import proportional, shares

CHARACTER_OF = {byte: chr(byte) for byte in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))}
CHARACTER_OF |= {
    byte: chr(0x100 + number) for number, byte in enumerate(byte for byte in range(256) if byte not in CHARACTER_OF)
}
Writer = Callable[[str], list[str]]


def byte_level(text: str) -> list[str]:
    """Write a token for every two bytes, as GPT-2's alphabet does: a character may be cut in two."""
    written = [CHARACTER_OF[byte] for byte in text.encode()]
    return ["".join(written[at : at + 2]) for at in range(0, len(written), 2)]


def sentence_piece(text: str) -> list[str]:
    return list(text.replace(" ", "▁"))


def sentence_piece_with_bytes(text: str) -> list[str]:
    """Write what is no ASCII letter or sign byte by byte, a new line too, as Llama 2 and Mistral do."""
    pieces = (["▁"] if sign == " " else [sign] if "!" <= sign <= "~" else _bytes(sign) for sign in text)
    return [piece for signs in pieces for piece in signs]


def _bytes(sign: str) -> list[str]:
    return [f"<0x{byte:02X}>" for byte in sign.encode()]


def plain(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def template(write: Writer, head: str, history: list[Past]) -> tuple[list[str], list[int]]:
    """Write a prompt as Llama's template does; return its tokens, and how many the head and each item take.

    A message takes its text, what closes it and what opens the next one.
    """
    tokens = ["<begin>", *write(head)]
    counts = []
    for past in history:
        for number, message in enumerate(past.chat()):
            tokens += ["<start>", *write(message["role"]), "<header-end>"]
            if number == 0:
                counts.append(len(tokens))
            functions = [call["function"] for call in message.get("tool_calls", ())]
            called = "".join(function["name"] + function["arguments"] for function in functions)
            tokens += [*write(called + message["content"].strip()), "<stop>"]
    tokens += ["<start>", *write("assistant"), "<header-end>"]
    return tokens, [end - start for start, end in zip([0, *counts], [*counts, len(tokens)], strict=True)]


TALK: list[Past] = [
    PastMessage("user", "user"),
    PastMessage("assistant", "Naïve café, 日本 🙂"),
    PastMessage("user", " twice the same \n"),
    PastCalls([PastCall("call_1", "look_up", '{"a": 1}', "found it"), PastCall("call_2", "add", "{}", "3")]),
    PastMessage("assistant", "twice the same"),
    PastMessage("user", "and on"),
]


@pytest.mark.parametrize("write", [byte_level, sentence_piece, sentence_piece_with_bytes, plain])
def test_each_message_is_found_where_the_template_wrote_it(write: Writer) -> None:
    tokens, counts = template(write, "Be brief.", TALK)
    assert shares(tokens, 10, TALK) == counts


def test_byte_level_tokens_are_read_as_such_also_beside_special_tokens_that_hold_a_space() -> None:
    tokens, counts = template(byte_level, "Be brief.", TALK)
    tokens[0] = "<｜begin▁of▁sentence｜>"
    assert shares(tokens, 10, TALK) == counts


def test_a_text_of_several_lines_is_found_where_new_lines_are_tokens_of_one_byte() -> None:
    history: list[Past] = [PastMessage("user", "one\ntwo 🙂\n" * 20), PastMessage("user", "go\non")]
    tokens, counts = template(sentence_piece_with_bytes, "Be brief.", history)
    assert shares(tokens, 10, history) == counts


def test_where_one_text_is_not_found_it_shares_with_the_message_before_it_and_the_others_stay_exact() -> None:
    tokens, counts = template(byte_level, "Be brief.", TALK)
    changed = [*TALK[:2], PastMessage("user", "written otherwise"), *TALK[3:]]
    found = shares(tokens, 10, changed)
    assert found[:2] + found[4:] == counts[:2] + counts[4:]
    assert found[2] + found[3] == counts[2] + counts[3]
    assert found[3] > 0


def test_where_no_text_is_found_all_share_in_proportion() -> None:
    history: list[Past] = [PastMessage("user", "one two three"), PastMessage("user", "four five six " * 4)]
    assert shares(["x"] * 100, 10, history) == proportional(100, 10, history) == [26, 21, 53]


WORDS = st.text("ab é日", min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
SAID = st.builds(PastMessage, st.sampled_from(["user", "assistant"]), WORDS | st.just(""))


@given(history=st.lists(SAID, max_size=8), tokens=st.lists(st.text("abĠĊ▁ é", min_size=1, max_size=4), max_size=60))
def test_the_parts_always_add_up_to_the_whole(history: list[Past], tokens: list[str]) -> None:
    counts = shares(tokens, 5, history)
    assert len(counts) == len(history) + 1
    assert sum(counts) == len(tokens)
    assert min(counts) >= 0


@given(said=st.lists(WORDS, min_size=1, max_size=8))
def test_texts_that_differ_are_counted_to_the_token(said: list[str]) -> None:
    history: list[Past] = [PastMessage("user", f"{number}: {text}") for number, text in enumerate(said)]
    tokens, counts = template(byte_level, "Be brief.", history)
    assert shares(tokens, 10, history) == counts

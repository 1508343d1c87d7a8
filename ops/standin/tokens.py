"""The stand-in's token rule, the same for /tokenize, usage, limits and streamed pieces.

A token is a run of up to 16 letters, digits or underscores with the space before it, or one punctuation mark
with the space before it, or one other whitespace character. Joined again, tokens give the text unchanged.
"""

import functools
import re
import zlib
from collections.abc import Iterable

CHARS_PER_TOKEN = 17
MESSAGE_MARKS = 4
ANSWER_MARKS = 2
VOCABULARY = 128_000

_TOKEN = re.compile(r" ?\w{1,16}| ?[^\w\s]|\s")
_CACHED_CHARS = 4096
_FIRST_WORD_ID = 16  # the ids below are the marks of the chat template


def split(text: str) -> list[str]:
    """Cut a text into its tokens."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """Count the tokens of a text; short texts, as the turns of a conversation are, are remembered."""
    return _count_remembered(text) if len(text) <= _CACHED_CHARS else len(split(text))


@functools.lru_cache(maxsize=4096)
def _count_remembered(text: str) -> int:
    return len(split(text))


def count_chat(texts: Iterable[str], tools_json: str, *, opens_answer: bool = True) -> int:
    """Count a chat's prompt: 4 marks and the text of each message, the tools, 2 marks to open the answer."""
    spoken = sum(count(text) + MESSAGE_MARKS for text in texts)
    return spoken + count(tools_json) + (ANSWER_MARKS if opens_answer else 0)


def identify(text: str) -> list[int]:
    """Give each token of a text its id, which is a checksum and cannot be turned back."""
    span = VOCABULARY - _FIRST_WORD_ID
    return [_FIRST_WORD_ID + zlib.crc32(piece.encode()) % span for piece in split(text)]


def identify_chat(texts: Iterable[str], tools_json: str, *, opens_answer: bool = True) -> list[int]:
    """Give the ids of a chat's prompt; as many as `count_chat` counts, in the order of `split_chat`."""
    ids = identify(tools_json)
    for text in texts:
        ids += [*range(MESSAGE_MARKS), *identify(text)]
    if opens_answer:
        ids += range(MESSAGE_MARKS, MESSAGE_MARKS + ANSWER_MARKS)
    return ids


def split_chat(texts: Iterable[str], tools_json: str, *, opens_answer: bool = True) -> list[str]:
    """Cut a chat's prompt into its tokens, marks included."""
    pieces = split(tools_json)
    for text in texts:
        pieces += [*map(_mark, range(MESSAGE_MARKS)), *split(text)]
    if opens_answer:
        pieces += map(_mark, range(MESSAGE_MARKS, MESSAGE_MARKS + ANSWER_MARKS))
    return pieces


def _mark(number: int) -> str:
    return f"<|{number}|>"

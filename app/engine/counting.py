"""Which of a prompt's tokens belong to which message: pure functions over what the server's tokenizer answered.

A template writes what it likes around the messages, but it writes each one's text. Where that text begins is looked
for from the end backwards, since a template's own words, such as the role, stand before it. What lies between the
beginnings of two messages is what the first of them takes; what lies before all of them is the head: instructions,
tools and the template's opening. Parts always add up to the whole.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from app.engine.context import Past, PastCalls, Sent, estimated

SENTENCE_PIECE_SPACE = "▁"
BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")


def shares(tokens: Sequence[str], head_estimate: int, history: Sequence[Past]) -> list[int]:
    """Return how many tokens the head and each item take: one number more than there are items.

    Where an item's text is not found, it and its neighbours share in proportion to their estimates.
    """
    begins: list[int | None] = [0, *_beginnings(tokens, history)]
    weights = [head_estimate, *map(estimated, history)]
    counts: list[int] = []
    while len(counts) < len(begins):
        at = len(counts)
        after = next((later for later in range(at + 1, len(begins)) if begins[later] is not None), len(begins))
        end = begins[after] if after < len(begins) else len(tokens)
        counts += _divided((end or 0) - (begins[at] or 0), weights[at:after])
    return counts


def proportional(count: int, head_estimate: int, history: Sequence[Past]) -> list[int]:
    """Return what `shares` does where the server tells nothing but the number of tokens."""
    return _divided(count, [head_estimate, *map(estimated, history)])


def _beginnings(tokens: Sequence[str], history: Sequence[Past]) -> list[int | None]:
    text, ends = _written(tokens)
    found: list[int | None] = []
    limit = len(text)
    for past in reversed(history):
        places = []
        for anchor in reversed(_anchors(past)):
            place = text.rfind(anchor, 0, limit) if anchor else -1
            limit = place if place >= 0 else limit
            places.append(place)
        found.append(bisect_right(ends, limit) if places[-1] >= 0 else None)
    return list(reversed(found))


def _anchors(past: Past) -> list[bytes]:
    """Return texts that a template writes as they are, in their order; the first one begins the item."""
    if isinstance(past, PastCalls):
        texts = [past.calls[0].name, *(call.output for call in past.calls)] if past.calls else [""]
    elif isinstance(past, Sent):
        texts = [past.text or next((str(called.get("name")) for called in past.functions), "")]
    else:
        texts = past.texts()
    return [text.strip().encode() for text in texts]


def _written(tokens: Sequence[str]) -> tuple[bytes, list[int]]:
    """Return the prompt's bytes, and where in them each token ends. Tokenizers write a token in one of three ways."""
    # Special tokens are no sign of it: DeepSeek's hold the space of SentencePiece among byte-level ones.
    said = "".join(token for token in tokens if not token.startswith("<"))
    if SENTENCE_PIECE_SPACE in said or " " in said or "\n" in said:
        pieces = [_piece(token) for token in tokens]
        return b"".join(pieces), list(accumulate(map(len, pieces)))
    # Byte-level: each character stands for one byte.
    joined = "".join(tokens)
    return joined.translate(BYTE_OF).encode("latin-1", "replace"), list(accumulate(map(len, tokens)))


def _piece(token: str) -> bytes:
    """Return the bytes of a token of SentencePiece, which writes those that it has no piece for as `<0x0A>`."""
    byte = BYTE_PIECE.fullmatch(token)
    return bytes.fromhex(byte[1]) if byte is not None else token.replace(SENTENCE_PIECE_SPACE, " ").encode()


def _byte_level_alphabet() -> dict[int, int]:
    """Return the byte of each character of GPT-2's alphabet, in which byte-level tokenizers write their tokens.

    Printable bytes stand for themselves, the others in turn for the characters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {0x100 + number: byte for number, byte in enumerate(others)}


BYTE_OF = _byte_level_alphabet()


def _divided(count: int, weights: Sequence[int]) -> list[int]:
    """Divide a number in proportion to weights, so that the parts add up to it."""
    total = sum(weights) or 1
    marks = [count * reached // total for reached in accumulate(weights)]
    marks[-1] = count
    return [mark - before for before, mark in zip([0, *marks], marks, strict=False)]

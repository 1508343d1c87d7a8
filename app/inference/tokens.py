"""How many tokens a text takes where nobody has counted it: the seeds' estimate, and a bound that holds."""

import re

CHARACTERS_PER_TOKEN = 4
"""Roughly: for what is reserved or charged where nobody counted."""
TOKENS_PER_WORD = 1.3
TOKENS_PER_MESSAGE = 4
MOST_TOKENS_PER_MESSAGE = 16
_WORDS = re.compile(r"\w+|[^\w\s]")


def estimate_tokens(text: str) -> int:
    """Estimate a text's tokens: words and signs × 1.3, and never fewer than an eighth of its characters."""
    words = len(_WORDS.findall(text))
    return max(int(words * TOKENS_PER_WORD + 0.999), len(text) // 8)


def estimate_message(text: str) -> int:
    """Estimate a message's tokens, its role and separators included."""
    return estimate_tokens(text) + TOKENS_PER_MESSAGE


def most_message(text: str) -> int:
    """Return more tokens than a message can take: no token is less than a byte."""
    return (len(text) if text.isascii() else len(text.encode())) + MOST_TOKENS_PER_MESSAGE

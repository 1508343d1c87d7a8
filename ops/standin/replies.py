"""What the stand-in says: fixed texts picked by the last user message, each marked as stand-in output.

Two messages are commands, for tests: `say exactly: TEXT` is answered with TEXT and nothing else, and
`repeat N words` with N words, which are N tokens. The same conversation always gets the same reply.
"""

import re
from collections.abc import Sequence
from itertools import cycle, islice

from ops.standin.wire import Message, read_text

MARK = "[stand-in]"

_SAY_EXACTLY = re.compile(r"\s*say exactly: ?(.*)", re.IGNORECASE | re.DOTALL)
_REPEAT = re.compile(r"\s*repeat (\d{1,7}) words?\b", re.IGNORECASE)
_REPEATED = ("buy", "hold", "sell", "wait")
_EXCERPT_CHARS = 80

_BY_KEYWORD = {
    "price": (
        "No market feed is connected here. As sample text: the last price shown is 101.25, up 0.4% on the "
        "day, between a low of 99.80 and a high of 102.10."
    ),
    "risk": (
        "Sample risk summary: exposure 42% of the limit, one-day value at risk 1.8% of equity at 95% "
        "confidence, no breach. Nothing was measured to write this."
    ),
    "volatility": (
        "Sample volatility note: 30-day realised volatility 18.2%, implied 21.5%, so options look dear by "
        "3.3 points. These figures are made up."
    ),
    "portfolio": (
        "Sample portfolio: 60% equities, 30% bonds, 10% cash; return this month 1.2%, largest position 7.5%. "
        "No account was read."
    ),
    "hello": (
        "Hello. I stand in for a language model during development; ask about a price, risk, volatility or a "
        "portfolio to see canned answers."
    ),
}


def compose_reply(messages: Sequence[Message]) -> str:
    """Write the text that answers a conversation."""
    asked = find_question(messages)
    commanded = obey_command(asked)
    if commanded is not None:
        return commanded
    if outputs := _quote_tool_outputs(messages):
        return f"{MARK} The tools answered: {outputs}."
    words = set(re.findall(r"\w+", asked.lower()))
    for keyword, text in _BY_KEYWORD.items():
        if keyword in words:
            return f"{MARK} {text}"
    return _reply_in_general(asked, len(messages))


def find_question(messages: Sequence[Message]) -> str:
    """Find the text of the last user message."""
    return next((read_text(message.content) for message in reversed(messages) if message.role == "user"), "")


def obey_command(asked: str) -> str | None:
    """Carry out `say exactly: TEXT` or `repeat N words`; anything else is no command."""
    if said := _SAY_EXACTLY.fullmatch(asked):
        return said[1]
    if repeat := _REPEAT.match(asked):
        return " ".join(islice(cycle(_REPEATED), int(repeat[1])))
    return None


def _quote_tool_outputs(messages: Sequence[Message]) -> str:
    """Quote the outputs that end the conversation, each with the name of the function it answers."""
    names = {call.id: call.function.name for message in messages for call in message.tool_calls or []}
    quotes: list[str] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        quotes.append(f'{names.get(message.tool_call_id or "", "tool")} returned "{read_text(message.content)}"')
    return "; ".join(reversed(quotes))


def _reply_in_general(asked: str, seen: int) -> str:
    excerpt = " ".join(asked.split())
    if len(excerpt) > _EXCERPT_CHARS:
        excerpt = f"{excerpt[:_EXCERPT_CHARS].rstrip()}…"
    context = "1 message" if seen == 1 else f"{seen} messages"
    return f'{MARK} You wrote: "{excerpt}". I saw {context} of context. A real model would answer here.'

"""What of a thread the model is shown: pure functions from stored messages to a prompt that fits."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from app.inference.tokens import estimate_message

RESERVED_FOR_ANSWER = 256


class PastMessage(Struct, frozen=True):
    """A stored message as the model sees it: a role, and text or parts of OpenAI's chat wire."""

    role: str
    content: str | list[dict[str, Any]]

    def tokens(self) -> int:
        """Estimate what it takes of the window. Pictures count nothing: their cost is the model's own."""
        if isinstance(self.content, str):
            return estimate_message(self.content)
        return estimate_message("\n".join(part.get("text", "") for part in self.content))


def build_prompt(instructions: str, history: Sequence[PastMessage], window: int | None) -> list[dict[str, Any]]:
    """Return the chat messages: instructions first, then what fits of the history, oldest first.

    What does not fit is dropped from the middle: the first exchange and the newest messages stay. The newest
    message is always kept; whether it fits is the model server's to say.
    """
    kept = list(history) if window is None else _fitting(instructions, history, window)
    system = [{"role": "system", "content": instructions}] if instructions else []
    return system + [{"role": message.role, "content": message.content} for message in kept]


def _fitting(instructions: str, history: Sequence[PastMessage], window: int) -> list[PastMessage]:
    costs = [message.tokens() for message in history]
    budget = window - RESERVED_FOR_ANSWER - estimate_message(instructions)
    if sum(costs) <= budget or len(history) <= 1:
        return list(history)
    head = 2 if len(history) > 3 and costs[0] + costs[1] + costs[-1] <= budget else 0
    left = budget - sum(costs[:head])
    tail: list[PastMessage] = []
    for message, cost in zip(reversed(history[head:]), reversed(costs[head:]), strict=True):
        if tail and cost > left:
            break
        left -= cost
        tail.append(message)
    return [*history[:head], *reversed(tail)]

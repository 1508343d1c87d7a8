"""What of a thread the model is shown: pure functions from stored messages to a prompt that fits."""

from collections.abc import Sequence
from typing import Any

from msgspec import DecodeError, Struct, json

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

    def chat(self) -> list[dict[str, Any]]:
        """Return it as messages of a chat completion."""
        return [{"role": self.role, "content": self.content}]


class PastCall(Struct, frozen=True):
    """A function call and its output."""

    id: str
    name: str
    arguments: str
    output: str


class PastCalls(Struct, frozen=True):
    """One round of tool calls with their outputs: shown whole or not at all."""

    calls: list[PastCall]

    def tokens(self) -> int:
        """Estimate what it takes of the window."""
        return sum(estimate_message(call.name + call.arguments) + estimate_message(call.output) for call in self.calls)

    def chat(self) -> list[dict[str, Any]]:
        """Return it as messages of a chat completion: the calls, then each output; nothing when there are none."""
        if not self.calls:
            return []
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": sound(call.arguments)}}
            for call in self.calls
        ]
        outputs = [{"role": "tool", "tool_call_id": call.id, "content": call.output} for call in self.calls]
        return [{"role": "assistant", "content": "", "tool_calls": calls}, *outputs]


Past = PastMessage | PastCalls


def sound(arguments: str) -> str:
    """Return arguments as model servers take them back: vLLM refuses what is not a JSON object."""
    try:
        if isinstance(json.decode(arguments), dict):
            return arguments
    except DecodeError:
        pass
    return json.encode({"malformed_arguments": arguments}).decode()


def build_prompt(instructions: str, history: Sequence[Past], window: int | None) -> list[dict[str, Any]]:
    """Return the chat messages: instructions first, then what fits of the history, oldest first.

    What does not fit is dropped from the middle: the first exchange and the newest messages stay. The newest
    message is always kept; whether it fits is the model server's to say.
    """
    kept = list(history) if window is None else _fitting(instructions, history, window)
    system = [{"role": "system", "content": instructions}] if instructions else []
    return system + [message for past in kept for message in past.chat()]


def _fitting(instructions: str, history: Sequence[Past], window: int) -> list[Past]:
    costs = [message.tokens() for message in history]
    budget = window - RESERVED_FOR_ANSWER - estimate_message(instructions)
    if sum(costs) <= budget or len(history) <= 1:
        return list(history)
    head = 2 if len(history) > 3 and costs[0] + costs[1] + costs[-1] <= budget else 0
    left = budget - sum(costs[:head])
    tail: list[Past] = []
    for message, cost in zip(reversed(history[head:]), reversed(costs[head:]), strict=True):
        if tail and cost > left:
            break
        left -= cost
        tail.append(message)
    return [*history[:head], *reversed(tail)]

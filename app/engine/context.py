"""What of a thread the model is shown: pure functions from stored messages, and what each takes, to what fits."""

from collections.abc import Sequence
from typing import Any

from msgspec import DecodeError, Struct, json

from app.inference.tokens import estimate_message, most_message


class PastMessage(Struct, frozen=True):
    """A stored message as the model sees it: a role, and text or parts of OpenAI's chat wire.

    `counted` is what it takes of the window, if the tokenizer of the model `counted_by` has said so.
    """

    role: str
    content: str | list[dict[str, Any]]
    id: str | None = None
    counted: int | None = None
    counted_by: str | None = None

    def texts(self) -> list[str]:
        """Return what of it is text. Pictures count nothing: their cost is the model's own."""
        return [self.content if isinstance(self.content, str) else "\n".join(map(_text_of, self.content))]

    def chat(self) -> list[dict[str, Any]]:
        """Return it as messages of a chat completion."""
        return [{"role": self.role, "content": self.content}]

    def text_only(self) -> list[dict[str, Any]]:
        """Return it as `chat` does, without its pictures: a tokenizer would have to fetch them."""
        return [{"role": self.role, "content": self.texts()[0]}]


def _text_of(part: dict[str, Any]) -> str:
    text: str = part.get("text") or ""
    return text


class PastCall(Struct, frozen=True):
    """A function call and its output."""

    id: str
    name: str
    arguments: str
    output: str


class PastCalls(Struct, frozen=True):
    """One round of tool calls with their outputs: shown whole or not at all."""

    calls: list[PastCall]

    def texts(self) -> list[str]:
        """Return the calls and the outputs."""
        return [text for call in self.calls for text in (call.name + call.arguments, call.output)]

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

    text_only = chat


class Called(Struct, frozen=True):
    """A function call whose output is an item of its own, if there is one yet."""

    id: str
    name: str
    arguments: str


class Answered(Struct, frozen=True):
    """The output of a call that is an item of its own."""

    id: str
    output: str


class Sent(Struct, frozen=True):
    """A message of a chat completion that its client sends beside a thread: always shown, and as it came.

    `id` names the thread's message that says just the same, if there is one.
    """

    message: dict[str, Any]
    id: str | None = None

    @property
    def role(self) -> str:
        """Return whose message it is."""
        return str(self.message.get("role"))

    @property
    def text(self) -> str:
        """Return what of its content is text."""
        content = self.message.get("content") or ""
        return content if isinstance(content, str) else "\n".join(map(_text_of, content))

    @property
    def functions(self) -> list[dict[str, Any]]:
        """Return the functions that it calls."""
        return [call["function"] for call in self.message.get("tool_calls") or () if call.get("function")]

    def texts(self) -> list[str]:
        """Return what of it is text, and the calls."""
        return [self.text, *(f"{called.get('name')}{called.get('arguments')}" for called in self.functions)]

    def chat(self) -> list[dict[str, Any]]:
        """Return it as it came."""
        return [self.message]

    def text_only(self) -> list[dict[str, Any]]:
        """Return it without its pictures."""
        return [self.message | {"content": self.text}] if isinstance(self.message.get("content"), list) else self.chat()


Past = PastMessage | PastCalls | Sent
Told = Past | Called | Answered
"""What a conversation holds, before calls and outputs are put together."""


def paired(told: Sequence[Told]) -> list[Past]:
    """Put each call together with its output; calls that follow each other are one round.

    A call without an output is left out, since models are at a loss with it; so is an output without a call.
    """
    outputs = {item.id: item.output for item in told if isinstance(item, Answered)}
    if not outputs:
        return [item for item in told if not isinstance(item, Called | Answered)]
    history: list[Past] = []
    called: list[PastCall] = []
    for item in told:
        if isinstance(item, Called):
            if item.id in outputs:
                called.append(PastCall(item.id, item.name, item.arguments, outputs[item.id]))
            continue
        if called:
            history.append(PastCalls(called))
            called = []
        if not isinstance(item, Answered):
            history.append(item)
    return [*history, PastCalls(called)] if called else history


def sound(arguments: str) -> str:
    """Return arguments as model servers take them back: vLLM refuses what is not a JSON object."""
    try:
        if isinstance(json.decode(arguments), dict):
            return arguments
    except DecodeError:
        pass
    return json.encode({"malformed_arguments": arguments}).decode()


def estimated(past: Past) -> int:
    """Estimate what an item takes of the window."""
    return sum(map(estimate_message, past.texts()))


def known(past: Past, model: str) -> int | None:
    """Return what an item takes of the window of `model`, None when that was never counted."""
    return past.counted if isinstance(past, PastMessage) and past.counted_by == model else None


def most(past: Past, model: str) -> int:
    """Return more tokens than an item can take of the window."""
    counted = known(past, model)
    return sum(map(most_message, past.texts())) if counted is None else counted


def opening(instructions: str) -> list[dict[str, Any]]:
    """Return instructions as the first message of a chat completion; nothing when there are none."""
    return [{"role": "system", "content": instructions}] if instructions else []


def pinned(history: Sequence[Past]) -> set[int]:
    """Return which items are always shown: what is sent now, the newest, and the newest of a user's."""
    users = [at for at, past in enumerate(history) if not isinstance(past, PastCalls) and past.role == "user"]
    sent = (at for at, past in enumerate(history) if isinstance(past, Sent))
    return {len(history) - 1, *users[-1:], *sent} if history else set()


def first_exchange(history: Sequence[Past]) -> range:
    """Return which items are the first exchange: all through the first answer, with the calls that led to it."""
    for at, past in enumerate(history):
        if isinstance(past, PastMessage) and past.role == "assistant":
            return range(at + 1)
    return range(min(1, len(history)))


def choose(history: Sequence[Past], costs: Sequence[int], room: int) -> list[int]:
    """Return which items fit into `room` tokens, oldest first; what does not is dropped from the middle.

    Kept in this order: what is pinned, whether it fits or not; the first exchange; the newest of the rest, without
    a gap.
    """
    if sum(costs) <= room:
        return list(range(len(history)))
    kept = pinned(history)
    left = room - sum(costs[at] for at in kept)
    first = [at for at in first_exchange(history) if at not in kept]
    price = sum(costs[at] for at in first)
    if price <= left:
        kept.update(first)
        left -= price
    for at in reversed(range(len(history))):
        if at not in kept:
            left -= costs[at]
            if left < 0:
                break
            kept.add(at)
    return sorted(kept)

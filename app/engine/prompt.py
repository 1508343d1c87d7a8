"""What a model call is shown, counted exactly when it comes close to the limit, in one request to the tokenizer.

A bound that needs no tokenizer says when everything fits for sure, which is nearly always. Otherwise the model server
counts the prompt as its chat template writes it, and what each message takes of it is kept with the message.
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

from msgspec import Struct, json

from app.engine.context import (
    Past,
    PastCalls,
    Sent,
    Told,
    choose,
    estimated,
    known,
    most,
    opening,
    paired,
    pinned,
)
from app.engine.counting import proportional, shares
from app.engine.turn import TurnSpec
from app.inference.chunks import PromptTokens
from app.inference.client import ChatModel
from app.inference.failures import PromptTooLong
from app.inference.tokens import estimate_message, most_message
from app.telemetry import metrics

LEAST_ANSWER = 256
"""Tokens of the window kept free for an answer whose length nobody limited."""
MOST_OF_TEMPLATE = 128
HEADS_KEPT = 256
WELL_FILLED = 0.9
"""No count is asked for while messages that were counted fill this much of the room."""
TOOL_WRITTEN_LARGER = 3
"""How many times larger than compact JSON a template writes a tool, at most: it may indent it."""


Keep = Callable[[str, dict[str, int]], None]
"""Has what messages take of a model's window remembered, without waiting for it."""


class Conversation(Protocol):
    """Where a thread's past comes from and what it takes is kept."""

    async def history(self, thread_id: str, count: int, until: int | None = None) -> list[Told]:
        """Return the newest `count` messages of a thread, up to a position, with what is among them, oldest first."""
        ...

    async def remember(self, model: str, counts: dict[str, int]) -> None:
        """Keep how many tokens of `model` messages take, by their ids."""
        ...


class Upstream(Struct, frozen=True):
    """Where a model's name leads: a server, the name it knows, and its context window in tokens."""

    model: ChatModel
    name: str
    window: int | None


class Room(Struct, frozen=True):
    """How many tokens a prompt may take: of the window, of which an answer needs its part, and of the run's budget."""

    window: int | None
    answer: int | None
    budget: int | None

    @property
    def aim(self) -> int | None:
        """Return what is filled with history."""
        beside = None
        if self.window is not None:
            beside = self.window - min(max(LEAST_ANSWER, self.answer or 0), self.window // 4)
        return min((limit for limit in (beside, self.budget) if limit is not None), default=None)


WHOLE = 10_000
"""So many messages are shown at most where nothing may be left out."""


class BudgetTooSmall(Exception):
    """Not even the newest message fits into what is left of `max_prompt_tokens`."""


class Prompt(Struct, frozen=True):
    """Messages of a chat completion, how much of the past they show, what they take of the window if that was counted,
    whether they can be fewer.
    """

    messages: list[dict[str, Any]]
    shown: int
    tokens: int | None = None
    can_shrink: bool = False


class Frame(Struct, frozen=True, kw_only=True):
    """What a thread's past is shown in: what stands before it, the tools, and what is said to it now.

    `last_messages` is how many messages are shown at most, those of the thread that `new` repeats included. `until` is
    the newest position of the thread that counts; `said` comes after it, as if it were in it. `whole`: nothing is left
    out.
    """

    thread_id: str
    opening: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    last_messages: int | None = None
    new: Sequence[Sent] = ()
    until: int | None = None
    said: Sequence[Told] = ()
    whole: bool = False

    @property
    def instructions(self) -> list[str]:
        """Return the texts of the opening; one at least, since a template may bring its own."""
        return [Sent(message).text for message in self.opening] or [""]


class Prompter:
    """Makes prompts of a thread's past."""

    def __init__(self, conversation: Conversation, context_messages: int, keep: Keep) -> None:
        self._conversation = conversation
        self._context_messages = context_messages
        self._keep = keep
        self._heads: dict[bytes, int] = {}

    async def prompt(self, spec: TurnSpec, upstream: Upstream, room: Room, *, refused: int = 0) -> Prompt:
        """Return what the model is shown in a run (see `fitted`)."""
        frame = Frame(
            thread_id=spec.thread_id,
            opening=opening(spec.instructions),
            tools=spec.tools,
            last_messages=spec.last_messages,
            until=spec.until,
            said=spec.said,
            whole=spec.whole_context,
        )
        return await self.fitted(frame, upstream, room, refused=refused)

    async def fitted(self, frame: Frame, upstream: Upstream, room: Room, *, refused: int = 0) -> Prompt:
        """Return what of a thread fits into its frame.

        `refused` tells how often the server has found it too long: then no bound and no stated window is trusted, and
        an estimate half as far each time. Raises BudgetTooSmall, PromptTooLong.
        """
        history = _with_new(await self._past(frame), frame.new)
        prompt = await self._fitted(frame, upstream, room, history, refused)
        if frame.whole and len(prompt.messages) < len(_chat(frame, history)):
            raise PromptTooLong("The input exceeds the model's context window.")
        if prompt.shown < len(history):
            metrics.TRUNCATIONS.inc()
        return prompt

    async def _fitted(self, frame: Frame, upstream: Upstream, room: Room, history: list[Past], refused: int) -> Prompt:
        if not refused:
            shown = self._sure(frame, upstream, room, history)
            if shown is not None:
                return _made(frame, shown, history)
        head = _head_estimate(frame)
        limit = room.aim if room.aim is not None else head + sum(map(estimated, history))
        likely = history if frame.whole else _chosen(history, [_least(past, upstream.name) for past in history], limit)
        counted = await upstream.model.tokenize(
            upstream.name, _chat(frame, likely, text_only=True), frame.tools or None
        )
        if counted is None and frame.whole:
            return _made(frame, history, history)
        if counted is None:
            return _made(frame, _chosen(likely, list(map(estimated, likely)), (limit >> refused) - head), likely)
        return await self._counted(frame, upstream, room, likely, counted, limit >> max(0, refused - 1))

    async def _past(self, frame: Frame) -> list[Past]:
        """Return a thread's past. Raises PromptTooLong when all of it is wanted and it is longer than we ever read."""
        count = WHOLE + 1 if frame.whole else frame.last_messages or self._context_messages
        is_read = frame.thread_id and frame.until != 0
        told = await self._conversation.history(frame.thread_id, count, frame.until) if is_read else []
        past = paired([*told, *frame.said])
        if frame.whole and len(past) > WHOLE:
            raise PromptTooLong(f"The conversation has more than {WHOLE} messages. Ask for truncation, or for less.")
        return past

    def _sure(self, frame: Frame, upstream: Upstream, room: Room, history: list[Past]) -> Sequence[Past] | None:
        """Return what fits without a count of it; None when a count would let clearly more of the thread be shown."""
        if room.aim is None:
            return history
        costs = [most(past, upstream.name) for past in history]
        if _most_head(frame) + sum(costs) <= room.aim:
            return history
        head = self._heads.get(_head_of(frame, upstream))
        if head is None:
            return None
        kept = choose(history, costs, room.aim - head)
        filled = sum(known(history[at], upstream.name) or 0 for at in kept)
        fits = head + sum(costs[at] for at in kept) <= room.aim
        return [history[at] for at in kept] if fits and filled >= (room.aim - head) * WELL_FILLED else None

    async def _counted(
        self, frame: Frame, upstream: Upstream, room: Room, history: list[Past], counted: PromptTokens, limit: int
    ) -> Prompt:
        head, *costs = await asyncio.to_thread(_shares, frame, history, counted)
        if counted.token_strs is not None:
            self._remember(upstream.name, history, costs)
            self._heads[_head_of(frame, upstream)] = head
            while len(self._heads) > HEADS_KEPT:
                del self._heads[next(iter(self._heads))]
        kept = choose(history, costs, limit - head)
        tokens = head + sum(costs[at] for at in kept)
        if room.budget is not None and tokens > room.budget:
            raise BudgetTooSmall
        if room.window is not None and tokens >= room.window:
            raise PromptTooLong(
                f"The newest message and the instructions take {tokens} tokens; the model's context window is "
                f"{room.window}, and an answer needs some of it."
            )
        return _made(frame, [history[at] for at in kept], history, tokens)

    def _remember(self, model: str, history: Sequence[Past], costs: Sequence[int]) -> None:
        new = {
            past.id: cost
            for past, cost in zip(history, costs, strict=True)
            if not isinstance(past, PastCalls) and past.id is not None and known(past, model) is None
        }
        if new:
            self._keep(model, new)


def _with_new(history: list[Past], new: Sequence[Sent]) -> list[Past]:
    """Return a thread's past with what is sent now in the place of those of its messages that say the same."""
    repeated = {sent.id for sent in new if sent.id is not None}
    return [past for past in history if isinstance(past, PastCalls) or past.id not in repeated] + [*new]


def _made(frame: Frame, shown: Sequence[Past], history: Sequence[Past], tokens: int | None = None) -> Prompt:
    return Prompt(
        _chat(frame, shown), len(shown), tokens, can_shrink=not frame.whole and len(shown) > len(pinned(history))
    )


def _chat(frame: Frame, history: Sequence[Past], *, text_only: bool = False) -> list[dict[str, Any]]:
    said = (past.text_only() if text_only else past.chat() for past in history)
    return frame.opening + [message for messages in said for message in messages]


def _chosen(history: Sequence[Past], costs: Sequence[int], room: int) -> list[Past]:
    return [history[at] for at in choose(history, costs, room)]


def _shares(frame: Frame, history: Sequence[Past], counted: PromptTokens) -> list[int]:
    head = _head_estimate(frame)
    if counted.token_strs is None:
        return proportional(counted.count, head, history)
    return shares(counted.token_strs, head, history)


def _least(past: Past, model: str) -> int:
    """Return what an item takes, rather too little than too much: nothing that may fit is left out of the count."""
    counted = known(past, model)
    return estimated(past) * 2 // 3 if counted is None else counted


def _head_of(frame: Frame, upstream: Upstream) -> bytes:
    """Return a name for what stands before the messages."""
    parts = json.encode((upstream.name, frame.opening, frame.tools or None))
    return blake2b(parts, digest_size=16).digest()


def _most_head(frame: Frame) -> int:
    tools = most_message(_tools(frame)) * TOOL_WRITTEN_LARGER if frame.tools else 0
    return MOST_OF_TEMPLATE + sum(map(most_message, frame.instructions)) + tools


def _head_estimate(frame: Frame) -> int:
    tools = estimate_message(_tools(frame)) if frame.tools else 0
    return sum(map(estimate_message, frame.instructions)) + tools


def _tools(frame: Frame) -> str:
    return json.encode(frame.tools).decode() if frame.tools else ""

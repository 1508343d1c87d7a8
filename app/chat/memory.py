"""Chats with the memory of a thread: what was said goes before what is said now, and is kept with the answer.

A chat holds its thread from `begin` until it is ended, as a run does. It ends in one of three ways: its answer is whole
(`finish`), its answer was cut short (`give_up`), or it was answered with an error, and then the thread is as it was
before (`take_back`): a client that tries again says nothing twice.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.chat.hold import Ending, Hold, Works
from app.chat.said import divided
from app.db.database import Database
from app.db.locks import release_chats
from app.engine.events import MessageCut
from app.engine.prompt import Conversation, Frame, Prompt, Prompter, Room, Upstream
from app.errors import ApiError
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.ids import new_completion_id
from app.kit.tasks import TaskOwner

log = logging.getLogger(__name__)

PROMPT_TRIES = 3
CUTS: dict[str | None, MessageCut] = {"length": "max_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by its finish reason; with any other it is whole."""

Fit = Callable[[Upstream, int], Awaitable[Prompt]]
"""Makes a prompt for a server, given how often prompts of this chat were found too long."""


class ChatTurn:
    """One chat with a thread. Whoever began it ends it, in one of the three ways; what follows an end does nothing.

    `messages` are what the model is to be shown. An end that has begun is carried out though its caller is cancelled.
    """

    def __init__(self, hold: Hold, fit: Fit, upstream: Upstream, prompt: Prompt) -> None:
        self.id = hold.chat_id
        self.messages = prompt.messages
        self._hold = hold
        self._fit = fit
        self._upstream = upstream
        self._can_shrink = prompt.can_shrink
        self._refused = 0

    async def show(self, upstream: Upstream) -> None:
        """Make `messages` what this server is to be shown, if another model or window is behind it than before.

        Raises ModelFailure, as `ChatMemory.begin` does.
        """
        before, self._upstream = self._upstream, upstream
        if (upstream.name, upstream.window) != (before.name, before.window):
            await self._refit()

    async def shrink(self) -> bool:
        """Make `messages` fewer, since the server found them too long; False when they cannot be.

        Raises ModelFailure, as `ChatMemory.begin` does.
        """
        self._refused += 1
        if not self._can_shrink or self._refused >= PROMPT_TRIES:
            return False
        await self._refit()
        return True

    async def _refit(self) -> None:
        prompt = await self._fit(self._upstream, self._refused)
        self.messages, self._can_shrink = prompt.messages, prompt.can_shrink

    async def finish(self, text: str, finish_reason: str | None) -> None:
        """Keep the answer. One without text, such as a call of tools, is not kept.

        Raises Unavailable when it could not be kept: then the chat has not ended.
        """
        await self._hold.end(lambda thread, at: thread.end(text, CUTS.get(finish_reason), at))

    async def give_up(self, text: str, reason: MessageCut) -> None:
        """Keep what there is of an answer, as an incomplete message; nothing is kept of nothing."""
        await let_go(self._hold, lambda thread, at: thread.end(text, reason, at))

    async def take_back(self) -> None:
        """Remove what was said, since the client is told that it was not."""
        await let_go(self._hold, lambda thread, at: thread.undo(self._hold.kept, at))


class ChatMemory:
    """Begins chats with threads. `context_messages` is how many messages one is shown at most, those it adds included.

    `release_left` is called at the start, where no other process works on the store; `close` before that is closed.
    """

    def __init__(self, database: Database, clock: Clock, *, conversation: Conversation, context_messages: int) -> None:
        self._database = database
        self._clock = clock
        self._conversation = conversation
        self._works = Works()
        self._counts = TaskOwner()
        self._prompter = Prompter(conversation, context_messages, self._keep_counts)

    async def begin(
        self,
        caller: Caller,
        thread_id: str,
        messages: Sequence[dict[str, Any]],
        upstream: Upstream,
        *,
        answer_tokens: int | None = None,
        tools: list[dict[str, Any]] | None = None,
        chat_id: str | None = None,
    ) -> ChatTurn:
        """Take a thread, keep what is said now, and return the chat with what the model is to be shown.

        `answer_tokens` is how long the answer may be, None when nobody said.
        Raises NotFound for the thread, InvalidRequest when a run or another chat holds it and for messages that a
        thread cannot keep, and ModelFailure, of which PromptTooLong says that what is sent does not fit. Then, and
        when this is cancelled, the thread is free and as it was.
        """
        said = divided(messages)
        hold = Hold(self._database, self._clock, self._works, caller, thread_id, chat_id or new_completion_id())
        try:
            ids = await hold.take(list(said.kept.values()))
            frame = Frame(thread_id=thread_id, opening=said.opening, tools=tools, new=said.sent(ids))

            async def fit(upstream: Upstream, refused: int) -> Prompt:
                room = Room(window=upstream.window, answer=answer_tokens, budget=None)
                return await self._prompter.fitted(frame, upstream, room, refused=refused)

            return ChatTurn(hold, fit, upstream, await fit(upstream, 0))
        except BaseException:
            await let_go(hold, lambda thread, at: thread.undo(hold.kept, at))
            raise

    async def release_left(self) -> int:
        """Free the threads that a killed process held; return how many."""
        return await self._database.write(release_chats)

    async def close(self) -> None:
        """Wait for the chats that are ending."""
        await self._works.close()
        await self._counts.close()

    def _keep_counts(self, model: str, counts: dict[str, int]) -> None:
        self._counts.start(self._conversation.remember(model, counts), name="keep token counts")


async def let_go(hold: Hold, ending: Ending) -> None:
    """End a chat that failed already: that its end fails too is logged. Its thread is free once the lock lapses."""
    try:
        await hold.end(ending)
    except ApiError:
        log.warning("a chat could not let its thread go", extra={"chat_id": hold.chat_id})

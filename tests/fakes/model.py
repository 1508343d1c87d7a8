"""A ChatModel that follows a script: it yields given chunks, waits for events, raises given failures. No HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.engine.prompt import Upstream
from app.inference.chunks import Choice, Chunk, Delta, PromptTokens, Usage
from app.inference.client import ChatModel, ChatRequest, ChunkBatches

Tokenizer = Callable[[list[dict[str, Any]]], list[str]]
Line = Chunk | Sequence[Chunk] | asyncio.Event | float | BaseException
"""A chunk or a batch of them to yield, an event or a number of seconds to wait for, or a failure to raise."""


def text(*pieces: str) -> Chunk | list[Chunk]:
    """Return a chunk of text, or a batch of them."""
    chunks = [Chunk(choices=[Choice(delta=Delta(content=piece))]) for piece in pieces]
    return chunks if len(chunks) != 1 else chunks[0]


def finish(reason: str = "stop") -> Chunk:
    """Return the chunk that says why the model stopped."""
    return Chunk(choices=[Choice(finish_reason=reason)])


def usage(prompt_tokens: int = 7, completion_tokens: int | None = 2) -> Chunk:
    """Return the chunk that counts tokens."""
    total = prompt_tokens + (completion_tokens or 0)
    return Chunk(usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total))


def answer(*pieces: str) -> list[Line]:
    """Return the script of a plain answer, each piece in a batch of its own."""
    return [*map(text, pieces), finish(), usage(completion_tokens=len(pieces))]


class ScriptedModel:
    """Follows one script a request; the last one serves all that follow.

    `refusals` are raised instead of accepting a request. `requests` holds what was asked, `counted` what was to be
    tokenized, `open` how many streams are, `most_open` how many ever were at once.
    """

    def __init__(
        self, *scripts: Sequence[Line], refusals: Sequence[BaseException] = (), tokenizer: Tokenizer | None = None
    ) -> None:
        self._scripts = list(scripts)
        self._refusals = list(refusals)
        self._tokenizer = tokenizer
        self.counted: list[list[dict[str, Any]]] = []
        self.requests: list[ChatRequest] = []
        self.open = 0
        self.most_open = 0
        self.begun = asyncio.Event()

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChunkBatches, None]:
        """Answer as the script says."""
        self.requests.append(request)
        if self._refusals:
            raise self._refusals.pop(0)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.begun.set()
        batches = _follow(script)
        try:
            yield batches
        finally:
            self.open -= 1
            await batches.aclose()

    async def tokenize(
        self, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> PromptTokens | None:
        """Count with the tokenizer that was given; without one, as a server that has none."""
        del model, tools
        self.counted.append(messages)
        if self._tokenizer is None:
            return None
        tokens = self._tokenizer(messages)
        return PromptTokens(count=len(tokens), token_strs=tokens)


def word_tokens(messages: list[dict[str, Any]]) -> list[str]:
    """Tokenize as a template with a mark on each side of a message would, a token for each word."""
    tokens = ["<begin>"]
    for message in messages:
        tokens += [f"<{message['role']}>", *(f"\u2581{word}" for word in message["content"].split()), "<end>"]
    return [*tokens, "<assistant>"]


async def _follow(script: Sequence[Line]) -> AsyncGenerator[Sequence[Chunk], None]:
    for line in script:
        match line:
            case Chunk():
                yield [line]
            case asyncio.Event():
                await line.wait()
            case float() | int():
                await asyncio.sleep(line)
            case BaseException():
                raise line
            case _:
                yield line


class OneModel:
    """Resolves every name to one model: the executor's Models."""

    def __init__(self, model: ChatModel, *, window: int | None = None) -> None:
        self._model = model
        self._window = window
        self.asked: list[str] = []

    async def upstream(self, name: str) -> Upstream:
        """Resolve a name; its server knows it by the same one."""
        self.asked.append(name)
        return Upstream(self._model, name, self._window)

"""How these tests ask a model: one request, and what its stream said until it ended or broke."""

from app.inference.chunks import Chunk
from app.inference.client import ChatRequest, ModelClient
from app.inference.failures import ModelFailure
from tests.fakes.model_wire import MODEL, SECRET

REQUEST = ChatRequest(model=MODEL, messages=[{"role": "user", "content": SECRET}])


def said(chunks: list[Chunk]) -> str:
    """Return the text of chunks."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def ask(client: ModelClient, request: ChatRequest = REQUEST) -> list[Chunk]:
    """Read a stream to its end."""
    async with client.stream(request) as batches:
        return [chunk async for batch in batches for chunk in batch]


async def ask_in_vain(client: ModelClient) -> tuple[str, ModelFailure]:
    """Read a stream until it breaks; return what was said until then, and the failure."""
    chunks: list[Chunk] = []
    try:
        async with client.stream(REQUEST) as batches:
            async for batch in batches:
                chunks += batch
    except ModelFailure as failure:
        return said(chunks), failure
    raise AssertionError("the stream ended well")

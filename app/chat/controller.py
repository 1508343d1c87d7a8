"""/v1/chat/completions, /v1/completions and /v1/embeddings."""

from typing import Any

from litestar import Controller, Response, post
from litestar.app import Litestar
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response.base import ASGIResponse

from app.chat.relay import Relay
from app.chat.schemas import (
    ChatCompletion,
    Completion,
    CreateChatCompletion,
    CreateCompletion,
    CreateEmbedding,
    Embeddings,
    Relayed,
)
from app.chat.service import ChatService
from app.web.bodies import ApiRequest, WireBody
from app.web.events import EventStream


class ChatController(Controller):
    """Chat completions, completions and embeddings: relayed to the model server as they are."""

    path = "/v1"
    tags = ("Chat",)

    @post(
        "/chat/completions",
        dto=WireBody[CreateChatCompletion],
        status_code=200,
        operation_id="createChatCompletion",
    )
    async def chat(
        self,
        request: ApiRequest,
        chat: NamedDependency[ChatService],
        data: JSONBody[CreateChatCompletion],
    ) -> Response[ChatCompletion] | EventStream:
        """Answer a chat. With `stream` the answer is an event stream. Every field is passed on to the model server."""
        return Answer(await _relayed(request, chat, "/chat/completions", data))

    @post("/completions", dto=WireBody[CreateCompletion], status_code=200, operation_id="createCompletion")
    async def complete(
        self,
        request: ApiRequest,
        chat: NamedDependency[ChatService],
        data: JSONBody[CreateCompletion],
    ) -> Response[Completion] | EventStream:
        """Complete a text. With `stream` the answer is an event stream."""
        return Answer(await _relayed(request, chat, "/completions", data))

    @post("/embeddings", dto=WireBody[CreateEmbedding], status_code=200, operation_id="createEmbedding")
    async def embed(
        self,
        request: ApiRequest,
        chat: NamedDependency[ChatService],
        data: JSONBody[CreateEmbedding],
    ) -> Response[Embeddings]:
        """Return embeddings, as numbers or as base64."""
        return Answer(await _relayed(request, chat, "/embeddings", data))


async def _relayed(request: ApiRequest, chat: ChatService, path: str, data: Relayed) -> Relay:
    body, deployment = await request.body(), request.deployment
    return await chat.relay(request.caller, request.allowance, path, data, body, deployment=deployment)


class Answer(Response[Any]):
    """A relay where the framework expects a response."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(None)
        self._relay = relay

    def to_asgi_response(self, app: "Litestar | None", request: Any, **_: Any) -> ASGIResponse:
        """Return what answers the request itself."""
        # The framework only calls it, as it would call any ASGI application, and looks at nothing else of it.
        return self._relay  # type: ignore[return-value]

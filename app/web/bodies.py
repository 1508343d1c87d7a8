"""Decodes request bodies straight from bytes into Structs; every refusal has OpenAI's text, param and code."""

from collections.abc import Generator
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.exceptions import InternalServerException
from litestar.typing import FieldDefinition

from app.errors import InvalidRequest, UnsupportedMediaType
from app.kit.caller import Caller
from app.limits.allowance import Allowance
from app.web.depth import require_shallow
from app.web.refusals import NO_HINTS, refusal

T = TypeVar("T")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
)


class ApiRequest(Request[Any, Any, Any]):
    """A request whose empty body is an empty object, as the original took it, and who asks."""

    @property
    def caller(self) -> Caller:
        """Who asks, as the edge found."""
        caller: Caller = self.scope["state"]["caller"]
        return caller

    @property
    def deployment(self) -> str | None:
        """The model that an Azure client names in its path."""
        deployment: str | None = self.scope["state"].get("deployment")
        return deployment

    @property
    def allowance(self) -> Allowance:
        """What of its limits the request may ask for."""
        allowance: Allowance = self.scope["state"]["allowance"]
        return allowance

    async def body(self) -> bytes:
        """Return the whole body. Raises InvalidRequest when the client goes away before it is there."""
        try:
            return await super().body() or b"{}"
        except InternalServerException:  # the framework takes that for a fault of the server
            raise InvalidRequest("The client went away before its request was there.") from None


def decode_body(kind: type[T], body: bytes) -> T:
    """Decode JSON bytes. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise refusal(str(error), _untyped(body), getattr(kind, "HINTS", NO_HINTS)) from None
    except UNREADABLE:
        raise InvalidRequest(NOT_JSON) from None


def _untyped(body: bytes) -> Any:
    """Decode a body whose first fault was a wrong value: behind that fault it may not even be JSON."""
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        raise InvalidRequest(NOT_JSON) from None


def require_json(content_type: str | None) -> None:
    """Refuse a body that says it is something else. One that says nothing is taken for JSON."""
    media_type = (content_type or "").split(";", 1)[0].strip().lower()
    if media_type not in ("", "application/json") and not media_type.endswith("+json"):
        raise UnsupportedMediaType(
            f"Unsupported content type: '{media_type}'. This API method only accepts 'application/json' requests, "
            f"but you specified the header 'Content-Type: {content_type}'. Please try again with a supported "
            "content type.",
            code="unsupported_content_type",
        )


class WireBody(AbstractDTO[T]):
    """`dto=WireBody[CreateThread]` makes a handler's `data: CreateThread` come from decode_body."""

    def decode_bytes(self, value: bytes) -> Any:
        """Decode the body of the request at hand."""
        require_json(self.asgi_connection.headers.get("content-type"))
        require_shallow(value, self.asgi_connection.app.state.json_depth_limit)
        return decode_body(self.model_type, value)

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Nothing to prepare: there is no transfer model between the wire and the Struct."""

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """Unused: fields are the Struct's own."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Unused, as above."""
        return False

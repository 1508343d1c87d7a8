"""How the checker sees raw responses of httpx, httpx2 and Litestar's clients; its finds raise in the test.

Reads each body to its end, so it is for answers that are not timed; streams as they come are transport.py's.
"""

from typing import Any, Protocol, TypeVar

from .checker import Checker


class RawResponse(Protocol):
    """What those clients answer with."""

    @property
    def request(self) -> Any: ...
    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def content(self) -> bytes: ...


class RawClient(Protocol):
    """A client whose every response passes its hooks."""

    event_hooks: dict[str, list[Any]]


Response = TypeVar("Response", bound=RawResponse)
Client = TypeVar("Client", bound=RawClient)


def checked(checker: Checker, response: Response) -> Response:
    """Check a response that was read to its end, and give it back."""
    request = response.request
    checker.check_response(request.method, str(request.url), response.status_code, response.headers, response.content)
    return response


def watched(checker: Checker, client: Client) -> Client:
    """Have every response of a client checked from now on, and give the client back."""

    def read_and_check(response: Any) -> None:
        response.read()
        checked(checker, response)

    async def aread_and_check(response: Any) -> None:
        await response.aread()
        checked(checker, response)

    hook = aread_and_check if hasattr(client, "aclose") else read_and_check
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks.get("response", []), hook]}
    return client

"""What lets one program use either kind of the SDK's clients: an outcome is awaited where there is something to await.

Imports the SDK and the standard library only, as the program itself.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

import openai


class Noting:
    """Passes everything on to a client, and notes which of its methods were reached."""

    def __init__(self, target: Any, called: set[str], path: str = "") -> None:
        self._target, self._called, self._path = target, called, path

    def __getattr__(self, name: str) -> Any:
        """Hand out a method, or a resource that notes on."""
        value, path = getattr(self._target, name), f"{self._path}.{name}".lstrip(".")
        if not inspect.isroutine(value):
            return Noting(value, self._called, path)
        self._called.add(path)
        return value


async def settled(outcome: Any) -> Any:
    """Wait for what an asynchronous client gives; a synchronous one has waited already."""
    return await outcome if inspect.isawaitable(outcome) else outcome


async def each(items: Any) -> AsyncIterator[Any]:
    """Iterate over what either kind of client gives."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


@asynccontextmanager
async def opened(manager: Any) -> AsyncIterator[Any]:
    """Enter what either kind of client gives."""
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside


def shown(answer: Any) -> Any:
    """Make an answer of the SDK printable."""
    return answer.model_dump(mode="json")


def words(message: Any) -> str:
    """Return a message's text."""
    return "".join(part.text.value for part in message.content)


async def refused(call: Callable[[], Any]) -> dict[str, Any]:
    """Make a call that the server must refuse; return what the SDK's error tells."""
    try:
        answer = await settled(call())
    except openai.APIStatusError as error:
        fields = {name: getattr(error, name) for name in ("status_code", "code", "param", "type", "body", "request_id")}
        return {"class": type(error).__name__, **fields}
    raise AssertionError(f"not refused: {answer!r}")


def offered(client: Any, resources: Iterable[str]) -> set[str]:
    """List every method that the SDK has for these resources."""
    found = set()
    for path in resources:
        resource = attrgetter(path)(client)
        names = (name for name in dir(type(resource)) if not name.startswith(("_", "with_")))
        found |= {f"{path}.{name}" for name in names if inspect.isfunction(getattr(type(resource), name))}
    return found

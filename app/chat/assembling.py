"""Assembles the chunks of a streamed chat completion into the answer that the request would have got unstreamed. Pure.

Only what is not to be joined goes by its name: texts are joined, lists are extended, what has an `index` is told apart
by it, and a later number replaces an earlier one. So fields that a model server adds come through without being known.
"""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

OF_THE_STREAM = frozenset({"object", "choices", "usage", "obfuscation"})
WHOLE = frozenset({"role", "id", "type", "name", "finish_reason", "stop_reason"})
"""Texts that never come in pieces: some servers say them in every chunk."""
INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "reasoning", "audio")


class _Text(list[str]):
    """The pieces of a text, joined once at the end: joining each as it comes would cost their number squared."""


class _Numbered(dict[int, Json]):
    """What is told apart by `index`, in whatever order its pieces come."""


class Assembling:
    """Takes chunks in, decoded, and has the completion once each of its choices has ended."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._usage: Any = None
        self._choices = _Numbered()

    def feed(self, chunk: Mapping[str, Any]) -> None:
        """Take in the next chunk. Of fields beside the choices the first that is not null stays, the last usage."""
        for name, value in chunk.items():
            if name not in OF_THE_STREAM and self._head.get(name) is None:
                self._head[name] = value
        self._usage = chunk.get("usage") or self._usage
        _number(self._choices, chunk.get("choices") or [])

    def completion(self) -> Json | None:
        """Return the `chat.completion`; None while a choice that began has not ended, and if none began.

        That more choices were to come only the end of the stream can rule out.
        """
        if not self._choices or any(choice.get("finish_reason") is None for choice in self._choices.values()):
            return None
        choices = [_choice(number, self._choices[number]) for number in sorted(self._choices)]
        told = {} if self._usage is None else {"usage": self._usage}
        return {**self._head, "object": "chat.completion", "choices": choices, **told}


def _choice(number: int, pieces: Json) -> Json:
    fields: Json = _whole(pieces)
    message = {"role": "assistant", "content": None, "refusal": None, **(fields.pop("delta", None) or {})}
    # A stream opens with an empty text before it is known that none will come.
    if not message["content"] and any(message.get(name) for name in INSTEAD_OF_CONTENT):
        message["content"] = None
    return {"index": number, "message": message, "logprobs": None, **fields}


def _add(into: Json, piece: Json) -> None:
    for name, value in piece.items():
        into[name] = _joined(name, into.get(name), value)


def _joined(name: str, known: Any, value: Any) -> Any:
    match value:
        case None:
            return known
        case str() if name in WHOLE:
            return known or value
        case str():
            text = known if isinstance(known, _Text) else _Text()
            text.append(value)
            return text
        case dict():
            part = known if isinstance(known, dict) else {}
            _add(part, value)
            return part
        case list():
            return _extended(known, value)
        case _:
            return value


def _extended(known: Any, values: list[Any]) -> Any:
    if isinstance(known, _Numbered) or any(isinstance(value, dict) and "index" in value for value in values):
        numbered = known if isinstance(known, _Numbered) else _Numbered()
        _number(numbered, values)
        return numbered
    items: list[Any] = known if isinstance(known, list) else []
    items.extend(values)
    return items


def _number(into: _Numbered, values: list[Any]) -> None:
    for value in values:
        if isinstance(value, dict):
            number = value.get("index")
            _add(into.setdefault(number if isinstance(number, int) else 0, {}), value)


def _whole(value: Any) -> Any:
    """Return what was collected as plain JSON. The numbers of parts are the stream's alone."""
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, _Numbered):
        parts = (_whole(value[number]) for number in sorted(value))
        return [{name: held for name, held in part.items() if name != "index"} for part in parts]
    if isinstance(value, dict):
        return {name: _whole(held) for name, held in value.items()}
    return value

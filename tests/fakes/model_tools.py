"""Behaviours for the scripted model server that call functions, piece by piece as vLLM sends them."""

import asyncio
from typing import Any

from tests.fakes import model_wire as wire
from tests.fakes.model_server import Behaviour, Exchange

VLLM_ID = "chatcmpl-tool-9f86d081884c7d65"


def named(index: int, name: str, id: str | None = VLLM_ID) -> bytes:  # noqa: A002 - the wire's name
    """Render the chunk that begins a call: its name, and no arguments yet."""
    function = {"name": name, "arguments": ""}
    return wire.chunk({"tool_calls": [{"id": id, "type": "function", "index": index, "function": function}]})


def argued(index: int, piece: str) -> bytes:
    """Render a chunk with a piece of a call's arguments."""
    return wire.chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def calling(name: str, *pieces: str, index: int = 0, id: str | None = VLLM_ID) -> bytes:  # noqa: A002
    """Render all chunks of a call."""
    return named(index, name, id) + b"".join(argued(index, piece) for piece in pieces)


def calls(*chunks: bytes, says: str = "", reason: str = "tool_calls", tokens: int = 5) -> Behaviour:
    """Answer with calls, each chunk in a write of its own, after a text if there is one."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        spoken = [wire.text(says)] if says else []
        for data in (wire.role(), *spoken, *chunks, wire.finish(reason), wire.usage(tokens), wire.DONE):
            await exchange.send(data)
        await exchange.end()

    return behave


def calls_and_waits(gate: asyncio.Event, *chunks: bytes) -> Behaviour:
    """Begin with these chunks and end once the gate is open."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        for data in (wire.role(), *chunks):
            await exchange.send(data)
        exchange.answered.set()
        await gate.wait()
        await exchange.send(wire.finish("tool_calls") + wire.usage(5) + wire.DONE)
        await exchange.end()

    return behave


def says_and_waits(gate: asyncio.Event, *pieces: str) -> Behaviour:
    """Say this much, and end once the gate is open."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(wire.role() + b"".join(map(wire.text, pieces)))
        exchange.answered.set()
        await gate.wait()
        await exchange.send(wire.finish() + wire.usage(len(pieces)) + wire.DONE)
        await exchange.end()

    return behave


def function(name: str, description: str = "", **more: Any) -> dict[str, Any]:
    """Return a function tool with one text parameter."""
    parameters = {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters, **more},
    }

"""Behaviours for the scripted model server: how a model server answers well, badly, or not at all."""

import asyncio

from tests.fakes import model_wire as wire
from tests.fakes.model_server import Behaviour, Exchange


def streams(*pieces: str, reason: str = "stop") -> Behaviour:
    """Answer in full, every event in a write of its own."""
    return sends(wire.role(), *map(wire.text, pieces), wire.finish(reason), wire.usage(len(pieces)), wire.DONE)


def sends(*writes: bytes) -> Behaviour:
    """Answer 200 with these bytes, one write each, and end the body as it should be."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        for data in writes:
            await exchange.send(data)
            await asyncio.sleep(0.002)  # so that the client reads each write by itself
        await exchange.end()

    return behave


def replies(status: int, body: bytes, *, writes: int = 1) -> Behaviour:
    """Answer with JSON, the body in so many writes."""

    async def behave(exchange: Exchange) -> None:
        if writes == 1:
            await exchange.reply(status, body)
            return
        await exchange.begin(status, "application/json")
        size = -(-len(body) // writes)
        for start in range(0, len(body), size):
            await exchange.send(body[start : start + size])
            await asyncio.sleep(0.02)
        await exchange.end()

    return behave


def stalls(*writes: bytes, head: bool = True) -> Behaviour:
    """Say this much, then nothing more until the client leaves."""

    async def behave(exchange: Exchange) -> None:
        if head:
            await exchange.begin()
        for data in writes:
            await exchange.send(data)
        exchange.answered.set()
        await exchange.connection.closed.wait()

    return behave


def trickles(*writes: bytes, every_s: float) -> Behaviour:
    """Answer in full but slowly."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        for data in writes:
            await exchange.send(data)
            await asyncio.sleep(every_s)
        await exchange.end()

    return behave


def resets(*writes: bytes, head: bool = True) -> Behaviour:
    """Break the connection with an RST, after these writes."""

    async def behave(exchange: Exchange) -> None:
        if head:
            await exchange.begin()
            for data in writes:
                await exchange.send(data)
            await asyncio.sleep(0.02)  # what was written must arrive before the RST discards it
        exchange.reset()

    return behave


def cuts(*writes: bytes, head: bool = True) -> Behaviour:
    """Close the connection politely in the middle of the body, as a killed server's kernel does."""

    async def behave(exchange: Exchange) -> None:
        if head:
            await exchange.begin()
        for data in writes:
            await exchange.send(data)
        await exchange.leave()

    return behave


def babbles(data: bytes) -> Behaviour:
    """Answer with bytes that are not HTTP."""

    async def behave(exchange: Exchange) -> None:
        await exchange.write(data)
        await exchange.leave()

    return behave

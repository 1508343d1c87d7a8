"""A behaviour for the scripted model server that holds its answer until a test opens the gate: a run stays active."""

import asyncio

from tests.fakes import model_wire as wire
from tests.fakes.model_server import Behaviour, Exchange


def waits(gate: asyncio.Event, *pieces: str) -> Behaviour:
    """Accept the request, and answer it in full once the gate is open."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(wire.role())
        exchange.answered.set()
        await gate.wait()
        await exchange.send(wire.answer(*pieces))
        await exchange.end()

    return behave

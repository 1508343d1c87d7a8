"""How a model server's health is kept: states, what marks it, how often it is asked, what is logged."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.catalog.server import Pace, Server
from app.inference.client import ChatRequest
from app.inference.failures import (
    ModelBroke,
    ModelBusy,
    ModelFailure,
    ModelRefused,
    ModelTimedOut,
    ModelUnknown,
    ModelUnreachable,
    PromptTooLong,
)
from tests.fakes.model_listing import AWAY, Listing, model, server_of

pytestmark = pytest.mark.anyio

LLAMA = model("llama")
SLOW = ModelTimedOut("The model server did not answer in time.")


async def state_after(*failures: ModelFailure | None) -> str:
    """Ask a server once for each failure, None for a good answer; return how it is then."""
    listing = Listing(LLAMA)
    server = server_of(listing)
    for failure in failures:
        listing.failure = failure
        await server.probe()
    return server.state


@pytest.mark.parametrize(
    ("failures", "state"),
    [
        ([None], "up"),
        ([AWAY], "loading"),
        ([None, AWAY], "down"),
        ([None, AWAY, None], "up"),
        ([ModelBusy("loading")], "loading"),
        ([None, ModelBusy("loading")], "loading"),
        ([ModelBroke("key")], "down"),
        ([ModelUnknown("404")], "down"),
        ([SLOW], "down"),
        ([None, SLOW], "up"),
        ([None, SLOW, SLOW], "down"),
        ([None, SLOW, None, SLOW], "up"),
    ],
)
async def test_what_a_server_answers_makes_its_state(failures: list[ModelFailure | None], state: str) -> None:
    assert await state_after(*failures) == state


async def test_a_server_without_a_list_is_up_where_the_operator_said_what_it_serves() -> None:
    for failure in (ModelUnknown("404"), ModelRefused("405")):
        listing = Listing()
        listing.failure = failure
        server = server_of(listing, models=("llama",))
        await server.probe()
        assert (server.state, [served.id for served in server.serves]) == ("up", ["llama"])


async def test_a_request_that_cannot_reach_it_marks_it_at_once_and_others_do_not() -> None:
    server = server_of(Listing(LLAMA))
    await server.probe()
    for failure in (ModelBroke("x"), SLOW, ModelBusy("x"), ModelRefused("x"), PromptTooLong("x"), ModelUnknown("x")):
        server.failed(failure)
        assert server.state == "up"
    server.failed(ModelUnreachable("gone"))
    assert (server.state, server.failure.message) == ("down", "gone")


async def test_what_a_run_asks_counts_and_marks_as_a_relayed_request_does() -> None:
    listing = Listing(LLAMA)
    server = server_of(listing)
    await server.probe()
    async with server.stream(ChatRequest(model="llama", messages=[])):
        assert server.in_flight == 1
    assert (server.in_flight, await server.tokenize("llama", [], None)) == (0, None)
    listing.failure = AWAY
    with pytest.raises(ModelUnreachable):
        await server.tokenize("llama", [], None)
    assert server.state == "down"
    listing.failure = None
    await server.probe()
    listing.failure = AWAY
    with pytest.raises(ModelUnreachable):
        async with server.stream(ChatRequest(model="llama", messages=[])):
            raise AssertionError("it is away")
    assert (server.state, server.in_flight) == ("down", 0)


async def test_an_answer_to_a_question_from_before_a_failure_does_not_bring_it_back() -> None:
    listing = Listing(LLAMA)
    server = server_of(listing)
    await server.probe()
    listing.gate.clear()
    asking = asyncio.create_task(server.probe())
    await asyncio.sleep(0)
    server.failed(AWAY)
    listing.gate.set()
    await asking
    assert server.state == "down"
    await server.probe()
    assert server.state == "up"


@asynccontextmanager
async def watched(server: Server) -> AsyncIterator[None]:
    probing = asyncio.create_task(server.keep_probing())
    try:
        await asyncio.wait_for(server.asked.wait(), 5)
        yield
    finally:
        probing.cancel()
        await asyncio.wait([probing])


async def becomes(server: Server, state: str) -> None:
    async with asyncio.timeout(5):
        while server.state != state:
            await asyncio.sleep(0.001)


async def test_the_prober_finds_it_down_without_a_request_and_brings_it_back() -> None:
    listing = Listing(LLAMA)
    server = server_of(listing, pace=Pace(up_s=0.02, away_s=0.01))
    async with watched(server):
        assert server.state == "up"
        listing.failure = AWAY
        await becomes(server, "down")
        listing.failure = None
        await becomes(server, "up")


async def test_a_failed_request_has_it_asked_again_soon_and_not_only_when_its_turn_comes() -> None:
    server = server_of(Listing(LLAMA), pace=Pace(up_s=3600, away_s=0.01))
    async with watched(server):
        await asyncio.sleep(0.05)  # until nothing but the slow pace is waited for
        server.failed(AWAY)
        assert server.state == "down"
        await becomes(server, "up")


async def test_it_is_never_asked_more_often_than_stated_whatever_requests_report() -> None:
    listing = Listing(LLAMA)
    server = server_of(listing, pace=Pace(up_s=3600, away_s=0.05))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with watched(server):
        while loop.time() < began + 0.3:
            server.failed(AWAY)
            await asyncio.sleep(0)
        assert 1 < listing.asked <= (loop.time() - began) / 0.05 + 1


async def test_while_it_is_up_it_is_asked_at_the_slower_pace() -> None:
    listing = Listing(LLAMA)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with watched(server_of(listing, pace=Pace(up_s=0.1, away_s=0.01))):
        while listing.asked < 3:
            await asyncio.sleep(0.005)
        assert loop.time() - began >= 0.2 - 0.005


async def test_each_change_of_state_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.catalog")
    listing = Listing(LLAMA)
    server = server_of(listing)
    for failure in (None, None, AWAY, AWAY, None):
        listing.failure = failure
        await server.probe()
    server.failed(AWAY)
    server.failed(AWAY)
    told = [(vars(record)["upstream"], record.getMessage(), record.levelname) for record in caplog.records]
    up, down = ("main", "model server is up", "INFO"), ("main", "model server is down", "WARNING")
    assert told == [up, down, up, down]
    assert vars(caplog.records[1])["reason"] == AWAY.message

"""What clients see of the list, where runs go, what an assistant without a model gets, and what readiness tells."""

import asyncio
from typing import Any

import pytest

from app.catalog.routing import StandIn
from app.catalog.server import NOT_ASKED, SERVES_NOTHING, STAND_IN_OWNER
from app.catalog.service import Availability
from app.errors import NotFound, Unavailable
from app.inference.failures import ModelBroke, ModelBusy, ModelFailure, ModelTimedOut, ModelUnreachable
from tests.fakes.model_listing import AWAY, Listing, catalog_of, model, server_of, unasked_catalog

pytestmark = pytest.mark.anyio

LLAMA, ADAPTER, SMALL = model("llama-3.1-70b"), model("traders/tone-v2", 4096), model("small", 2048)
STAND_IN = model("sovereign-standin", 2048, STAND_IN_OWNER)


def failing(failure: ModelFailure = AWAY, *served: Any) -> Listing:
    listing = Listing(*served)
    listing.failure = failure
    return listing


async def test_an_alias_leads_to_its_model_and_that_models_window() -> None:
    catalog = await catalog_of(server_of(Listing(LLAMA)), aliases={"gpt-4o": LLAMA.id})
    found = await catalog.upstream("gpt-4o")
    assert (found.name, found.window) == (LLAMA.id, 8192)


async def test_every_model_has_a_window_of_its_own() -> None:
    catalog = await catalog_of(server_of(Listing(LLAMA, ADAPTER)))
    assert [(await catalog.upstream(served.id)).window for served in (LLAMA, ADAPTER)] == [8192, 4096]


async def test_a_servers_window_goes_before_that_of_all_and_both_before_what_it_states() -> None:
    servers = server_of(Listing(LLAMA)), server_of(Listing(SMALL), "fast", context_window=512)
    catalog = await catalog_of(*servers, context_window=1000)
    assert [(await catalog.upstream(name)).window for name in (LLAMA.id, "small")] == [1000, 512]


async def test_a_runs_name_that_nobody_knows_is_the_first_servers_to_refuse() -> None:
    main, fast = server_of(Listing(LLAMA)), server_of(Listing(SMALL), "fast")
    found = await (await catalog_of(main, fast)).upstream("nope")
    assert (found.model, found.name, found.window) == (main, "nope", None)


async def test_runs_wait_while_all_servers_of_their_model_are_away() -> None:
    for failure in (AWAY, ModelBusy("loading"), ModelTimedOut("slow")):
        catalog = await catalog_of(server_of(failing(failure)), server_of(failing(), "second"))
        with pytest.raises(ModelUnreachable, match=failure.message):
            await catalog.upstream(LLAMA.id)


async def test_runs_do_not_wait_for_a_server_that_refuses_our_key() -> None:
    with pytest.raises(ModelBroke, match="key"):
        await (await catalog_of(server_of(failing(ModelBroke("a key"))))).upstream(LLAMA.id)


async def test_runs_go_to_a_server_with_room_and_queue_at_the_first_when_none_has() -> None:
    main, second = (server_of(Listing(LLAMA), name, concurrency=1) for name in ("main", "second"))
    catalog = await catalog_of(main, second)
    assert (await catalog.upstream(LLAMA.id)).model is main
    main.in_flight = 1
    assert (await catalog.upstream(LLAMA.id)).model == StandIn(second)
    second.in_flight = 1
    assert (await catalog.upstream(LLAMA.id)).model is main


async def test_a_server_that_is_away_keeps_the_windows_and_the_names_it_had() -> None:
    listing = Listing(LLAMA)
    server = server_of(listing)
    catalog = await catalog_of(server)
    listing.failure = AWAY
    await server.probe()
    assert [found.id for found in (await catalog.listing()).data] == [LLAMA.id]
    listing.failure = None
    await server.probe()
    assert (await catalog.upstream(LLAMA.id)).window == 8192


async def test_the_first_model_is_the_default_unless_the_operator_named_one() -> None:
    servers = server_of(Listing(SMALL), "embed", role="embeddings"), server_of(Listing(LLAMA, ADAPTER))
    assert await (await catalog_of(*servers)).default_model() == LLAMA.id
    listing = Listing(LLAMA)
    assert await unasked_catalog(server_of(listing), default_model="named").default_model() == "named"
    assert listing.asked == 0


async def test_there_is_no_default_while_the_first_server_names_none() -> None:
    for listing, why in ((Listing(), SERVES_NOTHING), (failing(), AWAY.message)):
        with pytest.raises(Unavailable, match=why) as refused:
            await (await catalog_of(server_of(listing), server_of(Listing(LLAMA), "second"))).default_model()
        assert refused.value.retry_after_s


async def test_clients_see_the_models_of_all_servers_and_the_aliases_that_lead_somewhere() -> None:
    aliases = {"gpt-4o": LLAMA.id, "gpt-4": "gone", ADAPTER.id: LLAMA.id, "mini": "small"}
    servers = server_of(Listing(LLAMA, ADAPTER)), server_of(Listing(SMALL, LLAMA), "fast")
    listed = (await (await catalog_of(*servers, aliases=aliases)).listing()).data
    assert [found.id for found in listed] == [LLAMA.id, ADAPTER.id, "small", "gpt-4o", "mini"]
    assert {(found.created, found.owned_by) for found in listed} == {(LLAMA.created, LLAMA.owned_by)}


async def test_a_model_is_found_by_either_name_and_others_are_not() -> None:
    catalog = await catalog_of(server_of(Listing(LLAMA, ADAPTER)), aliases={"gpt-4o": LLAMA.id})
    assert [(await catalog.find(name)).id for name in ("gpt-4o", "traders/tone-v2")] == ["gpt-4o", "traders/tone-v2"]
    with pytest.raises(NotFound) as refused:
        await catalog.find("nope")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_a_list_that_cannot_be_had_is_503() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await (await catalog_of(server_of(failing()))).listing()


async def test_the_models_of_the_others_are_listed_while_one_server_was_never_reached() -> None:
    listing = failing()
    silent = server_of(listing, "silent")
    catalog = await catalog_of(server_of(Listing(LLAMA)), silent)
    assert [found.id for found in (await catalog.listing()).data] == [LLAMA.id]
    with pytest.raises(Unavailable, match="cannot be reached"):  # it may be that server's
        await catalog.find("nope")
    listing.failure = None
    await silent.probe()
    with pytest.raises(NotFound):
        await catalog.find("nope")


async def test_names_that_the_operator_gave_are_listed_before_the_server_was_reached() -> None:
    catalog = await catalog_of(server_of(failing(), models=("llama",)), aliases={"gpt-4o": "llama"})
    assert [found.id for found in (await catalog.listing()).data] == ["llama", "gpt-4o"]
    assert await catalog.default_model() == "llama"


async def test_production_refuses_the_stand_in_wherever_it_shows() -> None:
    catalog = await catalog_of(server_of(Listing(LLAMA, STAND_IN), refuse=True))
    with pytest.raises(ModelBroke, match="production"):
        await catalog.upstream(LLAMA.id)
    for shown in (catalog.listing(), catalog.default_model()):
        with pytest.raises(Unavailable, match="production"):
            await shown
    with pytest.raises(Unavailable, match="production"):
        catalog.route(LLAMA.id)


async def test_only_development_uses_a_server_before_it_was_asked() -> None:
    listing = Listing(LLAMA)
    listing.gate.clear()
    assert (await unasked_catalog(server_of(listing)).upstream(LLAMA.id)).name == LLAMA.id
    with pytest.raises(ModelUnreachable, match=NOT_ASKED):
        await unasked_catalog(server_of(listing, refuse=True)).upstream(LLAMA.id)


async def test_development_takes_the_stand_in() -> None:
    assert (await (await catalog_of(server_of(Listing(STAND_IN)))).upstream(STAND_IN.id)).window == 2048


async def test_a_question_waits_for_the_first_answer() -> None:
    listing = Listing(LLAMA)
    listing.gate.clear()
    server = server_of(listing)
    catalog = unasked_catalog(server)
    asking = asyncio.create_task(server.probe())
    questions = [asyncio.create_task(ask) for ask in (catalog.listing(), catalog.availability())]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(question.done() for question in questions)
    listing.gate.set()
    await asking
    assert [found.id for found in (await questions[0]).data] == [LLAMA.id]  # type: ignore[union-attr]
    assert (await questions[1]) == Availability("up", None)


async def test_ready_is_when_every_model_can_be_served_by_someone_and_who_is_away_is_told() -> None:
    main, cpu = Listing(LLAMA), Listing(SMALL)
    fallback = {"fallback_for": ("main",), "fallback_model": "small"}
    servers = server_of(main), server_of(cpu, "cpu", **fallback)
    catalog = await catalog_of(*servers)
    assert await catalog.availability() == Availability("up", None)
    main.failure = AWAY
    await servers[0].probe()
    assert await catalog.availability() == Availability("up", f"main: {AWAY.message}")
    cpu.failure = AWAY
    await servers[1].probe()
    assert await catalog.availability() == Availability("down", f"main: {AWAY.message} cpu: {AWAY.message}")
    main.failure = None
    await servers[0].probe()
    assert await catalog.availability() == Availability("up", f"cpu: {AWAY.message}")


async def test_a_model_that_only_a_server_which_is_away_serves_is_missing() -> None:
    main, fast = Listing(LLAMA, SMALL), Listing(SMALL)
    servers = server_of(main), server_of(fast, "fast")
    catalog = await catalog_of(*servers)
    main.failure = AWAY
    await servers[0].probe()
    assert (await catalog.availability()).state == "down"
    main.served, main.failure = (SMALL,), None
    await servers[0].probe()
    main.failure = AWAY
    await servers[0].probe()
    assert (await catalog.availability()).state == "up"


async def test_embeddings_do_not_make_the_server_unready_but_are_told() -> None:
    servers = server_of(Listing(LLAMA)), server_of(failing(), "embed", role="embeddings")
    assert await (await catalog_of(*servers)).availability() == Availability("up", f"embed: {AWAY.message}")

"""Which model a name leads to, how large its window is, what clients see of the list, and how often it is asked for."""

import asyncio
from typing import Any, cast

import pytest

from app.catalog.service import LISTING_KEPT_S, STAND_IN_OWNER, Catalog
from app.errors import NotFound, Unavailable
from app.inference.chunks import ServedModel, ServedModels
from app.inference.client import ModelClient
from app.inference.failures import ModelBroke, ModelFailure, ModelUnreachable
from tests.fakes.clock import SetClock

pytestmark = pytest.mark.anyio

LLAMA = ServedModel(id="llama-3.1-70b", owned_by="vllm", created=1_700_000_000, max_model_len=8192)
ADAPTER = ServedModel(id="traders/tone-v2", owned_by="vllm", created=1_700_000_001, max_model_len=4096)
STAND_IN = ServedModel(id="sovereign-standin", owned_by=STAND_IN_OWNER, created=1_700_000_000, max_model_len=2048)
AWAY = ModelUnreachable("The model server cannot be reached.")


class Listing:
    """A model server's list, or its failure to give one."""

    def __init__(self, *served: ServedModel) -> None:
        self.served = served
        self.failure: ModelFailure | None = None
        self.asked = 0

    async def models(self) -> ServedModels:
        """Answer once the event loop has gone round."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return ServedModels(data=list(self.served))


def catalog_of(listing: Listing, *, clock: SetClock | None = None, **options: Any) -> Catalog:
    fixed = {"aliases": {}, "default_model": None, "context_window": None, "refuse_stand_in": False}
    return Catalog(cast(ModelClient, listing), clock or SetClock(), **(fixed | options))


async def test_an_alias_leads_to_its_model_and_that_models_window() -> None:
    catalog = catalog_of(Listing(LLAMA), aliases={"gpt-4o": LLAMA.id})
    found = await catalog.upstream("gpt-4o")
    assert (found.name, found.window) == (LLAMA.id, 8192)


async def test_every_model_has_a_window_of_its_own() -> None:
    catalog = catalog_of(Listing(LLAMA, ADAPTER))
    assert [(await catalog.upstream(model.id)).window for model in (LLAMA, ADAPTER)] == [8192, 4096]


async def test_a_window_that_the_operator_set_holds_for_all() -> None:
    assert (await catalog_of(Listing(LLAMA), context_window=1000).upstream(LLAMA.id)).window == 1000


async def test_a_name_that_nobody_knows_is_the_model_servers_to_refuse() -> None:
    found = await catalog_of(Listing(LLAMA)).upstream("nope")
    assert (found.name, found.window) == ("nope", None)


async def test_a_server_that_gives_no_list_is_used_all_the_same() -> None:
    listing = Listing()
    listing.failure = AWAY
    found = await catalog_of(listing, aliases={"gpt-4o": LLAMA.id}).upstream("gpt-4o")
    assert (found.name, found.window) == (LLAMA.id, None)


async def test_a_server_that_gives_no_list_any_more_keeps_the_windows_it_had() -> None:
    listing, clock = Listing(LLAMA), SetClock()
    catalog = catalog_of(listing, clock=clock)
    await catalog.upstream(LLAMA.id)
    listing.failure = AWAY
    clock.move(3600)
    assert (await catalog.upstream(LLAMA.id)).window == 8192


async def test_the_first_model_is_the_default_unless_the_operator_named_one() -> None:
    assert await catalog_of(Listing(LLAMA, ADAPTER)).default_model() == LLAMA.id
    listing = Listing(LLAMA)
    assert await catalog_of(listing, default_model="named").default_model() == "named"
    assert listing.asked == 0


@pytest.mark.parametrize("failure", [None, AWAY], ids=["serves nothing", "is away"])
async def test_there_is_no_default_while_the_server_names_none(failure: ModelFailure | None) -> None:
    listing = Listing()
    listing.failure = failure
    with pytest.raises(Unavailable) as refused:
        await catalog_of(listing).default_model()
    assert refused.value.retry_after_s


async def test_clients_see_models_and_the_aliases_that_lead_somewhere() -> None:
    aliases = {"gpt-4o": LLAMA.id, "gpt-4": "gone", ADAPTER.id: LLAMA.id}
    listed = await catalog_of(Listing(LLAMA, ADAPTER), aliases=aliases).listing()
    assert [model.id for model in listed.data] == [LLAMA.id, ADAPTER.id, "gpt-4o"]
    alias = listed.data[-1]
    assert (alias.created, alias.owned_by) == (LLAMA.created, LLAMA.owned_by)


async def test_a_model_is_found_by_either_name_and_others_are_not() -> None:
    catalog = catalog_of(Listing(LLAMA, ADAPTER), aliases={"gpt-4o": LLAMA.id})
    assert [(await catalog.find(name)).id for name in ("gpt-4o", "traders/tone-v2")] == ["gpt-4o", "traders/tone-v2"]
    with pytest.raises(NotFound) as refused:
        await catalog.find("nope")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_a_list_that_cannot_be_had_is_503() -> None:
    listing = Listing()
    listing.failure = AWAY
    with pytest.raises(Unavailable, match="cannot be reached"):
        await catalog_of(listing).listing()


async def test_production_refuses_the_stand_in_wherever_it_shows() -> None:
    catalog = catalog_of(Listing(LLAMA, STAND_IN), refuse_stand_in=True)
    for asked in (catalog.served(), catalog.upstream(LLAMA.id)):
        with pytest.raises(ModelBroke, match="production"):
            await asked
    for shown in (catalog.listing(), catalog.default_model()):
        with pytest.raises(Unavailable, match="production"):
            await shown


async def test_production_uses_no_server_that_it_could_not_ask() -> None:
    listing = Listing(LLAMA)
    listing.failure = AWAY
    with pytest.raises(ModelUnreachable):
        await catalog_of(listing, refuse_stand_in=True).upstream(LLAMA.id)


async def test_development_takes_the_stand_in() -> None:
    assert (await catalog_of(Listing(STAND_IN)).upstream(STAND_IN.id)).window == 2048


async def test_the_list_is_kept_for_a_while_and_asked_for_again() -> None:
    listing, clock = Listing(LLAMA), SetClock()
    catalog = catalog_of(listing, clock=clock)
    await catalog.served()
    clock.move(int(LISTING_KEPT_S) - 1)
    await catalog.served()
    assert listing.asked == 1
    clock.move(1)
    listing.served = (LLAMA, ADAPTER)
    assert await catalog.served() == [LLAMA, ADAPTER]
    assert listing.asked == 2


async def test_many_at_once_ask_for_the_list_once() -> None:
    listing = Listing(LLAMA)
    catalog = catalog_of(listing)
    await asyncio.gather(*(catalog.upstream(LLAMA.id) for _ in range(100)))
    assert listing.asked == 1


async def test_a_failure_is_not_kept() -> None:
    listing = Listing(LLAMA)
    listing.failure = AWAY
    catalog = catalog_of(listing)
    with pytest.raises(ModelUnreachable):
        await catalog.served()
    listing.failure = None
    assert await catalog.served() == [LLAMA]

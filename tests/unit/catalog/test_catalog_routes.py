"""Where a relayed request goes: preference, failing over and giving back, room, names nobody knows."""

from typing import Any

import pytest

from app.catalog.routing import Kind, Route
from app.catalog.server import Server
from app.catalog.service import Catalog
from app.errors import ApiError, NotFound, RateLimited, Unavailable
from app.inference.failures import ModelBroke, ModelUnreachable
from tests.fakes.model_listing import AWAY, Listing, catalog_of, model, server_of, unasked_catalog

pytestmark = pytest.mark.anyio

LLAMA, SMALL, EMBEDDER = model("llama"), model("small", 2048), model("e5", 512)
CPU: dict[str, Any] = {"fallback_for": ("main",), "fallback_model": "small"}


def where(catalog: Catalog, name: str, kind: Kind = "chat") -> tuple[str, str]:
    found = catalog.route(name, kind)
    return found.upstream, found.name


def refusal(catalog: Catalog, name: str, kind: Kind = "chat", **options: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        catalog.route(name, kind, **options)
    return refused.value


async def away(server: Server) -> None:
    server.client.failure = AWAY  # type: ignore[attr-defined]
    await server.probe()


async def back(server: Server) -> None:
    server.client.failure = None  # type: ignore[attr-defined]
    await server.probe()


async def test_a_model_goes_to_the_first_that_serves_it_to_the_next_while_that_is_down_and_back() -> None:
    first, second = server_of(Listing(LLAMA), "first"), server_of(Listing(SMALL, LLAMA), "second")
    catalog = await catalog_of(first, second, aliases={"gpt-4o": "llama"})
    assert where(catalog, "gpt-4o") == ("first", "llama")
    assert catalog.route("llama").headers() == {}
    await away(first)
    assert where(catalog, "gpt-4o") == ("second", "llama")
    assert catalog.route("llama").headers() == {"x-model-upstream": "second", "x-model-fallback": "true"}
    assert catalog.route("small").headers() == {}
    await back(first)
    assert where(catalog, "gpt-4o") == ("first", "llama")


async def test_a_fallback_answers_for_every_model_of_its_main_under_its_own_name_and_window() -> None:
    main = server_of(Listing(LLAMA, model("adapter")))
    catalog = await catalog_of(main, server_of(Listing(model("fast")), "fast"), server_of(Listing(SMALL), "cpu", **CPU))
    await away(main)
    for name in ("llama", "adapter"):
        found = catalog.route(name)
        assert (found.upstream, found.name, found.window, found.is_fallback) == ("cpu", "small", 2048, True)
    assert where(catalog, "fast") == ("fast", "fast")
    assert catalog.route("small").is_fallback is False


async def test_a_main_that_never_told_what_it_serves_has_its_fallback_for_names_nobody_knows() -> None:
    main, cpu = server_of(Listing(LLAMA)), server_of(Listing(SMALL), "cpu", **CPU)
    catalog = unasked_catalog(main, cpu)
    await cpu.probe()
    await away(main)
    assert where(catalog, "anything") == ("cpu", "small")
    await back(main)
    assert isinstance(refusal(catalog, "anything"), NotFound)


async def test_a_name_that_nobody_serves_is_404_in_the_words_of_the_original() -> None:
    error = refusal(await catalog_of(server_of(Listing(LLAMA)), server_of(Listing(SMALL), "fast")), "nope")
    text = "The model `nope` does not exist or you do not have access to it."
    assert (error.status, error.code, error.message) == (404, "model_not_found", text)


async def test_before_the_first_answer_requests_are_tried_at_the_first_server() -> None:
    catalog = unasked_catalog(server_of(Listing(LLAMA)), server_of(Listing(SMALL), "fast"))
    assert where(catalog, "llama") == ("main", "llama")


async def test_a_server_that_might_be_the_stand_in_gets_nothing_before_it_has_answered() -> None:
    assert refusal(unasked_catalog(server_of(Listing(LLAMA), refuse=True)), "llama").status == 503


async def test_with_all_away_it_is_503_with_a_time_to_come_back() -> None:
    servers = server_of(Listing(LLAMA)), server_of(Listing(SMALL), "cpu", **CPU)
    catalog = await catalog_of(*servers)
    for server in servers:
        await away(server)
    error = refusal(catalog, "llama")
    assert isinstance(error, Unavailable)
    assert (error.message, error.retry_after_s) == (AWAY.message, 5)


async def test_a_server_never_reached_makes_an_unknown_name_503_and_not_404() -> None:
    server = server_of(Listing(LLAMA))
    catalog = unasked_catalog(server)
    await away(server)
    assert refusal(catalog, "nope").status == 503


async def test_a_server_whose_models_the_operator_named_is_asked_for_no_others() -> None:
    server = server_of(Listing(LLAMA, SMALL), models=("llama",))
    catalog = unasked_catalog(server)
    assert (where(catalog, "llama"), refusal(catalog, "small").status) == (("main", "llama"), 404)
    await server.probe()
    assert (where(catalog, "llama"), refusal(catalog, "small").status) == (("main", "llama"), 404)
    assert catalog.route("llama").window == 8192


async def test_roles_keep_chats_from_embeddings_and_a_server_without_one_takes_both() -> None:
    servers = server_of(Listing(LLAMA), role="chat"), server_of(Listing(EMBEDDER), "embed", role="embeddings")
    catalog = await catalog_of(*servers, server_of(Listing(SMALL), "any"))
    assert where(catalog, "e5", "embeddings") == ("embed", "e5")
    assert [where(catalog, "small", kind) for kind in ("chat", "embeddings")] == [("any", "small")] * 2
    assert (refusal(catalog, "e5").status, refusal(catalog, "llama", "embeddings").status) == (404, 404)


async def test_a_full_server_is_passed_over_for_one_with_room_and_when_all_are_full_it_is_429() -> None:
    main, cpu = server_of(Listing(LLAMA), concurrency=1), server_of(Listing(SMALL), "cpu", concurrency=1, **CPU)
    catalog = await catalog_of(main, cpu)
    async with catalog.answering("llama", "chat", answered) as (first, _):
        async with catalog.answering("llama", "chat", answered) as (second, answer):
            assert (first.upstream, second.upstream, answer) == ("main", "cpu", "small")
            error = refusal(catalog, "llama")
            assert isinstance(error, RateLimited)
            assert (error.code, error.retry_after_s) == ("rate_limit_exceeded", 1)
        assert where(catalog, "llama") == ("cpu", "small")
    assert where(catalog, "llama") == ("main", "llama")


async def test_a_full_server_whose_fallback_is_away_is_429_and_not_503() -> None:
    main, cpu = server_of(Listing(LLAMA), concurrency=1), server_of(Listing(SMALL), "cpu", **CPU)
    catalog = await catalog_of(main, cpu)
    await away(cpu)
    main.in_flight = 1
    assert refusal(catalog, "llama").status == 429


def answered(route: Route) -> Any:
    return route.client.ask(route.name)  # type: ignore[attr-defined]


async def test_a_request_goes_on_to_the_next_server_and_marks_the_first_at_once() -> None:
    main, cpu = server_of(Listing(LLAMA)), server_of(Listing(SMALL), "cpu", **CPU)
    catalog = await catalog_of(main, cpu)
    main.client.failure = AWAY  # type: ignore[attr-defined]
    async with catalog.answering("llama", "chat", answered) as (route, answer):
        assert (route.upstream, answer, main.state) == ("cpu", "small", "down")
        assert (main.in_flight, cpu.in_flight) == (0, 1)
    assert cpu.in_flight == 0
    assert main.client.asked == 1  # type: ignore[attr-defined]


async def test_nobody_is_refused_because_another_request_failed_as_long_as_the_server_was_not_asked_since() -> None:
    main, second = server_of(Listing(LLAMA)), server_of(Listing(LLAMA), "second")
    catalog = await catalog_of(main, second)
    main.failed(AWAY)
    assert catalog.route("llama").upstream == "second"
    second.failed(AWAY)
    assert (catalog.route("llama").upstream, (await catalog.upstream("llama")).model) == ("main", main)
    await away(main)
    assert catalog.route("llama").upstream == "second"
    await away(second)
    second.failed(AWAY)
    assert refusal(catalog, "llama").status == 503
    await back(main)
    await away(main)
    assert refusal(catalog, "llama").status == 503


async def test_each_server_is_tried_once_for_a_request() -> None:
    servers = [server_of(Listing(LLAMA), name) for name in ("a", "b", "c")]
    catalog = await catalog_of(*servers)
    tried = []

    def unreachable(route: Route) -> Any:
        tried.append(route.upstream)
        route.server.client.failure = AWAY  # type: ignore[attr-defined]
        return answered(route)

    with pytest.raises(Unavailable):
        async with catalog.answering("llama", "chat", unreachable):
            raise AssertionError("nobody answers")
    assert tried == ["a", "b", "c"]


async def test_a_server_that_was_tried_is_not_tried_again_even_if_it_came_back_meanwhile() -> None:
    catalog = await catalog_of(server_of(Listing(LLAMA)), server_of(Listing(SMALL), "cpu", **CPU))
    assert catalog.route("llama", tried=["main"]).upstream == "cpu"
    assert refusal(catalog, "llama", tried=["main", "cpu"]).status == 503


async def test_a_failure_after_the_answer_began_is_not_asked_for_again() -> None:
    main, cpu = server_of(Listing(LLAMA)), server_of(Listing(SMALL), "cpu", **CPU)
    catalog = await catalog_of(main, cpu)
    asked = []

    def asking(route: Route) -> Any:
        asked.append(route.upstream)
        return answered(route)

    for failure in (ModelUnreachable("reset"), ModelBroke("cut")):
        with pytest.raises(type(failure)):
            async with catalog.answering("llama", "chat", asking):
                raise failure
    assert asked == ["main", "cpu"]
    assert main.in_flight == cpu.in_flight == 0


async def test_only_a_server_that_cannot_be_reached_is_failed_over() -> None:
    main = server_of(Listing(LLAMA))
    catalog = await catalog_of(main, server_of(Listing(SMALL), "cpu", **CPU))
    main.client.failure = ModelBroke("engine died")  # type: ignore[attr-defined]
    with pytest.raises(ModelBroke):
        async with catalog.answering("llama", "chat", answered):
            raise AssertionError("it broke")
    assert main.state == "up"


async def test_ollamas_models_answer_without_their_tag() -> None:
    catalog = await catalog_of(server_of(Listing(model("llama3.1:latest", None))), aliases={"gpt-4o": "llama3.1"})
    assert where(catalog, "gpt-4o") == ("main", "llama3.1")
    assert [found.id for found in (await catalog.listing()).data] == ["llama3.1:latest", "gpt-4o"]


async def test_a_model_that_comes_later_is_routed_and_one_that_went_is_not() -> None:
    listing = Listing(LLAMA)
    server = server_of(listing)
    catalog = await catalog_of(server)
    listing.served = (SMALL,)
    await server.probe()
    assert where(catalog, "small") == ("main", "small")
    assert refusal(catalog, "llama").status == 404

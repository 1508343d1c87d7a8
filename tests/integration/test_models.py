"""/v1/models: what the model server serves, under its own names and the aliases that clients use."""

from typing import Any

import pytest

from tests.fakes.model_server import model_server, refusing_url
from tests.fakes.model_wire import models
from tests.fixtures.calls import assert_refused, get
from tests.fixtures.rooms import served

pytestmark = pytest.mark.anyio

SERVED = "sovereign-standin"


async def test_the_list_has_what_is_served_and_its_aliases(shared_api: Any) -> None:
    listed = await get(shared_api, "/v1/models")
    assert listed["object"] == "list"
    assert listed.keys() == {"object", "data"}
    assert [model["id"] for model in listed["data"]] == [SERVED, "gpt-4o", "gpt-4-turbo"]
    for model in listed["data"]:
        assert model.keys() == {"id", "object", "created", "owned_by"}
        assert model["object"] == "model"
        assert await get(shared_api, f"/v1/models/{model['id']}") == model


async def test_an_unknown_model_is_named(shared_api: Any) -> None:
    for name in ("gpt-nine", "meta/llama", "gpt-4o/"):
        answer = await shared_api.get(f"/v1/models/{name}")
        if name.endswith("/"):  # a slash at the end is no part of a name
            assert answer.json()["id"] == "gpt-4o"
        else:
            text = f"The model '{name}' does not exist"
            assert_refused(answer, text, status=404, param="model", code="model_not_found")


async def test_a_name_may_have_slashes_and_an_alias_of_nothing_is_not_listed(conformance: Any, sqlite_url: str) -> None:
    async def lists_two(exchange: Any) -> None:
        await exchange.reply(200, models("meta-llama/Llama-3.1-8B", "b"))

    async with model_server() as model:
        model.listing = lists_two
        aliases = "gpt-4=b,gpt-4o=gone,b=meta-llama/Llama-3.1-8B"
        env = {"DATABASE_URL": sqlite_url, "MODEL_URL": model.url, "MODEL_ALIASES": aliases}
        async with served(conformance, **env) as api:
            listed = [found["id"] for found in (await get(api.client, "/v1/models"))["data"]]
            assert listed == ["meta-llama/Llama-3.1-8B", "b", "gpt-4"]
            for path in ("/v1/models/meta-llama/Llama-3.1-8B", "/v1/models/meta-llama%2FLlama-3.1-8B"):
                assert (await get(api.client, path))["id"] == "meta-llama/Llama-3.1-8B"


async def test_without_a_model_server_there_is_no_list(conformance: Any, sqlite_url: str) -> None:
    async with served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=refusing_url()) as api:
        for path in ("/v1/models", "/v1/models/any"):
            answer = await api.client.get(path)
            kind = "service_unavailable_error"
            assert_refused(answer, "The model server cannot be reached.", status=503, kind=kind)
            assert int(answer.headers["retry-after"]) > 0

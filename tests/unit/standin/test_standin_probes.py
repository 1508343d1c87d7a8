"""The routes that need no model: health, version, models, the key, and what is not there."""

import json

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_health_is_an_empty_200(standin, path):
    assert await standin.get(path) == (200, "")


async def test_health_takes_no_head(standin):
    async with standin.session.head(standin.url + "/health") as response:
        assert response.status == 405


async def test_version_and_load_are_those_of_the_imitated_vllm(standin):
    assert await standin.get("/version") == (200, '{"version":"0.32.0"}')
    assert await standin.get("/load") == (200, '{"server_load":0}')


async def test_the_model_card_has_vllms_fields_and_names_its_owner(serve):
    standin = await serve(model="tiny", max_model_len=2048)
    status, text = await standin.get("/v1/models")
    listing = json.loads(text)
    (card,) = listing["data"]
    assert (status, listing["object"]) == (200, "list")
    assert list(card) == [
        "id",
        "object",
        "created",
        "owned_by",
        "root",
        "parent",
        "max_model_len",
        "permission",
    ]
    assert (card["id"], card["owned_by"], card["max_model_len"]) == ("tiny", "sovereign-standin", 2048)


async def test_unknown_paths_and_methods_answer_with_a_detail(standin):
    assert await standin.get("/nope") == (404, '{"detail":"Not Found"}')
    assert await standin.get("/v1/chat/completions") == (405, '{"detail":"Method Not Allowed"}')


async def test_a_missing_key_is_refused_with_a_plain_string(serve):
    standin = await serve(api_key="sk-test")
    assert await standin.get("/v1/models") == (401, '{"error":"Unauthorized"}')
    assert await standin.get("/v1/nope") == (401, '{"error":"Unauthorized"}')


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic sk-test", "sk-test"])
async def test_a_wrong_key_is_refused(serve, header):
    standin = await serve(api_key="sk-test")
    async with standin.session.get(standin.url + "/v1/models", headers={"Authorization": header}) as response:
        assert response.status == 401


async def test_the_right_key_opens_v1_and_the_rest_is_open_anyway(serve):
    standin = await serve(api_key="sk-test")
    async with standin.session.get(standin.url + "/v1/models", headers={"Authorization": "Bearer sk-test"}) as response:
        assert response.status == 200
    for path in ("/health", "/metrics", "/version", "/load", "/ping"):
        status, _ = await standin.get(path)
        assert status == 200
    status, _ = await standin.post("/tokenize", prompt="open")
    assert status == 200

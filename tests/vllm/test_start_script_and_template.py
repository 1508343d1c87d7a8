"""The command line of the appliance's start script, taken by a real vLLM, and our template as it renders a chat."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ops.vllm.start import command
from tests.vllm import prepare
from tests.vllm.engine import ENVIRONMENT, START_WITHIN_S, STOP_WITHIN_S
from tests.vllm.server import HOST, Server, free_port, stopped_after

TEMPLATE = prepare.ROOT / "ops" / "vllm" / "llama31_tools.jinja"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION = {"role": "user", "content": [{"type": "text", "text": " What is the weather in Paris? "}]}
CALL = {"type": "function", "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
ANSWERED = [
    {"role": "system", "content": "Be brief."},
    QUESTION,
    {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]


@pytest.fixture(scope="module")
def appliance_engine(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """Start it as the container does, but for what a processor without 48 GB of a card wants."""
    port = free_port()
    own = f"--host {HOST} --port {port} --dtype bfloat16 --enforce-eager --kv-cache-memory-bytes {128 * 1024 * 1024}"
    env = {
        "ENGINE_MODEL": str(prepare.model_dir()),
        "ENGINE_SERVED_NAME": "tiny",
        "ENGINE_CONTEXT": "2048",
        "ENGINE_KV_TYPE": "auto",
        "ENGINE_CHAT_TEMPLATE": str(TEMPLATE),
        "ENGINE_SHUTDOWN_S": "10",
        "ENGINE_EXTRA_FLAGS": own,
    }
    launcher: list[str | Path] = [str(prepare.VENV_PYTHON), "-P", str(prepare.HERE / "vllm_cli.py")]
    log = tmp_path_factory.mktemp("appliance_engine") / "vllm.log"
    server = Server("vLLM", [*launcher, *command(env)[1:]], port, "/health", log)
    with stopped_after(server, STOP_WITHIN_S):
        server.start({**ENVIRONMENT, "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}, prepare.ROOT, START_WITHIN_S)
        with openai.OpenAI(base_url=f"{server.address}/v1", api_key="sk-none", max_retries=0, timeout=60) as client:
            yield client


def prompt(engine: openai.OpenAI, messages: list[Any], **more: object) -> str:
    """Return a chat as the model is shown it: vLLM's own tokens, read back."""
    address = str(engine.base_url).removesuffix("/v1/")
    body: dict[str, Any] = {"model": "tiny", "messages": messages, **more}
    tokens = engine.post(f"{address}/tokenize", body=body, cast_to=object)
    assert isinstance(tokens, dict)
    read = engine.post(f"{address}/detokenize", body={"model": "tiny", "tokens": tokens["tokens"]}, cast_to=object)
    assert isinstance(read, dict)
    return str(read["prompt"])


def test_a_chat_without_functions_is_turns_and_nothing_else(appliance_engine: openai.OpenAI) -> None:
    shown = prompt(
        appliance_engine, [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": " hi "}]
    )
    assert shown == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_functions_their_calls_and_what_they_gave_have_the_models_form(appliance_engine: openai.OpenAI) -> None:
    shown = prompt(appliance_engine, ANSWERED, tools=[WEATHER])
    system, user, call, result, last = shown.split("<|eot_id|>")
    assert system.endswith("system<|end_header_id|>\n\nEnvironment: ipython\n\nBe brief.")
    described = user[user.index('{\n  "') : user.rindex("}") + 1]
    assert json.loads(described) == WEATHER["function"]
    assert user.endswith("\n\nWhat is the weather in Paris?")
    one = '{"name": "get_weather", "parameters": {"city": "Paris"}}'
    assert call == f"<|start_header_id|>assistant<|end_header_id|>\n\n{one}; {one}"
    assert result == "<|start_header_id|>ipython<|end_header_id|>\n\nsunny"
    assert last == "<|start_header_id|>assistant<|end_header_id|>\n\n"


def test_a_call_is_read_from_what_the_model_says(appliance_engine: openai.OpenAI) -> None:
    answer = appliance_engine.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],  # type: ignore[list-item]  # a plain dict is what goes over the wire
        tool_choice="required",
        temperature=0,
        max_tokens=60,
    )
    (called,) = answer.choices[0].message.tool_calls or []
    assert called.type == "function"
    assert called.function.name == "get_weather"
    assert set(json.loads(called.function.arguments)) == {"city"}

"""What is understood of a chunk: what vLLM adds is passed over, what it leaves out has a default."""

import json
from typing import Any

import pytest

from app.inference.chunks import Chunk, decode_chunk, decode_models
from app.inference.failures import UNREADABLE
from tests.fakes import model_wire as wire


def decode(payload: bytes) -> Chunk:
    return decode_chunk(payload.removeprefix(b"data: ").strip())


def chunk_of(choice: dict[str, Any], **more: Any) -> Chunk:
    return decode_chunk(json.dumps({"choices": [choice]} | more))


def test_vllms_chunks_are_read() -> None:
    assert decode(wire.role()).choices[0].delta.content == ""
    assert decode(wire.text("héllo")).choices[0].delta.content == "héllo"
    assert decode(wire.finish("length")).choices[0].finish_reason == "length"
    counted = decode(wire.usage(5)).usage
    assert counted is not None
    assert (counted.prompt_tokens, counted.completion_tokens, counted.total_tokens) == (11, 5, 16)


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"delta": {}},
        {"delta": {"content": None}, "finish_reason": None},
        {"delta": {"role": "assistant", "audio": {"id": 1}}, "index": 0, "logprobs": {"content": []}},
        {"delta": {"tool_calls": None, "reasoning": None, "refusal": None}, "stop_reason": 128009},
    ],
)
def test_a_choice_may_lack_anything_and_bring_anything(choice: dict[str, Any]) -> None:
    [read] = chunk_of(choice, brand_new={"deep": [1]}).choices
    assert read.delta.content is None
    assert read.finish_reason is None


def test_an_empty_object_is_a_chunk_that_says_nothing() -> None:
    assert decode_chunk(b"{}") == Chunk(choices=[], usage=None, error=None)


def test_pieces_of_tool_calls_are_read_in_each_of_their_forms() -> None:
    opening = {"id": "chatcmpl-tool-1", "type": "function", "index": 0, "function": {"name": "get_weather"}}
    [choice] = chunk_of({"delta": {"tool_calls": [opening]}}).choices
    assert choice.delta.tool_calls is not None
    assert choice.delta.tool_calls[0].function is not None
    assert choice.delta.tool_calls[0].function.name == "get_weather"
    assert choice.delta.tool_calls[0].function.arguments is None
    [choice] = chunk_of({"delta": {"tool_calls": [{"index": 1, "function": {"arguments": '{"a"'}}]}}).choices
    assert choice.delta.tool_calls is not None
    assert (choice.delta.tool_calls[0].index, choice.delta.tool_calls[0].id) == (1, None)


def test_usage_without_a_count_of_the_answer_is_read() -> None:
    counted = decode(wire.usage(None)).usage
    assert counted is not None
    assert counted.completion_tokens is None


@pytest.mark.parametrize(
    "payload", [b"", b"nonsense", b"[1]", b'{"choices": 3}', b'{"choices":[{"delta":{"content":"\xff"}}]}']
)
def test_what_is_no_chunk_is_refused(payload: bytes) -> None:
    with pytest.raises(UNREADABLE):
        decode_chunk(payload)


def test_a_listing_names_models_and_their_windows() -> None:
    [model] = decode_models(wire.models("tiny")).data
    assert (model.id, model.owned_by, model.max_model_len) == ("tiny", "vllm", wire.MAX_MODEL_LEN)


def test_a_listing_without_windows_is_read() -> None:
    [model] = decode_models(b'{"object":"list","data":[{"id":"qwen","object":"model"}]}').data
    assert (model.id, model.max_model_len) == ("qwen", None)

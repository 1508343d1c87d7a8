"""Chunks in, the whole answer out: what was cut is put together again, whatever the model server adds to it."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.chat.assembling import Assembling

Json = dict[str, Any]

# On a machine that is busy with other tests drawing takes long, and says nothing about the code.
at_its_pace = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "llama"}
CHUNK = {**HEAD, "object": "chat.completion.chunk"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": None}

texts = st.text(min_size=1, max_size=30)
calls = st.builds(
    lambda name, arguments: {
        "id": f"call_{name}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    st.from_regex("[a-z]{1,8}", fullmatch=True),
    texts,
)
tokens = st.fixed_dictionaries(
    {
        "token": texts,
        "logprob": st.floats(-9, 0),
        "bytes": st.none() | st.lists(st.integers(0, 255)),
        "top_logprobs": st.just([]),
    }
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": texts, "refusal": st.none()},
    optional={"reasoning": texts, "tool_calls": st.lists(calls, min_size=1, max_size=3)},
) | st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none()},
    optional={"reasoning": texts},
).flatmap(lambda said: st.one_of(st.builds(lambda text: {**said, "refusal": text}, texts), _calling(said)))
ends = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
choices = st.fixed_dictionaries(
    {
        "message": messages,
        "logprobs": st.none() | st.fixed_dictionaries({"content": st.lists(tokens, min_size=1), "refusal": st.none()}),
        "finish_reason": ends,
    },
    optional={"stop_reason": st.none() | st.integers() | texts, "token_ids": st.lists(st.integers(), min_size=1)},
)


def _calling(said: Json) -> st.SearchStrategy[Json]:
    return st.builds(
        lambda made: {**said, "refusal": None, "tool_calls": made}, st.lists(calls, min_size=1, max_size=3)
    )


@st.composite
def answers(draw: st.DrawFn) -> Json:
    """Draw a whole answer, with fields that nobody knows."""
    made = draw(st.lists(choices, min_size=1, max_size=3))
    numbered = [{"index": number, **choice} for number, choice in enumerate(made)]
    more = draw(st.dictionaries(st.sampled_from(["service_tier", "system_fingerprint", "x"]), st.none() | texts))
    usage = draw(st.sampled_from([{}, {"usage": USAGE}]))
    return {**HEAD, **more, "object": "chat.completion", "choices": numbered, **usage}


def pieces_of(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text anywhere, also into empty pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def deltas_of(draw: st.DrawFn, message: Json) -> list[Json]:
    """Cut a message into deltas, in the order in which a server sends them."""
    found: list[Json] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning", "content", "refusal"):
        if message.get(name) is not None:
            found += [{name: piece} for piece in pieces_of(draw, message[name])]
    for index, call in enumerate(message.get("tool_calls", [])):
        named = {**call, "index": index, "function": {"name": call["function"]["name"]}}
        found.append({"tool_calls": [named]})
        found += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in pieces_of(draw, call["function"]["arguments"])
        ]
    return found


def chunks_of_choice(draw: st.DrawFn, choice: Json) -> list[Json]:
    """Cut a choice into those of chunks: its lists an item at a time, its end in the last."""
    index = choice["index"]
    found = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas_of(draw, choice["message"])]
    if choice["logprobs"]:
        found += [
            {"index": index, "delta": {}, "logprobs": {"content": [token], "refusal": None}, "finish_reason": None}
            for token in choice["logprobs"]["content"]
        ]
    for token in choice.get("token_ids", []):
        found.append({"index": index, "delta": {}, "logprobs": None, "token_ids": [token], "finish_reason": None})
    stopped = {"stop_reason": choice["stop_reason"]} if "stop_reason" in choice else {}
    return [*found, {"index": index, "delta": {}, "finish_reason": choice["finish_reason"], **stopped}]


@st.composite
def cut(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """Draw an answer and chunks of it: every choice is opened first, then they come in any order."""
    answer = draw(answers())
    waiting = draw(st.permutations([chunks_of_choice(draw, choice) for choice in answer["choices"]]))
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage", "object")}
    chunks = []
    while any(waiting):
        opening = waiting[len(chunks) : len(chunks) + 1]
        taken = draw(st.sampled_from(opening or [queue for queue in waiting if queue]))
        chunks.append({**(CHUNK if chunks else {**CHUNK, **head}), "choices": [taken.pop(0)]})
    if "usage" in answer:
        chunks.append({**CHUNK, "choices": [], "usage": answer["usage"]})
    return answer, chunks


def assembled(*chunks: Json) -> Json | None:
    assembling = Assembling()
    for chunk in chunks:
        assembling.feed(chunk)
    return assembling.completion()


def chunk(delta: Json, end: str | None = None, **more: Any) -> Json:
    return {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": end}], **more}


@at_its_pace
@given(cut())
def test_an_answer_that_was_cut_into_chunks_is_put_together_again(drawn: tuple[Json, list[Json]]) -> None:
    answer, chunks = drawn
    assert assembled(*chunks) == answer


@at_its_pace
@given(cut(), st.data())
def test_nothing_is_an_answer_before_every_choice_has_ended(
    drawn: tuple[Json, list[Json]], data: st.DataObject
) -> None:
    _, chunks = drawn
    last = max(n for n, one in enumerate(chunks) if any(choice["finish_reason"] for choice in one["choices"]))
    assert assembled(*chunks[: data.draw(st.integers(0, last))]) is None


def test_what_vllm_sends_becomes_what_it_answers() -> None:
    whole = assembled(
        chunk({"role": "assistant", "content": ""}, prompt_token_ids=None, system_fingerprint=None),
        chunk({"content": "he"}),
        chunk({"content": "llo"}),
        chunk({}, "stop", system_fingerprint="vllm-0.32.0"),
        {**CHUNK, "choices": [], "usage": USAGE},
    )
    message = {"role": "assistant", "content": "hello", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    more = {"prompt_token_ids": None, "system_fingerprint": "vllm-0.32.0"}
    assert whole == {**HEAD, **more, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def test_calls_are_told_apart_by_their_index_and_leave_no_empty_text() -> None:
    def call(index: int, **function: str) -> Json:
        return {"index": index, "function": function}

    named = {"id": "call_a", "type": "function"}
    whole = assembled(
        chunk({"role": "assistant", "content": ""}),
        chunk({"tool_calls": [{**named, **call(0, name="add")}]}),
        chunk({"tool_calls": [{**named, **call(1, name="sub"), "id": "call_b"}, call(0, arguments='{"a"')]}),
        chunk({"tool_calls": [call(1, arguments="{}"), call(0, arguments=":1}")]}),
        chunk({"tool_calls": [call(0, arguments="")]}, "tool_calls"),
    )
    assert whole is not None
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {**named, "function": {"name": "add", "arguments": '{"a":1}'}},
        {**named, "id": "call_b", "function": {"name": "sub", "arguments": "{}"}},
    ]


def test_a_call_without_an_index_came_whole() -> None:
    calls = [{"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(2)]
    whole = assembled(chunk({"tool_calls": [calls[0]]}), chunk({"tool_calls": [calls[1]]}), chunk({}, "tool_calls"))
    assert whole is not None
    assert whole["choices"][0]["message"]["tool_calls"] == calls


def test_what_some_servers_say_in_every_chunk_is_said_once() -> None:
    whole = assembled(
        *[chunk({"role": "assistant", "content": "a"}, usage=None)] * 2, chunk({"role": "assistant"}, "stop")
    )
    assert whole is not None
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "aa", "refusal": None}


def test_the_last_usage_is_that_of_the_answer() -> None:
    whole = assembled(chunk({"content": "a"}, usage={"total_tokens": 1}), chunk({}, "stop", usage=USAGE))
    assert whole is not None
    assert whole["usage"] == USAGE


def test_an_answer_may_be_an_empty_text() -> None:
    whole = assembled(chunk({"role": "assistant", "content": ""}), chunk({}, "stop"))
    assert whole is not None
    assert whole["choices"][0]["message"]["content"] == ""


def test_no_chunk_and_no_choice_are_no_answer() -> None:
    assert assembled() is None
    assert assembled({**CHUNK, "choices": [], "usage": USAGE}) is None


def test_what_is_no_chunk_at_all_does_no_harm() -> None:
    odd: list[Json] = [
        {"choices": None},
        {"choices": [None, 1]},
        {"choices": [{"index": "x", "delta": None}]},
        {
            "choices": [
                {"index": 0, "delta": {"tool_calls": [None, {"index": 0, "function": "f"}], "content": {"a": "b"}}}
            ]
        },
        {"choices": [{"index": 0, "delta": {"tool_calls": [], "content": ["x"]}}]},
    ]
    assert assembled(*odd) is None

"""Every bound of openai_wire.md 2.1-2.4: what lies on it is taken, what lies beyond it is refused in exact words."""

from typing import Any, NamedTuple

import pytest

from tests.fixtures.calls import assert_refused, new_assistant, new_thread

pytestmark = pytest.mark.anyio

LARGEST = 2**31 - 1


class Bound(NamedTuple):
    """A field, a value on its bound, one beyond it, and what is then said."""

    param: str
    within: Any
    beyond: Any
    text: str
    code: str


def at_most(param: str, most: int) -> Bound:
    """Bound a text's length; characters count, not bytes."""
    text = f"string too long. Expected a string with maximum length {most}, but got a string with length {most + 1}"
    return Bound(param, "é" * most, "é" * (most + 1), f"{text} instead.", "string_above_max_length")


def at_most_items(param: str, item: Any, most: int) -> Bound:
    """Bound a list's length."""
    text = f"array too long. Expected an array with maximum length {most}, but got an array with length {most + 1}"
    return Bound(param, [item] * most, [item] * (most + 1), f"{text} instead.", "array_above_max_length")


def between(param: str, least: float, most: float | None, step: float) -> list[Bound]:
    """Bound a number from both sides, or only from below."""
    kind = "integer" if isinstance(step, int) else "decimal"
    low, texts = least - step, f"{kind} %s value. Expected a value %s %.0f, but got %s instead."
    bounds = [
        Bound(param, least, low, texts % ("below minimum", ">=", least, low), f"{kind}_below_min_value"),
    ]
    if most is not None:
        high = most + step
        above = texts % ("above maximum", "<=", most, high)
        bounds.append(Bound(param, most, high, above, f"{kind}_above_max_value"))
    return bounds


def body_with(param: str, value: Any) -> dict[str, Any]:
    """Return a body whose field at a dotted path has a value; `tools` and the like hold one object."""
    first, _, rest = param.partition(".")
    name, _, index = first.partition("[")
    inner = body_with(rest, value) if rest else value
    return {name: [inner] if index else inner}


def merged(into: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Lay one body over another, to any depth."""
    both = {**into, **more}
    for name in into.keys() & more.keys():
        if isinstance(into[name], dict) and isinstance(more[name], dict):
            both[name] = merged(into[name], more[name])
        elif isinstance(into[name], list) and isinstance(more[name], list) and into[name]:
            both[name] = [merged(into[name][0], more[name][0])]
    return both


CODE = {"type": "code_interpreter"}
SEARCH = "tools[0].file_search"
STORE = "tool_resources.file_search.vector_stores[0].chunking_strategy.static"
SAMPLING = [*between("temperature", 0.0, 2.0, 0.1), *between("top_p", 0.0, 1.0, 0.1)]
FORMAT = "response_format.json_schema"
NEEDED: dict[str, dict[str, Any]] = {
    "tools[0].function": {"tools": [{"type": "function"}]},
    SEARCH: {"tools": [{"type": "file_search"}]},
    STORE: {
        "tool_resources": {
            "file_search": {
                "vector_stores": [
                    {
                        "chunking_strategy": {
                            "type": "static",
                            "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 50},
                        }
                    }
                ]
            }
        }
    },
    FORMAT: {"response_format": {"type": "json_schema"}},
    "truncation_strategy": {"truncation_strategy": {"type": "last_messages"}},
}
"""What must stand beside a field for the rest of the body to be right."""

RESOURCES = [
    at_most_items("tool_resources.code_interpreter.file_ids", "file-1", 20),
    at_most_items("tool_resources.file_search.vector_store_ids", "vs_1", 1),
]
ASSISTANT = [
    at_most("name", 256),
    at_most("description", 512),
    at_most("instructions", 256_000),
    at_most("model", 256),
    at_most_items("tools", CODE, 128),
    *RESOURCES,
    *SAMPLING,
    *between(f"{SEARCH}.max_num_results", 1, 50, 1),
    *between(f"{SEARCH}.ranking_options.score_threshold", 0.0, 1.0, 0.1),
]
MADE_WITH = [
    at_most_items("tool_resources.file_search.vector_stores", {}, 1),
    *between(f"{STORE}.max_chunk_size_tokens", 100, 4096, 1),
]
RUN = [
    at_most("model", 256),
    at_most("instructions", 256_000),
    at_most_items("tools", CODE, 20),
    *SAMPLING,
    *between("max_prompt_tokens", 256, LARGEST, 1),
    *between("max_completion_tokens", 256, LARGEST, 1),
    *between("truncation_strategy.last_messages", 1, LARGEST, 1),
]


def names(prefix: str) -> list[Bound]:
    """Bound a function's or a schema's name; only ASCII is allowed there."""
    text = "string too long. Expected a string with maximum length 64, but got a string with length 65 instead."
    pattern = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
    empty = "empty string. Expected a string with minimum length 1, but got an empty string instead."
    return [
        Bound(f"{prefix}.name", "x" * 64, "x" * 65, text, "string_above_max_length"),
        Bound(f"{prefix}.name", "get_Quote-2", "get quote", pattern, "invalid_value"),
        Bound(f"{prefix}.name", "x", "", empty, "empty_string"),
    ]


ASSISTANT += [*names("tools[0].function"), *names(FORMAT)]
RUN += [*names("tools[0].function"), *names(FORMAT)]


def cases(path: str, bounds: list[Bound]) -> list[Any]:
    """Return a case for each bound on a path."""
    return [pytest.param(path, bound, id=f"{path} {bound.param} {bound.code}") for bound in bounds]


CASES = [
    *cases("/v1/assistants", ASSISTANT + MADE_WITH),
    *cases("/v1/assistants/{assistant}", ASSISTANT),
    *cases("/v1/threads", MADE_WITH + RESOURCES),
    *cases("/v1/threads/{thread}", RESOURCES),
    *cases("/v1/threads/{thread}/messages", [at_most("content", 256_000)]),
    *cases("/v1/threads/{thread}/runs", [*RUN, at_most("additional_instructions", 256_000)]),
    *cases("/v1/threads/runs", RUN),
]
BESIDES: dict[str, dict[str, Any]] = {
    "/v1/threads/{thread}/messages": {"role": "user", "content": "x"},
    "/v1/threads/{thread}/runs": {"assistant_id": "asst_unknown"},
    "/v1/threads/runs": {"assistant_id": "asst_unknown"},
}


def body_for(path: str, param: str, value: Any) -> dict[str, Any]:
    """Return a body in which only this field can be wrong."""
    needed = next((NEEDED[prefix] for prefix in NEEDED if param.startswith(prefix)), {})
    return merged({**BESIDES.get(path, {}), **needed}, body_with(param, value))


@pytest.fixture(scope="module")
async def objects(shared_api: Any) -> dict[str, str]:
    return {"assistant": await new_assistant(shared_api), "thread": await new_thread(shared_api)}


@pytest.mark.parametrize(("path", "bound"), CASES)
async def test_a_value_on_the_bound_is_taken_and_one_beyond_is_refused(
    shared_api: Any, objects: dict[str, str], path: str, bound: Bound
) -> None:
    where = path.format(**objects)
    answer = await shared_api.post(where, json=body_for(path, bound.param, bound.beyond))
    assert_refused(answer, f"Invalid '{bound.param}': {bound.text}", param=bound.param, code=bound.code)
    answer = await shared_api.post(where, json=body_for(path, bound.param, bound.within))
    if BESIDES.get(path, {}).get("assistant_id"):  # so that no run starts: the body was read, the assistant not found
        assert_refused(answer, "No assistant found with id 'asst_unknown'.", status=404)
    else:
        assert answer.status_code == 200, answer.text


async def test_a_model_has_a_name(shared_api: Any) -> None:
    answer = await shared_api.post("/v1/assistants", json={"model": ""})
    text = "Invalid 'model': empty string. Expected a string with minimum length 1, but got an empty string instead."
    assert_refused(answer, text, param="model", code="empty_string")


async def test_a_thread_takes_no_more_than_its_most_messages_at_once(shared_api: Any) -> None:
    message = b'{"role":"user","content":"x"}'
    body = b'{"messages":[' + b",".join([message] * 100_001) + b"]}"
    answer = await shared_api.post("/v1/threads", content=body)
    text = (
        "Invalid 'messages': array too long. Expected an array with maximum length 100000, "
        "but got an array with length 100001 instead."
    )
    assert_refused(answer, text, param="messages", code="array_above_max_length")

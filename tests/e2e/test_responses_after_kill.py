"""The API is killed outright in the middle of responses, or stopped; started again on the same file it goes on."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.conformance.response_order import GAP, ResponseOrder
from tests.conformance.sse import parse
from tests.e2e.streaming import client_of
from tests.fixtures.forks import Fork
from tests.fixtures.processes import api_process
from tests.fixtures.servers import API_KEY

SETTLED_WITHIN_S = 30
WORDS = 60
TURNS = 10
REPEAT = {"input": f"repeat {WORDS} words"}
Json = dict[str, Any]


@contextmanager
def served(folder: Path, model_url: str, **env: str) -> Iterator[tuple[httpx2.Client, Fork]]:
    """Run an API over this test's file; yield a client and the process."""
    env |= {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db",
        "MODEL_URL": model_url,
        "RUN_FLUSH_MS": "20",
    }
    with api_process(folder / "log", env) as (url, process), client_of(url) as client:
        yield client, process


def post(api: httpx2.Client, path: str, body: Any = None) -> Json:
    answer = api.post(path, json=body or {})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def get(api: httpx2.Client, path: str, **query: Any) -> Json:
    answer = api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def became(api: httpx2.Client, response: Json, status: str) -> Json:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while (found := get(api, f"/responses/{response['id']}"))["status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def text_of(response: Json) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def events_of(api: httpx2.Client, response: Json, **query: Any) -> list[Json]:
    """Read a response's events to their end; they are in order."""
    answer = api.get(f"/responses/{response['id']}", params={"stream": "true", **query})
    order = ResponseOrder(resumed=True)
    for event in parse(answer.content):
        order.feed(event.event, json.loads(event.data))
    order.finish()
    return [json.loads(event.data) for event in parse(answer.content)]


def begun(stream: httpx2.Response, deltas: int) -> list[Json]:
    """Read a live stream until so many pieces of text have come."""
    found: list[Json] = []
    for line in stream.iter_lines():
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
        if sum(event["type"].endswith("text.delta") for event in found) == deltas:
            return found
    raise AssertionError("the stream ended")


def test_every_response_goes_on_after_the_api_was_killed(
    slow_model_url: str, paced_model_url: str, tmp_path: Path
) -> None:
    with served(tmp_path, slow_model_url, RUN_CONCURRENCY="2") as (api, process):
        conversation = post(api, "/conversations")["id"]
        told = post(api, "/responses", {**REPEAT, "background": True, "conversation": conversation})
        with api.stream("POST", "/responses", json={**REPEAT, "stream": True}) as stream:
            seen = begun(stream, 10)
            waiting = post(api, "/responses", {"input": "say exactly: at last", "background": True})
            process.kill()
            process.wait()
    streamed = seen[0]["response"]
    with served(tmp_path, paced_model_url) as (api, _):
        input_items = get(api, f"/responses/{streamed['id']}/input_items")["data"]
        assert [item["content"][0]["text"] for item in input_items] == [REPEAT["input"]]
        rest = events_of(api, streamed, starting_after=seen[-1]["sequence_number"])
        assert rest[0]["sequence_number"] > seen[-1]["sequence_number"] + GAP // 2  # nothing that was told is told anew
        assert (rest[-1]["type"], len(text_of(rest[-1]["response"]).split())) == ("response.completed", WORDS)
        for response in (told, streamed):
            assert len(text_of(became(api, response, "completed")).split()) == WORDS
        assert text_of(became(api, waiting, "completed")) == "at last"
        whole = events_of(api, streamed)
        assert [event["item"]["status"] for event in whole if event["type"] == "response.output_item.done"] == [
            *("incomplete", "completed")
        ]
        items = get(api, f"/conversations/{conversation}/items", order="asc")["data"]
        assert [item["role"] for item in items] == ["user", "assistant"]
        after = post(api, "/responses", {"input": "say exactly: on", "conversation": conversation})
        assert text_of(after) == "on"


def test_a_stop_ends_streams_with_an_error_and_what_is_stored_goes_on_at_the_next_start(
    slow_model_url: str, paced_model_url: str, tmp_path: Path
) -> None:
    answers: list[httpx2.Response] = []
    with served(tmp_path, slow_model_url, SHUTDOWN_GRACE_S="0.2") as (api, process), ExitStack() as streams:

        def wait_for_the_whole() -> None:
            with client_of(str(api.base_url)) as own:
                answers.append(own.post("/responses", json=REPEAT))

        waiting = threading.Thread(target=wait_for_the_whole)
        waiting.start()
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while not get(api, "/responses")["data"]:
            assert time.monotonic() < deadline
        lines = []
        for store in (True, False):
            asked = api.stream("POST", "/responses", json={**REPEAT, "stream": True, "store": store})
            lines.append(streams.enter_context(asked).iter_lines())
            while "text.delta" not in next(lines[-1]):
                pass
        process.send_signal(signal.SIGTERM)
        for rest in lines:
            assert [line for line in rest if line.startswith("event: ")][-1] == "event: error"
        waiting.join(SETTLED_WITHIN_S)
        process.wait(SETTLED_WITHIN_S)
    plain = answers[0].json()
    assert (answers[0].status_code, plain["status"]) == (200, "in_progress")
    with served(tmp_path, paced_model_url) as (api, _):
        assert len(text_of(became(api, plain, "completed")).split()) == WORDS
        assert len(get(api, "/responses")["data"]) == 2


def test_ten_turns_of_a_conversation_with_a_restart_in_between(stand_in_url: str, tmp_path: Path) -> None:
    texts = [str(number) for number in range(TURNS)]
    with served(tmp_path, stand_in_url) as (api, _):
        conversation = post(api, "/conversations")["id"]
        for text in texts[: TURNS // 2]:
            post(api, "/responses", {"input": f"say exactly: {text}", "conversation": conversation})
        chained = post(api, "/responses", {"input": "say exactly: chained"})
    with served(tmp_path, stand_in_url) as (api, _):
        counted = []
        for text in texts[TURNS // 2 :]:
            last = post(api, "/responses", {"input": f"say exactly: {text}", "conversation": conversation})
            counted.append(last["usage"]["input_tokens"])
        items = get(api, f"/conversations/{conversation}/items", order="asc", limit=100)["data"]
        said = [text for number in texts for text in (f"say exactly: {number}", number)]
        assert [item["content"][0]["text"] for item in items] == said
        assert counted == sorted(set(counted))  # each turn is shown all that was before
        again = post(api, "/responses", {"input": "say exactly: on", "previous_response_id": chained["id"]})
        assert text_of(again) == "on"

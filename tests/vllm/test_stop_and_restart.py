"""The API is stopped while streams are open: what ends in time is told whole, the next start finishes the rest."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import openai

from tests.vllm.api import GRACE_S, STOP_WITHIN_S, Api, running_api
from tests.vllm.engine import MODEL, Engine
from tests.vllm.lines import INSTRUCTIONS, LONG, LONG_CHARACTERS, STORY, TELL_A_STORY
from tests.vllm.talk import POLL_MS, answer_of, events_on, said_in

IDLE_WITHIN_S = 15.0
LONG_STREAMS = 3  # together they take vLLM 5 s and more: longer than the grace
CUT_WITHIN_S = GRACE_S + 3

Events = list[tuple[str, Any]]


def stream_to_its_end(client: openai.OpenAI, assistant_id: str, begun: Event, form: Any) -> Events:
    """Tell a story on a new thread; note its first words; return all that came until the server closed the stream."""
    threads = client.beta.threads.with_streaming_response
    thread: Any = {"messages": [{"role": "user", "content": TELL_A_STORY}]}
    events: Events = []
    with threads.create_and_run(
        assistant_id=assistant_id, thread=thread, response_format=form, stream=True
    ) as response:
        for event in events_on(response.iter_lines()):
            events.append(event)
            if event[0] == "thread.message.delta":
                begun.set()
    return events


def client_of(api: Api) -> openai.OpenAI:
    return openai.OpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60)


def stop_under_streams(api: Api, client: openai.OpenAI) -> list[Events]:
    """Begin one short stream and some long ones, then SIGTERM; return what each brought. The short one is the last."""
    assistant = client.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0)
    forms = [LONG] * LONG_STREAMS + ["auto"]
    begun = [Event() for _ in forms]
    with ThreadPoolExecutor(len(forms)) as readers:
        streams = [
            readers.submit(stream_to_its_end, client, assistant.id, event, form)
            for event, form in zip(begun, forms, strict=True)
        ]
        assert all(event.wait(15) for event in begun), "a stream did not begin"
        asked = time.monotonic()
        api.send(signal.SIGTERM)
        told = [stream.result(STOP_WITHIN_S) for stream in streams]
        streams_ended_s = time.monotonic() - asked
        assert api.wait(STOP_WITHIN_S) == 0
        print(f"streams ended {streams_ended_s:.2f} s, the API {time.monotonic() - asked:.2f} s after SIGTERM")
        assert streams_ended_s < CUT_WITHIN_S
    return told


def test_streams_open_at_a_sigterm_end_properly_and_the_next_start_finishes_their_runs(
    engine: Engine, tmp_path: Path
) -> None:
    engine.wait_until_idle(IDLE_WITHIN_S)
    with running_api(tmp_path, engine) as api:
        with client_of(api) as client:
            *cut, short = stop_under_streams(api, client)
        assert [name for name, _ in short[-2:]] == ["thread.run.completed", "done"]
        assert said_in(short) == STORY
        for events in cut:
            assert [name for name, _ in events[-2:]] == ["error", "done"]
            assert "stopping" in events[-2][1]["error"]["message"]
            assert said_in(events).startswith('{"story":')

        api.begin(engine)
        again = time.monotonic()
        with client_of(api) as client:
            for events in cut:
                run = next(data for name, data in events if name == "thread.run.created")
                ended = client.beta.threads.runs.poll(run["id"], thread_id=run["thread_id"], poll_interval_ms=POLL_MS)
                assert len(json.loads(answer_of(client, ended))["story"]) == LONG_CHARACTERS
            told = next(data for name, data in short if name == "thread.run.completed")
            assert (
                answer_of(client, client.beta.threads.runs.retrieve(told["id"], thread_id=told["thread_id"])) == STORY
            )
        print(f"{len(cut)} runs were finished {time.monotonic() - again:.2f} s after the next start")

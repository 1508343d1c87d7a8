"""Traffic of every kind: what programs do on a good day, and a little of what they do wrong."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tests.observability.stack import Stack

TEXT = "word " * 3000
IMPATIENT_S = 3.0
"""So long a client of what goes on waits, whatever is the matter."""
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def all_kinds(stack: Stack) -> None:
    """Make a bit of everything, so that every metric has something to tell."""
    assistant = stack.made("/v1/assistants", {"model": "llama"})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: carried_out(stack, assistant), range(8)))
        list(pool.map(lambda _: chat(stack, streamed=True), range(4)))
        # More than a thousand pages of log, so that it is moved into the file.
        list(pool.map(lambda _: stack.made("/v1/threads", {"messages": [message(TEXT)]}), range(500)))
    chat(stack, streamed=False)
    with_tools = stack.made("/v1/assistants", {"model": "llama", "tools": [TOOL]})
    carried_out(stack, with_tools, ended=("requires_action", "completed"))
    answer(stack)
    stack.call("GET", "/v1/models", key="sk-nobody")
    stack.call("GET", "/v1/nothing")


@contextmanager
def going_on(stack: Stack, every_s: float = 0.5) -> Iterator[None]:
    """Let a little of everything happen beside a block, whatever becomes of it."""
    over = threading.Event()
    assistant = stack.made("/v1/assistants", {"model": "llama"})

    def go_on() -> None:
        while not over.wait(every_s):
            with suppress(OSError, AssertionError, json.JSONDecodeError):
                chat(stack, streamed=True, timeout_s=IMPATIENT_S)
                answer(stack, timeout_s=IMPATIENT_S)
                begun(stack, assistant, timeout_s=IMPATIENT_S)
                stack.made("/v1/threads", {"messages": [message(TEXT * 10)] * 4}, timeout_s=IMPATIENT_S)

    going = threading.Thread(target=go_on)
    going.start()
    try:
        yield
    finally:
        over.set()
        going.join()


def message(text: str) -> dict[str, str]:
    """Return a user's message."""
    return {"role": "user", "content": text}


def chat(stack: Stack, *, streamed: bool, timeout_s: float = 30) -> int:
    """Ask for a chat completion; return the status."""
    body = {"model": "llama", "messages": [message("hello")], "stream": streamed}
    return stack.call("POST", "/v1/chat/completions", body, timeout_s=timeout_s)[0]


def answer(stack: Stack, *, timeout_s: float = 30) -> int:
    """Ask for a response; return the status."""
    return stack.call("POST", "/v1/responses", {"model": "llama", "input": "hello"}, timeout_s=timeout_s)[0]


def begun(stack: Stack, assistant: str, *, timeout_s: float = 30) -> tuple[str, str]:
    """Begin a run; return its path, and the run's id, or nothing when it was refused."""
    thread = stack.made("/v1/threads", {"messages": [message("hello")]}, timeout_s=timeout_s)
    status, body = stack.call("POST", f"/v1/threads/{thread}/runs", {"assistant_id": assistant}, timeout_s=timeout_s)
    return f"/v1/threads/{thread}/runs", json.loads(body)["id"] if status == 200 else ""


def carried_out(stack: Stack, assistant: str, *, ended: tuple[str, ...] = ("completed",)) -> None:
    """Begin a run and wait for its end."""
    path, run = begun(stack, assistant)
    deadline = time.monotonic() + 30
    while True:
        told = json.loads(stack.call("GET", f"{path}/{run}")[1])
        if told["status"] in ended:
            return
        assert told["status"] in ("queued", "in_progress"), told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)

"""What a connection may ask of a real server: sizes, seconds, and how many there may be at once."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.processes import api_process, stand_in
from tests.fixtures.servers import API_KEY
from tests.fixtures.wire import WireAnswer, logged, request, wire

CLIENT_TIMEOUT_S = 0.6
KEEP_ALIVE_S = 0.4
SLACK_S = 1.5
SLOW_TO_BEGIN = ("--first-token-ms", "900")
"""A stream is open for longer than a client may take to send its request."""
CONNECTIONS = 20
BODY_BYTES = 64 * 1024
LIST = request("GET", "/v1/assistants?limit=1")
TEXT = "é" * 250_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give where the servers keep their files: the API's log is called `log`."""
    return tmp_path_factory.mktemp("edge")


@pytest.fixture(scope="module")
def edge(folder: Path) -> Iterator[str]:
    """Give the URL of an API with little patience, and a model that says more than the kernel's buffers hold."""
    env = {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db",
        "CLIENT_TIMEOUT_S": str(CLIENT_TIMEOUT_S),
        "KEEP_ALIVE_S": str(KEEP_ALIVE_S),
        "CONNECTION_LIMIT": str(CONNECTIONS),
    }
    with (
        stand_in(folder / "standin", *SLOW_TO_BEGIN, "--token-ms", "0", "--max-model-len", "100000") as model_url,
        api_process(folder / "log", {**env, "MODEL_URL": model_url}) as (url, _),
    ):
        yield url
    assert "Traceback" not in (folder / "log").read_text()


def exchange(url: str, sent: bytes) -> WireAnswer:
    """Send bytes and read the answer."""
    with wire(url) as client:
        client.send(sent)
        return client.answer()


def assert_refused_and_closed(answer: WireAnswer, status: int, message: str) -> None:
    assert (answer.status, answer.error["type"]) == (status, "invalid_request_error")
    assert message in answer.error["message"]
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_head_a_byte_at_a_time_is_cut_off(edge: str) -> None:
    with wire(edge) as client:
        took = client.dripped(LIST[:-1] * 10, every_s=0.02)
        assert_refused_and_closed(client.answer(), 408, "did not arrive in time")
        assert client.rest() == b""
    assert CLIENT_TIMEOUT_S * 0.9 < took < CLIENT_TIMEOUT_S + SLACK_S


def test_a_body_a_byte_at_a_time_is_cut_off(edge: str) -> None:
    head = request("POST", "/v1/threads", "Content-Type: application/json", "Content-Length: 1000")
    with wire(edge) as client:
        client.send(head)
        took = client.dripped(b" " * 900, every_s=0.02)
        assert_refused_and_closed(client.answer(), 408, "did not arrive in time")
    assert CLIENT_TIMEOUT_S * 0.9 < took < CLIENT_TIMEOUT_S + SLACK_S


def test_what_follows_a_body_is_no_header(edge: str) -> None:
    sent = request("POST", "/v1/threads", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n"
    named = f"Authorization: Bearer {API_KEY}\r\n".encode()
    keyless = b"".join(line for line in sent.splitlines(keepends=True) if not line.startswith(b"Authorization"))
    assert keyless != sent
    assert exchange(edge, sent + named + b"\r\n").status == 200
    assert exchange(edge, keyless + named + b"\r\n").status == 401


def test_who_says_nothing_at_all_is_cut_off(edge: str) -> None:
    with wire(edge) as client:
        assert client.cut_off_after() < CLIENT_TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["silent", "line breaks"])
def test_an_idle_connection_is_closed(edge: str, said: bytes) -> None:
    with wire(edge) as client:
        client.send(LIST)
        assert client.answer().status == 200
        client.send(said)
        client.rest()  # times out when it stays open


def test_a_slow_body_that_keeps_moving_is_taken(edge: str) -> None:
    body = json.dumps({"metadata": {}}).encode().ljust(256 * 1024)
    pieces = [body[at : at + 32 * 1024] for at in range(0, len(body), 32 * 1024)]
    with wire(edge) as client:
        client.send(request("POST", "/v1/threads", f"Content-Length: {len(body)}"))
        began = time.monotonic()
        for number, piece in enumerate(pieces, start=1):
            client.send(piece)
            threading.Event().wait(began + number * CLIENT_TIMEOUT_S / 4 - time.monotonic())  # the line's speed
        assert time.monotonic() - began > 1.5 * CLIENT_TIMEOUT_S
        assert client.answer().status == 200


def test_what_comes_after_an_early_answer_earns_no_time(edge: str) -> None:
    with wire(edge) as client:
        client.send(request("POST", "/v1/threads", f"Content-Length: {10**12}"))
        assert client.answer().status == 413
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + CLIENT_TIMEOUT_S + SLACK_S:
                client.send(b" " * 4096)
                threading.Event().wait(0.01)


def test_a_body_that_says_that_it_is_too_large(edge: str) -> None:
    answer = exchange(edge, request("POST", "/v1/threads", f"Content-Length: {10 * 1024 * 1024 + 1}"))
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


def test_a_body_that_grows_too_large_without_saying_so(edge: str) -> None:
    piece = b"%x\r\n" % 2**20 + b" " * 2**20 + b"\r\n"
    with wire(edge) as client:
        client.send(request("POST", "/v1/threads", "Transfer-Encoding: chunked"))
        for _ in range(11):
            client.send(piece)
        answer = client.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (request("GET", "/v1/assistants?limit=1&x=" + "x" * 16 * 1024), 414, "at most 16384 bytes"),
        (request("GET", "/v1/assistants", *[f"x-{n}: y" for n in range(100)]), 431, "at most 100"),
        (request("GET", "/v1/assistants", "x-a: " + "y" * 32 * 1024), 431, "at most 32768 bytes"),
        (request("GET", "/v1/assistants", *[f"x-{n}: {'y' * 400}" for n in range(90)]), 431, "at most 32768 bytes"),
        (b"GET / HTTP/1.1\r\nx-a: " + b"y" * 10**6, 431, "at most 32768 bytes"),
        (b"GET /" + b"y" * 10**6, 414, "at most 16384 bytes"),
        (b"\r\n" * 50_000, 431, "at most 32768 bytes"),
        (b"no http at all\r\n\r\n", 400, "Invalid HTTP request"),
        (b"GET /v1/assistants HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "Invalid HTTP request"),
    ],
    ids=["URI", "count", "one header", "together", "endless header", "endless URI", "line breaks", "words", "lengths"],
)
def test_a_head_beyond_a_bound_is_refused_in_the_envelope(edge: str, sent: bytes, status: int, message: str) -> None:
    with wire(edge) as client:
        client.send(sent)
        assert_refused_and_closed(client.answer(), status, message)


def test_what_no_route_has_seen_is_counted(edge: str) -> None:
    with wire(edge) as client:
        client.send(b"no http at all\r\n\r\n")
        assert client.answer().status == 400
    told = exchange(edge, request("GET", "/metrics")).body.decode()
    (count,) = re.findall(
        r'^sovereign_http_requests_total{method="other",route="unmatched",status="400"} (\S+)$', told, re.MULTILINE
    )
    assert float(count) >= 1


def test_a_head_within_its_bounds_passes(edge: str) -> None:
    within = ["x-a: " + "y" * 14_000, *[f"x-{n}: y" for n in range(97)]]
    assert exchange(edge, request("GET", "/v1/assistants?limit=1&x=" + "x" * 16_000, *within)).status == 200


def test_requests_in_one_piece_are_all_answered_and_what_they_hold_is_no_head(edge: str) -> None:
    large = request("POST", "/v1/threads", body=b'{"metadata":{}}'.ljust(40_000))
    with wire(edge) as client:
        client.send(large + LIST[:20])
        assert client.answer().status == 200
        client.send(LIST[20:] + large + large)
        assert [client.answer().status for _ in range(3)] == [200, 200, 200]


def test_one_connection_too_many_is_told_so_and_health_is_still_answered(edge: str, folder: Path) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(wire(edge))
        one_more = stack.enter_context(wire(edge))
        one_more.send(LIST + request("GET", "/health/live"))
        answer = one_more.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.error["type"] == "service_unavailable_error"
        line = logged(folder / "log", answer.headers["x-request-id"])
        assert (line["message"], line["status"], line["level"]) == ("request", 503, "warning")
        assert one_more.answer().status == 200
    assert exchange(edge, LIST).status == 200


def test_far_too_many_are_closed_at_once(edge: str) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(wire(edge)) for _ in range(CONNECTIONS + 64 + 1)]
        assert clients[-1].cut_off_after() < CLIENT_TIMEOUT_S / 2
        clients[-2].send(LIST)
        assert clients[-2].answer().status == 503


def test_nobody_chooses_an_address_of_their_own(edge: str, folder: Path) -> None:
    answer = exchange(edge, request("GET", "/v1/assistants?limit=1", "X-Forwarded-For: 198.51.100.1"))
    assert logged(folder / "log", answer.headers["x-request-id"])["address"] == "127.0.0.1"


@pytest.fixture
def long_thread(edge: str) -> str:
    """Give a thread whose list of messages no socket buffer holds."""
    with httpx2.Client(base_url=edge, headers={"Authorization": f"Bearer {API_KEY}"}) as api:
        messages = [{"role": "user", "content": TEXT}] * 16
        thread: str = api.post("/threads", json={"messages": messages}).raise_for_status().json()["id"]
        return thread


@pytest.mark.parametrize("headers", [[], ["Connection: close"]], ids=["kept open", "closed after it"])
def test_an_answer_that_nobody_takes_is_cut_off(edge: str, long_thread: str, headers: list[str]) -> None:
    with wire(edge, receive_buffer_bytes=4096) as client:
        client.send(request("GET", f"/v1/threads/{long_thread}/messages?limit=100", *headers))
        assert client.cut_off_after() < CLIENT_TIMEOUT_S + SLACK_S


def test_a_slow_reader_that_keeps_reading_gets_it_all(edge: str, long_thread: str) -> None:
    with wire(edge, receive_buffer_bytes=64 * 1024) as client:
        client.send(request("GET", f"/v1/threads/{long_thread}/messages?limit=100", "Connection: close"))
        began, taken = time.monotonic(), 0
        while piece := client.socket.recv(64 * 1024):
            taken += len(piece)
            threading.Event().wait(began + taken / 7e6 - time.monotonic())  # 7 MB a second
    assert time.monotonic() - began > 1.5 * CLIENT_TIMEOUT_S
    assert taken > 16 * len(TEXT.encode())


def test_whoever_was_slow_once_is_not_cut_off_later(edge: str, long_thread: str) -> None:
    with wire(edge) as client:
        client.send(request("GET", f"/v1/threads/{long_thread}/messages?limit=100"))
        assert len(client.answer().body) > 16 * len(TEXT.encode())
        for _ in range(6):
            threading.Event().wait(CLIENT_TIMEOUT_S / 2 - 0.05)
            client.send(LIST)
            assert client.answer().status == 200


def test_a_stream_that_nobody_reads_is_cut_off_and_slows_no_other(edge: str) -> None:
    with httpx2.Client(base_url=edge, headers={"Authorization": f"Bearer {API_KEY}"}) as api:
        assistant = api.post("/assistants", json={"model": "sovereign-standin"}).json()["id"]
        run = {"assistant_id": assistant, "stream": True}
        with wire(edge, receive_buffer_bytes=4096) as deaf:
            thread = {"messages": [{"role": "user", "content": "repeat 20000 words"}]}
            deaf.send(request("POST", "/v1/threads/runs", body=json.dumps({**run, "thread": thread}).encode()))
            thread_id = json.loads(deaf.data_of("thread.created"))["id"]
            thread = {"messages": [{"role": "user", "content": "repeat 5 words"}]}
            heard = api.post("/threads/runs", json={**run, "thread": thread}).text
            assert heard.endswith("data: [DONE]\n\n")
            deaf.cut_off_after()
            assert b"[DONE]" not in deaf.rest()
        run_id = api.get(f"/threads/{thread_id}/runs").json()["data"][0]["id"]
        told = api.get(f"/threads/{thread_id}/runs/{run_id}/events").text
    assert "event: thread.run.completed" in told, "whoever reads on hears it all"
    assert told.count("event: thread.message.delta") > 19_000

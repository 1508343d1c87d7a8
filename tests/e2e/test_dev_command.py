"""`python -m ops dev`, from its first start in an empty folder to its end: what `just dev` is a thin wrapper of."""

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.e2e.dev_process import Dev, dev
from tests.fixtures.processes import free_port

CHILD_WITHIN_S = 10.0
SNIPPET_WITHIN_S = 20
OWN_KEY = "sk-a-key-of-my-own"


def answers(url: str) -> bool:
    """Tell whether anybody listens where a URL leads."""
    address = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((address.hostname, address.port)) == 0


def run_as_printed(snippet: str) -> list[str]:
    """Run a program from standard input, as if pasted; return what it wrote, in the pieces in which it came."""
    command = [sys.executable, "-u", "-"]
    env = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(snippet.encode())
        process.stdin.close()
        pieces = []
        while piece := os.read(process.stdout.fileno(), 65536):
            pieces.append(piece.decode())
        assert process.wait(SNIPPET_WITHIN_S) == 0
    return pieces


def test_the_first_start_prints_a_key_and_a_program_that_streams_an_answer(tmp_path: Path) -> None:
    port = free_port()
    with dev(tmp_path, {"API_PORT": str(port)}) as running:
        running.wait_until_ready()
        key, url = running.told("key"), running.told("Sovereign Assistant API")
        assert url == f"http://127.0.0.1:{port}/v1"
        assert key.startswith("sk-dev-")
        assert f'OpenAI(base_url="{url}", api_key="{key}")' in running.snippet()
        pieces = run_as_printed(running.snippet())
        assert "".join(pieces).startswith("[stand-in]")
        assert len(pieces) > 5
        model_url = running.told("model server")
        assert answers(model_url)
        assert running.press_ctrl_c() == 0
        assert not running.left_something_behind()
        assert not answers(url)
        assert not answers(model_url)
    kept = tmp_path / "data" / "dev_api_key"
    assert kept.read_text().strip() == key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (tmp_path / "data" / "sovereign_assistant.db").is_file()
    with dev(tmp_path, {"API_PORT": str(port)}) as again:
        again.wait_until_ready()
        assert again.told("key") == key


def test_the_environment_is_honoured_and_sigterm_stops_all_of_it(tmp_path: Path) -> None:
    port, model_port = free_port(), free_port()
    env = {"API_PORT": str(port), "STANDIN_PORT": str(model_port), "API_KEY": OWN_KEY}
    with dev(tmp_path, env) as running:
        running.wait_until_ready()
        assert running.told("key") == OWN_KEY
        assert running.told("model server") == f"http://127.0.0.1:{model_port}/v1"
        url = running.told("Sovereign Assistant API")
        assert httpx2.get(f"{url}/models", headers={"Authorization": f"Bearer {OWN_KEY}"}).status_code == 200
        assert httpx2.get(f"{url}/models", headers={"Authorization": "Bearer sk-another"}).status_code == 401
        assert running.terminate() == 0
        assert not running.left_something_behind()
        assert not answers(running.told("model server"))
    assert not (tmp_path / "data" / "dev_api_key").exists()


def test_a_model_server_of_ones_own_takes_the_stand_ins_place(tmp_path: Path, stand_in_url: str) -> None:
    with dev(tmp_path, {"API_PORT": str(free_port()), "MODEL_URL": stand_in_url}) as running:
        running.wait_until_ready()
        assert running.told("model server") == stand_in_url
        assert running.children() == []
        url, key = running.told("Sovereign Assistant API"), running.told("key")
        models = httpx2.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"}).json()
        assert [model["id"] for model in models["data"]] == ["sovereign-standin"]
        assert "".join(run_as_printed(running.snippet())).startswith("[stand-in]")
        assert running.press_ctrl_c() == 0


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.25, 0.5])
def test_a_stop_during_the_start_leaves_nothing_behind(tmp_path: Path, wait_s: float) -> None:
    with dev(tmp_path, {"API_PORT": str(free_port())}) as running:
        wait_for_child(running)
        time.sleep(wait_s)
        running.terminate()
        assert not running.left_something_behind()


def wait_for_child(running: Dev) -> None:
    deadline = time.monotonic() + CHILD_WITHIN_S
    while not running.children():
        assert running.process.poll() is None, running.printed()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_taken_stand_in_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {"API_PORT": str(free_port()), "STANDIN_PORT": str(taken.getsockname()[1])}
        with dev(tmp_path, env) as running:
            assert running.process.wait(CHILD_WITHIN_S) == 1
            assert not running.left_something_behind()
            assert "error: the model stand-in did not start; is STANDIN_PORT free?" in running.printed()

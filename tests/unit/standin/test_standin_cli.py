"""The command: what it prints, what it serves, how it stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.standin.cli import standin as command

ROOT = Path(__file__).parents[3]
RUN = "from ops.standin.cli import standin; standin()"


@pytest.fixture
def start():
    """Start the command and give the process with the URL it printed."""
    processes = []

    def run(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("stop", "loop"), [(signal.SIGTERM, "--uvloop"), (signal.SIGINT, "--no-uvloop")])
def test_it_prints_its_url_serves_and_stops_within_two_seconds_with_a_stream_open(start, stop, loop):
    process, url = start("--model", "tiny", "--token-ms", "50", loop)
    with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
        assert json.load(answer)["data"][0]["id"] == "tiny"
    body = json.dumps({"messages": [{"role": "user", "content": "repeat 900 words"}], "stream": True}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as stream:
        assert stream.readline().startswith(b"data: ")
        began = time.monotonic()
        process.send_signal(stop)
        out, err = process.communicate(timeout=5)
    assert time.monotonic() - began < 2
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(command, ["--port", port])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")


def test_the_help_names_every_option():
    output = CliRunner().invoke(command, ["--help"]).output
    for option in ("host", "port", "model", "max-model-len", "api-key", "first-token-ms", "token-ms"):
        assert f"--{option}" in output
    for option in ("max-num-seqs", "max-queued", "uvloop", "no-uvloop"):
        assert f"--{option}" in output

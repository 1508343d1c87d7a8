"""The client program in README.md, run as it stands there against `python -m ops dev`."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.dev_process import dev
from tests.fixtures.processes import ROOT, free_port

README = ROOT / "README.md"
README_PORT = 8001
PROGRAM_WITHIN_S = 20


def client_program() -> str:
    """Return the first Python block of the README that makes a client."""
    if not README.is_file():
        reason = "README.md does not exist yet"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    program = next((block for block in blocks if "OpenAI(" in block), None)
    assert program is not None, "README.md has no ```python block with `OpenAI(`"
    return str(program)


def is_free(port: int) -> bool:
    """Tell whether a port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_the_readmes_client_program_streams_an_answer_as_it_stands(tmp_path: Path) -> None:
    program = client_program()
    assert f"http://127.0.0.1:{README_PORT}/v1" in program
    assert 'os.environ["API_KEY"]' in program
    port = README_PORT if is_free(README_PORT) else free_port()
    env = {} if port == README_PORT else {"API_PORT": str(port)}
    with dev(tmp_path, env) as running:
        running.wait_until_ready()
        done = subprocess.run(
            [sys.executable, "-c", program.replace(str(README_PORT), str(port))],
            env={"PATH": os.environ["PATH"], "API_KEY": running.told("key")},
            capture_output=True,
            text=True,
            timeout=PROGRAM_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "[stand-in]" in done.stdout

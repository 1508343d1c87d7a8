"""A host beyond this machine: a network namespace with a cable to it, which answers whoever can reach it.

It knows no way back to addresses of containers, as no host on a real network does: only what this machine masquerades
gets an answer.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "sovereign-out"
OURS, THEIRS, PORT = "10.203.99.1", "10.203.99.2", 8099
CABLE = (
    f"ip netns add {NAME}",
    f"ip link add {NAME} type veth peer name peer netns {NAME}",
    f"ip addr add {OURS}/30 dev {NAME}",
    f"ip link set {NAME} up",
    f"ip -n {NAME} addr add {THEIRS}/30 dev peer",
    f"ip -n {NAME} link set peer up",
)


@contextmanager
def a_host_outside() -> Iterator[tuple[str, int]]:
    """Give the address and port of a host beyond this machine. Needs root."""
    subprocess.run(["ip", "netns", "del", NAME], capture_output=True, check=False)
    server = ["ip", "netns", "exec", NAME, sys.executable, "-m", "http.server", str(PORT), "--bind", THEIRS]
    try:
        for line in CABLE:
            subprocess.run(line.split(), capture_output=True, check=True)
        with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until_it_answers()
                yield THEIRS, PORT
            finally:
                process.kill()
    finally:
        subprocess.run(["ip", "netns", "del", NAME], capture_output=True, check=False)


def wait_until_it_answers() -> None:
    """Wait for the server, at most ten seconds."""
    ask = [sys.executable, "-c", connecting(THEIRS, PORT)]
    for _ in range(50):
        if subprocess.run(ask, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError("the host outside does not answer")


def connecting(host: str, port: int) -> str:
    """Return a program that connects and says so."""
    return f"import socket; socket.create_connection(({host!r}, {port}), 3); print('connected')"

"""Object ids: a prefix and 24 alphanumerics that sort by creation within a process and nearly so across them."""

import os
import threading
import time
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SUFFIX_LENGTH = 24
# What an id begins with, by the name under which clients send it.
ID_PREFIXES = {
    "assistant_id": "asst",
    "thread_id": "thread",
    "message_id": "msg",
    "run_id": "run",
    "step_id": "step",
    "key_id": "key",
    "project_id": "proj",
    "completion_id": "chatcmpl",
    "conversation_id": "conv",
    "response_id": "resp",
}
COMPLETION_PREFIX = "chatcmpl-"
TIME_DIGITS = 8
"""How many digits of an id, the first ones, are of the time at which it was made, in milliseconds since 1970."""
_RANDOM_DIGITS = SUFFIX_LENGTH - TIME_DIGITS
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


def base62(number: int, digits: int) -> str:
    """Write a number with so many digits of 62, an even number of them."""
    out = []
    for _ in range(digits // 2):
        number, pair = divmod(number, 3844)
        out.append(_PAIRS[pair])
    return "".join(reversed(out))


def _random(bits: int) -> int:
    """Return a number of so many bits, a multiple of 8, that nobody can foretell."""
    return int.from_bytes(os.urandom(bits // 8), "big")


def millis_of(object_id: str) -> int:
    """Return when an id of ours was made, in milliseconds since 1970. Raises ValueError for what is no such id."""
    suffix = object_id.rpartition("_")[2]
    if len(suffix) != SUFFIX_LENGTH:
        raise ValueError("not an id of ours")
    millis = 0
    for digit in suffix[:TIME_DIGITS]:
        millis = millis * len(ALPHABET) + ALPHABET.index(digit)
    return millis


class IdSource:
    """Makes ids; two of one source never collide and always sort in the order they were made."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._millis = 0
        self._head = base62(0, TIME_DIGITS)
        self._tail = 0

    def new(self, prefix: str) -> str:
        """Return `<prefix>_` and 24 alphanumerics."""
        return f"{prefix}_{self.suffix()}"

    def suffix(self) -> str:
        """Return 24 alphanumerics: 8 of the time in milliseconds, 16 random but rising."""
        with self._lock:
            millis = self._clock_ns() // 1_000_000
            if millis > self._millis:  # 16 digits hold 95 bits, and more than 10^9 steps on top of 88
                self._millis, self._tail = millis, _random(88)
                self._head = base62(millis, TIME_DIGITS)
            else:  # the same millisecond, or a clock that went back: go on rising
                self._tail += 1 + _random(64)
            return self._head + base62(self._tail, _RANDOM_DIGITS)


_SOURCE = IdSource()


def new_id(prefix: str) -> str:
    """Return a new id of this process, for instance `new_id("msg")`."""
    return _SOURCE.new(prefix)


def twin(object_id: str, prefix: str) -> str:
    """Return the other name of an object that has two: `thread_x` is `conv_x`, `run_x` is `resp_x`, `call_x` `fc_x`."""
    return f"{prefix}_{object_id.partition('_')[2]}"


def new_completion_id() -> str:
    """Return a new id of a chat completion: `chatcmpl-`, as clients know it, and 24 alphanumerics."""
    return f"{COMPLETION_PREFIX}{_SOURCE.suffix()}"


def id_pattern(prefix: str) -> str:
    """Return the regular expression of what is taken for an id of a kind, ours or another server's."""
    return f"^{prefix}[A-Za-z0-9_-]*$"

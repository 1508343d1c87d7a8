"""An end for what may hang: the SDK's pollers wait for ever for a run that never ends."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ended_within(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes longer. Blocks must not be nested: a process has one alarm."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"this took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

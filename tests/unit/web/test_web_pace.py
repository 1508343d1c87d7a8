"""Being done in time or moving at a pace: under a clock that only the test moves."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from app.web.pace import BYTES_PER_S, Pace


class Clock:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None], list[bool]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        cancelled = [False]
        self.timers.append((self.now + delay_s, callback, cancelled))

        class Timer:
            def cancel(self) -> None:
                cancelled[0] = True

        return Timer()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until and not timer[2][0]]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = until


class Client:
    """What a client has moved, and when it was found too slow."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.moved = 0
        self.late_at: list[float] = []
        loop = cast(asyncio.AbstractEventLoop, self.clock)
        self.pace = Pace(loop, 10.0, lambda: self.moved, lambda: self.late_at.append(self.clock.now))


def test_who_moves_nothing_is_late_once() -> None:
    client = Client()
    client.pace.begin()
    client.clock.wait(100)
    assert client.late_at == [10.0]


def test_who_keeps_the_pace_may_go_on_and_who_falls_below_it_is_late() -> None:
    client = Client()
    client.pace.begin()
    for _ in range(5):
        client.clock.wait(5)
        client.moved += 10 * BYTES_PER_S
        client.clock.wait(5)
    assert client.late_at == []
    client.moved += 10 * BYTES_PER_S - 1
    client.clock.wait(100)
    assert client.late_at == [60.0]


def test_haste_at_first_earns_no_leisure_later() -> None:
    client = Client()
    client.pace.begin()
    client.moved = 1000 * BYTES_PER_S
    client.clock.wait(100)
    assert client.late_at == [20.0]


def test_whoever_was_in_time_is_not_late_afterwards() -> None:
    client = Client()
    client.pace.begin()
    client.clock.wait(9)
    client.pace.end()
    client.pace.end()
    client.clock.wait(100)
    assert client.late_at == []


def test_to_begin_again_while_it_runs_changes_nothing_and_after_the_end_starts_anew() -> None:
    client = Client()
    client.pace.begin()
    client.clock.wait(6)
    client.pace.begin()
    client.clock.wait(6)
    assert client.late_at == [10.0]
    client.pace.begin()
    client.clock.wait(9)
    assert client.late_at == [10.0]
    client.clock.wait(1)
    assert client.late_at == [10.0, 22.0]

"""Random orders of what may happen (machine.py); after each step the rules hold (invariants.py)."""

import asyncio
import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from app.db.opening import open_database
from tests.e2e.deadline import ended_within
from tests.faults.invariants import COVERED
from tests.faults.machine import RunsOfAServerThatDies

EXAMPLES = os.environ.get("FAULTS_EXAMPLES")
"""A number makes the examples new ones each time; without it they are the same everywhere."""
USUAL_EXAMPLES = 160
STEPS_OF_EXAMPLE = 30
WITHIN_S = 240
MUST_HAPPEN = {
    "crashes",
    "lost leases",
    "outputs",
    "failures",
    "completed",
    "cancelled when queued",
    "cancelled when in_progress",
    "cancelled when requires_action",
    "expired",
    "failed",
    "incomplete",
}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Make one empty database that every example copies: migrations take longer than an example."""

    async def make() -> None:
        await (await open_database(f"sqlite:///{tmp_path}/empty.db")).close()

    asyncio.run(make())
    return tmp_path / "empty.db"


def test_no_order_of_calls_chunks_and_crashes_breaks_a_rule(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = settings(
        max_examples=int(EXAMPLES or USUAL_EXAMPLES),
        stateful_step_count=STEPS_OF_EXAMPLE,
        deadline=None,
        derandomize=EXAMPLES is None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with ended_within(WITHIN_S):
        run_state_machine_as_test(partial(RunsOfAServerThatDies, empty), settings=bounds)
    with capsys.disabled():
        print("\n" + "\n".join(f"{what:>32}: {times}" for what, times in sorted(COVERED.items())))
    assert COVERED.keys() >= MUST_HAPPEN

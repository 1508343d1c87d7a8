"""Events after a crash are numbered past anything that the dead process may have told."""

import pytest

from app.engine.bus import Bus
from app.engine.events import TextAdded, TurnQueued, TurnRequeued, TurnStarted
from app.engine.turn import NUMBERS_LEFT, Stamped, Turn, TurnSpec

SPEC = TurnSpec(
    run_id="run_a",
    thread_id="thread_a",
    project_id="proj_default",
    assistant_id=None,
    fence=1,
    expires_at=0,
    model="m",
    instructions="",
)
ON_DISK = [Stamped(1, TurnQueued(at=0)), Stamped(2, TurnStarted(at=0))]
TOLD_BEFORE_THE_CRASH = 11


def requeued() -> list[Stamped]:
    turn = Turn(SPEC, ON_DISK)
    turn.leave_numbers()
    return ON_DISK + turn.stamp((TurnRequeued(at=1),))


def test_the_next_attempt_is_numbered_above_what_was_told_and_lost() -> None:
    assert requeued()[-1].seq == 2 + NUMBERS_LEFT + 1 > TOLD_BEFORE_THE_CRASH


def test_a_turn_rebuilt_from_events_with_a_gap_goes_on_counting_after_it() -> None:
    turn = Turn(SPEC, requeued())
    assert turn.stamp((TurnStarted(at=2),))[0].seq == requeued()[-1].seq + 1


@pytest.mark.parametrize("seen", [0, 2, TOLD_BEFORE_THE_CRASH])
def test_a_topic_sends_readers_from_before_the_gap_to_the_journal(seen: int) -> None:
    topic = Bus().open("run_a", requeued())
    assert topic.after(seen) is None
    newest = requeued()[-1].seq
    topic.publish([Stamped(newest + 1, TextAdded(text="x"))])
    assert [stamped.seq for stamped in topic.after(newest - 1) or []] == [newest, newest + 1]

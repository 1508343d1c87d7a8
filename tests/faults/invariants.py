"""The rules that hold after each step of the state machine, whatever happened."""

from collections import Counter
from itertools import pairwise

from hypothesis.stateful import RuleBasedStateMachine, invariant

from app.engine.lifecycle import ENDED
from tests.faults.puppets import Told
from tests.faults.snapshot import Snapshot, stored_text, texts_told

COVERED: Counter[str] = Counter()
"""How often what happened, over all examples."""


class Rules(RuleBasedStateMachine):
    """What must be so. `machine.py` says what may happen."""

    disk: Snapshot

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, str] = {}
        self.accepted: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.told: list[Told] = []

    @invariant()
    def a_thread_is_locked_by_the_one_run_that_is_active(self) -> None:
        """Neither two, nor a lock without a run, nor a run without its lock."""
        active = [(run.thread_id, run.id) for run in self.disk.runs.values() if run.status not in ENDED]
        locks = [(row.id, row.active_run_id) for row in self.disk.threads.values() if row.active_run_id is not None]
        assert sorted(active) == sorted(locks)

    @invariant()
    def an_end_is_for_good(self) -> None:
        """No run that was accepted vanishes, and none that ended changes."""
        for run in self.accepted.keys() - self.deleted:
            assert run in self.disk.runs
        for run in self.disk.runs.values():
            assert (run.ended_at is not None) == (run.status in ENDED)
            if run.status in ENDED:
                COVERED[run.status] += run.id not in self.ends
                assert self.ends.setdefault(run.id, run.status) == run.status

    @invariant()
    def a_run_makes_one_message_between_two_rounds_of_calls(self) -> None:
        """An attempt that was given up leaves nothing behind."""
        for run in self.disk.runs.values():
            made = self.disk.made[run.id]
            kinds = [kind for _, kind, _ in made]
            assert ("message", "message") not in list(pairwise(kinds)), kinds
            going_on = [kind for _, kind, row in made if row.status == "in_progress"]
            if run.status in ENDED | {"queued"}:
                assert going_on == []
            elif run.status == "requires_action":
                assert going_on == ["calls"]
            if run.status == "completed":
                assert kinds[-1] == "message"
                assert made[-1][2].status == "completed"

    @invariant()
    def what_was_told_is_what_is_stored(self) -> None:
        """Deltas make up the message that ended, and that message is on disk."""
        for told in self.told:
            for message, deltas, whole in texts_told(told.events):
                assert deltas == whole
                if told.run_id not in self.deleted and message not in self.disk.given_up:
                    assert stored_text(self.disk.messages[message]) == whole

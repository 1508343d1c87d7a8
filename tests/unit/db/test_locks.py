"""Which chats' locks have lapsed, told by their ids alone."""

import time

from app.db.locks import CHAT_HELD_S, lapsed
from app.kit.ids import COMPLETION_PREFIX, IdSource, new_completion_id

BEGAN = 1_700_000_000


def chat_id_of(at: float) -> str:
    return COMPLETION_PREFIX + IdSource(lambda: int(at * 1e9)).suffix()


def test_the_lock_of_a_chat_lapses_to_the_second() -> None:
    assert chat_id_of(BEGAN) >= lapsed(BEGAN + CHAT_HELD_S)
    assert chat_id_of(BEGAN + 0.999) >= lapsed(BEGAN + CHAT_HELD_S)
    assert chat_id_of(BEGAN + 0.999) < lapsed(BEGAN + CHAT_HELD_S + 1)


def test_ids_that_are_made_now_have_not_lapsed_and_lapse_in_time() -> None:
    now = int(time.time())
    assert new_completion_id() > lapsed(now)
    assert new_completion_id() < lapsed(now + CHAT_HELD_S + 2)


def test_no_run_ever_lapses() -> None:
    assert min("run_0", lapsed(2**40)) == lapsed(2**40) == max(lapsed(0), lapsed(2**40))
    assert lapsed(0) == lapsed(CHAT_HELD_S) == COMPLETION_PREFIX + "0" * 8

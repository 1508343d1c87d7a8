"""Ids that lines get where theirs are taken: always the same ones, of the usual form, twins staying twins."""

import re

from app.kit.ids import new_id, twin
from app.moving.naming import OTHERS, names, renamed


def test_an_object_has_its_own_id_first_and_then_others_that_are_always_the_same() -> None:
    own = new_id("msg")
    found = list(names("proj_1", own))
    assert found == list(names("proj_1", own))
    assert (found[0], len(set(found)), len(found)) == (own, OTHERS + 1, OTHERS + 1)
    assert all(re.fullmatch("msg_[0-9A-Za-z]{24}", name) for name in found)
    assert not set(found) & set(list(names("proj_2", own))[1:])


def test_other_ids_go_on_sorting_by_the_time_at_which_the_first_was_made() -> None:
    own = new_id("thread")
    assert {name[:15] for name in names("proj_1", own)} == {own[:15]}


def test_foreign_ids_get_ids_of_the_usual_length() -> None:
    for own in ("msg_abc", "msg_" + "x" * 56, "msg_" + "é" * 24, "msg_with-dashes_and_more_abc"):
        assert re.fullmatch("msg_[0-9A-Za-z]{24}", renamed("proj_1", own))


def test_what_has_two_names_goes_on_having_two() -> None:
    run = new_id("run")
    assert twin(renamed("proj_1", run), "resp") == renamed("proj_1", twin(run, "resp"))

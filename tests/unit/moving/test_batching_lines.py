"""Lines of a file become batches of a bounded size; what belongs together stays together where it fits."""

import json
from io import BytesIO
from typing import Any

import pytest

from ops.moving import batching
from ops.moving.batching import BATCH_LINES, Bad, Batch, batches, numbered
from ops.moving.progress import line_of
from tests.integration.moving.household import AT, Json, message, thread


def file_of(*lines: Any) -> BytesIO:
    return BytesIO(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines))


def batched(*lines: Any, most: int = batching.BATCH_BYTES) -> list[list[str] | int]:
    """Return the ids in each batch, and the numbers of bad lines."""
    found = batches(numbered(file_of(*lines)), most)
    return [one.number if isinstance(one, Bad) else [entry.line.id for entry in one.entries] for one in found]


def newest_first(count: int, name: str = "thread_1") -> list[Json]:
    return [message(number, name, position=None) for number in range(count, 0, -1)]


def test_lines_keep_their_numbers_and_empty_ones_are_passed_over() -> None:
    found = list(batches(numbered(file_of(thread(), b"", b"  ", b"x", thread("thread_2")))))
    [bad] = [one for one in found if isinstance(one, Bad)]
    [batch] = [one for one in found if isinstance(one, Batch)]
    assert (bad.number, str(bad.reason)) == (4, "It is not JSON.")
    assert [entry.number for entry in batch.entries] == [1, 5]


def test_a_last_line_without_an_end_is_a_line() -> None:
    assert [number for number, _ in numbered(BytesIO(b'{"a": 1}\n{"b": 2}'))] == [1, 2]


def test_a_batch_has_so_many_objects_and_bytes() -> None:
    threads = [thread(f"thread_{number}") for number in range(2 * BATCH_LINES + 1)]
    assert [len(ids) for ids in batched(*threads) if isinstance(ids, list)] == [BATCH_LINES, BATCH_LINES, 1]
    size = len(json.dumps(threads[0]))
    assert [len(ids) for ids in batched(*threads[:5], most=2 * size) if isinstance(ids, list)] == [2, 2, 1]


def test_an_object_that_is_larger_than_a_batch_is_one_by_itself() -> None:
    assert batched(thread(), message(1, content="x" * 5000), thread("thread_2"), most=1000) == [
        ["thread_1"],
        ["msg_1"],
        ["thread_2"],
    ]


def test_messages_of_one_thread_that_want_an_order_stay_in_one_batch() -> None:
    first = [thread(f"thread_x{number}") for number in range(BATCH_LINES - 1)]
    [_, together] = batched(*first, *newest_first(3))
    assert together == ["msg_3", "msg_2", "msg_1"]
    placed = [message(number) for number in (1, 2, 3)]
    assert [len(ids) for ids in batched(*first, *placed) if isinstance(ids, list)] == [BATCH_LINES, 2]


def test_more_of_them_than_a_batch_holds_are_several() -> None:
    assert [len(ids) for ids in batched(*newest_first(BATCH_LINES + 2)) if isinstance(ids, list)] == [BATCH_LINES, 2]


def test_a_thread_with_messages_goes_whole_and_oldest_first_where_it_fits() -> None:
    first = [thread(f"thread_x{number}") for number in range(BATCH_LINES - 1)]
    [_, together] = batched(*first, thread(messages=newest_first(2)))
    assert together == ["thread_1", "msg_1", "msg_2"]
    [one, two] = batched(thread(messages=newest_first(BATCH_LINES)))
    assert (len(one), len(two)) == (BATCH_LINES, 1)  # type: ignore[arg-type]  # lists: no line is bad


def test_a_project_begins_a_batch_and_one_that_holds_nothing_is_sent_too() -> None:
    projects = [{"object": "project", "id": f"proj_{n}", "created_at": AT, "name": "x"} for n in (1, 2, 3)]
    found = list(batches(numbered(file_of(thread(), projects[0], thread("thread_2"), projects[1], projects[2]))))
    sent = [(one.project and one.project.id, len(one.entries)) for one in found if isinstance(one, Batch)]
    assert sent == [(None, 1), ("proj_1", 1), ("proj_2", 0), ("proj_3", 0)]


def test_a_line_that_is_too_long_is_read_past() -> None:
    text = b"x" * (batching.LINE_BYTES + 5) + b"\n" + json.dumps(thread()).encode()
    found = list(batches(numbered(BytesIO(text))))
    assert isinstance(found[0], Bad)
    assert str(found[0].reason).startswith(f"It is longer than {batching.LINE_BYTES} bytes.")
    assert [one.entries[0].number for one in found if isinstance(one, Batch)] == [2]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (10_000_000, "12,000 objects, 3.4 of 10.0 MB (34%), 6,000 objects/s"),
        (None, "12,000 objects, 3.4 MB, 6,000 objects/s"),
    ],
)
def test_progress_is_one_line(total: int | None, expected: str) -> None:
    assert line_of(12_000, 3_400_000, total, 2.0) == expected

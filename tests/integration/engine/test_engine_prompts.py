"""What of a thread a run shows the model: the newest messages, as far as they fit its window and the run's budget."""

import json
from itertools import pairwise

import pytest
from sqlalchemy import select

from app.db.sqlite import SqliteDatabase
from app.inference.failures import PromptTooLong
from tests.fakes.model import OneModel, ScriptedModel, answer, word_tokens
from tests.integration.engine.rig import MESSAGES, engine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("wanted", "shown"), [({}, 5), ({"type": "last_messages", "last_messages": 2}, 2)])
async def test_the_model_is_shown_the_newest_messages(
    sqlite: SqliteDatabase, wanted: dict[str, object], shown: int
) -> None:
    model = ScriptedModel(answer("x"))
    async with engine(sqlite, model, context_messages=5) as rig:
        thread = await rig.thread(*(f"{number}" for number in range(8)))
        await rig.run(thread, **({"truncation_strategy": wanted} if wanted else {}))
        assert [message["content"] for message in model.requests[0].messages] == [str(n) for n in range(8 - shown, 8)]


async def test_a_prompt_is_cut_to_the_window_of_its_model(sqlite: SqliteDatabase) -> None:
    model = ScriptedModel(answer("x"))
    async with engine(sqlite, models=OneModel(model, window=600)) as rig:
        await rig.run(await rig.thread(*("word " * 60 for _ in range(8))))
        assert 1 < len(model.requests[0].messages) < 8


async def test_what_messages_take_of_the_window_is_counted_once_and_kept_with_them(sqlite: SqliteDatabase) -> None:
    model = ScriptedModel(answer("x"), tokenizer=word_tokens)
    async with engine(sqlite, models=OneModel(model, window=4096), context_messages=1000) as rig:
        thread = await rig.thread(*(f"{number} " + "word " * 19 for number in range(1000)))
        run = await rig.run(thread)
        assert (await rig.run_row(run)).status == "completed"
        assert (len(model.counted), len(model.requests)) == (1, 1)
        shown = [message["content"].split()[0] for message in model.requests[0].messages]
        assert len(word_tokens(model.requests[0].messages)) <= 4096 - 256
        assert (shown[-1], len(shown)) == ("999", (4096 - 256 - 3) // 22)
        counts = await rig.database.read(lambda tx: tx.all(select(MESSAGES.c.token_count, MESSAGES.c.token_model)))
        kept = [row for row in counts if row.token_count is not None]
        assert {(row.token_count, row.token_model) for row in kept} == {(22, "tiny")}
        assert len(kept) >= len(shown)


@pytest.mark.parametrize("tries", [1, 2])
async def test_a_prompt_that_nobody_could_count_is_made_smaller_when_the_server_finds_it_too_long(
    sqlite: SqliteDatabase, tries: int
) -> None:
    model = ScriptedModel(answer("x"), refusals=[PromptTooLong("too long")] * tries)
    async with engine(sqlite, models=OneModel(model, window=4096)) as rig:
        run = await rig.run(await rig.thread(*("word " * 90 for _ in range(60))))
        assert (await rig.run_row(run)).status == "completed"
        sizes = [len(request.messages) for request in model.requests]
        assert len(sizes) == tries + 1
        assert all(after < before * 0.6 for before, after in pairwise(sizes))


async def test_a_prompt_that_stays_too_long_fails_the_run_and_frees_the_thread(sqlite: SqliteDatabase) -> None:
    model = ScriptedModel(answer("x"), refusals=[PromptTooLong("too long")] * 9)
    async with engine(sqlite, models=OneModel(model, window=4096)) as rig:
        for said, asked in ((["word"] * 60, 3), (["word"], 4)):
            run = await rig.run(await rig.thread(*said))
            row = await rig.run_row(run)
            assert (row.status, json.loads(row.last_error)["code"]) == ("failed", "invalid_prompt")
            assert (len(model.requests), await rig.holder(run)) == (asked, None)


async def test_a_run_whose_prompt_budget_is_too_small_ends_incomplete_before_the_model_is_asked(
    sqlite: SqliteDatabase,
) -> None:
    model = ScriptedModel(answer("x"), tokenizer=word_tokens)
    async with engine(sqlite, model) as rig:
        run = await rig.run(await rig.thread("word " * 300), max_prompt_tokens=256)
        row = await rig.run_row(run)
        assert (row.status, row.incomplete_reason) == ("incomplete", "max_prompt_tokens")
        assert (model.requests, await rig.holder(run)) == ([], None)


async def test_a_run_whose_prompt_budget_takes_a_part_of_the_thread_shows_that_part(sqlite: SqliteDatabase) -> None:
    model = ScriptedModel(answer("x"), tokenizer=word_tokens)
    async with engine(sqlite, model) as rig:
        run = await rig.run(await rig.thread(*("word " * 90 for _ in range(9))), max_prompt_tokens=256)
        assert (await rig.run_row(run)).status == "completed"
        assert len(word_tokens(model.requests[0].messages)) <= 256
        assert len(model.requests[0].messages) == 2

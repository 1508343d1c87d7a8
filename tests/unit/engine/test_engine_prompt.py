"""What the model is shown near the limit: counted in one request, remembered, never more than fits."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from app.engine.context import Past, PastMessage, Told
from app.engine.prompt import BudgetTooSmall, Prompt, Prompter, Room, Upstream
from app.engine.turn import TurnSpec
from app.inference.failures import PromptTooLong
from tests.fakes.model import ScriptedModel, answer, word_tokens

pytestmark = pytest.mark.anyio

SPEC = TurnSpec(
    run_id="run_1",
    thread_id="thread_1",
    project_id="proj_default",
    assistant_id=None,
    fence=1,
    expires_at=600,
    model="gpt-4",
    instructions="Be brief.",
)
ROLES = ("user", "assistant")
HEAD = 6  # <begin>, the instructions between three marks, and what opens the first message
EACH = 12  # ten words, what closes them, what opens the next message


class Talk:
    """A conversation that notes what it is asked to remember."""

    def __init__(self, history: Sequence[Past]) -> None:
        self.past = list(history)
        self.remembered: dict[str, int] = {}

    async def history(self, thread_id: str, count: int, until: int | None = None) -> list[Told]:
        return [*self.past[-count:]]

    async def remember(self, model: str, counts: dict[str, int]) -> None:
        raise AssertionError("no prompt waits for this")

    def keep(self, model: str, counts: dict[str, int]) -> None:
        self.remembered |= counts
        self.past = [
            replace(past, counted=counts[past.id], counted_by=model)
            if isinstance(past, PastMessage) and past.id in counts
            else past
            for past in self.past
        ]


def talk(count: int, words: int = 10) -> Talk:
    return Talk(
        [
            PastMessage(ROLES[number % 2], " ".join([f"{number}:", *["word"] * (words - 1)]), f"msg_{number}")
            for number in range(count)
        ]
    )


async def prompt(said: Talk, model: ScriptedModel, room: Room, *, spec: TurnSpec = SPEC, refused: int = 0) -> Prompt:
    prompter = Prompter(said, 10_000, said.keep)
    return await prompter.prompt(spec, Upstream(model, "tiny", room.window), room, refused=refused)


def counting() -> ScriptedModel:
    return ScriptedModel(answer("x"), tokenizer=word_tokens)


def numbers(made: Prompt) -> list[int]:
    return [int(message["content"].split(":")[0]) for message in made.messages[1:]]


@pytest.mark.parametrize("window", [None, 8192])
async def test_what_fits_for_sure_is_not_counted(window: int | None) -> None:
    model = counting()
    made = await prompt(talk(50), model, Room(window, None, None))
    assert (numbers(made), made.tokens, model.counted) == (list(range(50)), None, [])


async def test_what_may_not_fit_is_counted_once_and_shown_whole_when_it_does() -> None:
    model, said = counting(), talk(50)
    made = await prompt(said, model, Room(None, None, HEAD + 50 * EACH))
    assert (numbers(made), made.tokens) == (list(range(50)), HEAD + 50 * EACH)
    assert made.tokens == len(word_tokens(made.messages))
    assert len(model.counted) == 1


async def test_one_token_less_drops_one_message_from_the_middle_and_the_rest_is_counted_exactly() -> None:
    made = await prompt(talk(50), counting(), Room(None, None, HEAD + 50 * EACH - 1))
    assert numbers(made) == [0, 1, *range(3, 50)]
    assert made.tokens == len(word_tokens(made.messages)) == HEAD + 49 * EACH


async def test_a_thread_of_a_thousand_messages_is_counted_in_one_request_and_what_was_counted_is_remembered() -> None:
    model, said = counting(), talk(1000)
    made = await prompt(said, model, Room(4096, None, None))
    assert len(model.counted) == 1
    assert made.tokens == len(word_tokens(made.messages))
    assert 4096 - 256 - EACH < made.tokens <= 4096 - 256
    assert set(said.remembered.values()) == {EACH}


async def test_a_thread_past_its_window_is_counted_again_only_once_what_is_new_is_worth_it() -> None:
    model, said = counting(), talk(1000)
    prompter = Prompter(said, 10_000, said.keep)
    limit = 4096 - 256
    for number in range(1000, 1040):
        made = await prompter.prompt(SPEC, Upstream(model, "tiny", 4096), Room(4096, None, None))
        taken = len(word_tokens(made.messages))
        assert limit * 0.9 - HEAD < taken <= limit
        assert made.tokens in (None, taken)
        said.past.append(PastMessage(ROLES[number % 2], f"{number}: " + "more " * 9, f"msg_{number}"))
    assert 3 <= len(model.counted) <= 12
    assert all(len(asked) < 400 for asked in model.counted[1:]), "what cannot fit is known and not counted again"


async def test_other_instructions_are_counted_before_they_are_trusted() -> None:
    model, said = counting(), talk(1000)
    prompter, room = Prompter(said, 10_000, said.keep), Room(4096, None, None)
    for instructions in ("Be brief.", "Be brief. " * 200, "Be brief. " * 200):
        spec = replace(SPEC, instructions=instructions)
        made = await prompter.prompt(spec, Upstream(model, "tiny", 4096), room)
        assert len(word_tokens(made.messages)) <= 4096 - 256
    assert len(model.counted) == 2


async def test_once_counted_a_thread_that_fits_is_not_counted_again() -> None:
    model, said = counting(), talk(50)
    room = Room(HEAD + 50 * EACH + 600, None, None)
    await prompt(said, model, room)
    await prompt(said, model, room)
    assert len(model.counted) == 1


async def test_what_another_model_counted_is_counted_again() -> None:
    model, said = counting(), talk(50)
    said.past = [replace(past, counted=1, counted_by="other") for past in said.past]
    made = await prompt(said, model, Room(HEAD + 50 * EACH + 256, None, None))
    assert (len(model.counted), made.tokens) == (1, HEAD + 50 * EACH)


async def test_the_answers_part_of_the_window_is_what_it_may_take_and_a_quarter_at_most() -> None:
    assert Room(8192, None, None).aim == 8192 - 256
    assert Room(8192, 1000, None).aim == 8192 - 1000
    assert Room(8192, 8000, None).aim == 8192 * 3 // 4
    assert Room(400, None, None).aim == 300
    assert Room(8192, None, 500).aim == 500
    assert Room(None, 100, None).aim is None


async def test_a_budget_for_the_prompt_cuts_it_as_a_window_does() -> None:
    made = await prompt(talk(50), counting(), Room(None, None, HEAD + 4 * EACH))
    assert (numbers(made), made.tokens) == ([0, 1, 48, 49], HEAD + 4 * EACH)


async def test_a_budget_too_small_for_the_newest_message_is_told() -> None:
    with pytest.raises(BudgetTooSmall):
        await prompt(talk(51), counting(), Room(8192, None, HEAD + EACH - 1))


async def test_a_message_larger_than_the_window_is_told_with_figures_and_no_content() -> None:
    said = Talk([PastMessage("user", "0: " + "secret " * 600, "msg_0")])
    with pytest.raises(PromptTooLong) as refused:
        await prompt(said, counting(), Room(512, None, None))
    assert "609 tokens" in refused.value.message
    assert "512" in refused.value.message
    assert "secret" not in refused.value.message


async def test_a_message_that_leaves_the_answer_little_room_is_shown() -> None:
    said = Talk([PastMessage("user", " ".join(["word"] * 480), "msg_0")])
    made = await prompt(said, counting(), Room(512, None, None))
    assert made.tokens == HEAD + 480 + 2


async def test_without_a_tokenizer_the_estimate_decides_and_nothing_is_remembered() -> None:
    model, said = ScriptedModel(answer("x")), talk(50)
    made = await prompt(said, model, Room(512, None, None))
    assert made.tokens is None
    assert 2 < len(made.messages) < 50
    assert said.remembered == {}


async def test_what_the_server_finds_too_long_is_counted_or_trusted_half_as_far() -> None:
    model, room = counting(), Room(8192, None, None)
    assert (await prompt(talk(20), model, room, refused=1)).tokens == HEAD + 20 * EACH
    sizes = [
        len((await prompt(talk(90), ScriptedModel([]), Room(512, None, None), refused=n)).messages) for n in range(3)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


async def test_a_window_that_was_stated_too_large_is_halved_in_the_end() -> None:
    model, room = counting(), Room(2048, None, None)
    sizes = [(await prompt(talk(500), model, room, refused=refused)).tokens or 0 for refused in range(3)]
    assert sizes[0] == sizes[1] > 2048 - 256 - EACH
    assert 896 - EACH < sizes[2] <= 896


async def test_without_a_stated_window_a_refusal_halves_what_is_shown() -> None:
    shown = [await prompt(talk(90), ScriptedModel([]), Room(None, None, None), refused=n) for n in range(3)]
    sizes = [len(made.messages) for made in shown]
    assert sizes[0] == 91
    assert all(after < before * 0.6 for before, after in pairwise(sizes))


@pytest.mark.parametrize(("messages", "can"), [(1, False), (2, False), (3, True)])
async def test_a_prompt_of_what_must_be_shown_cannot_shrink(messages: int, can: bool) -> None:
    """The newest question and what answered it must be shown."""
    assert (await prompt(talk(messages), counting(), Room(8192, None, None))).can_shrink is can
    assert (await prompt(talk(messages), counting(), Room(100, None, None))).can_shrink is can


async def test_tools_are_counted_with_the_prompt() -> None:
    model = counting()
    tools = [{"type": "function", "function": {"name": "look_up", "description": "Look " * 500, "parameters": {}}}]
    await prompt(talk(3), model, Room(4096, None, None), spec=replace(SPEC, tools=tools))
    assert len(model.counted) == 1, "a bound on the tools alone says that they may not fit"


async def test_only_the_newest_messages_that_were_asked_for_are_shown() -> None:
    made = await prompt(talk(50), counting(), Room(None, None, None), spec=replace(SPEC, last_messages=2))
    assert numbers(made) == [48, 49]


async def test_pictures_are_left_out_of_the_count_and_shown() -> None:
    parts = [{"type": "text", "text": "word " * 2000}, {"type": "image_url", "image_url": {"url": "https://a.test/b"}}]
    model = counting()
    made = await prompt(Talk([PastMessage("user", parts, "msg_0")]), model, Room(4096, None, None))
    assert made.messages[-1]["content"] == parts
    assert isinstance(model.counted[0][-1]["content"], str)

"""What a chat with a thread is shown: the past as a run would be shown it, and always all that is said now."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.engine.context import Past, PastCall, PastCalls, PastMessage, Sent, Told
from app.engine.counting import shares
from app.engine.prompt import Frame, Prompt, Prompter, Room, Upstream
from app.inference.failures import PromptTooLong
from tests.fakes.model import ScriptedModel, answer, word_tokens

pytestmark = pytest.mark.anyio

SYSTEM = {"role": "system", "content": "Be brief."}
ROLES = ("user", "assistant")
HEAD, EACH = 6, 12  # as word_tokens writes the instructions, and a message of ten words with its marks


class Talk:
    """A thread's past."""

    def __init__(self, past: Sequence[Past]) -> None:
        self.past = list(past)
        self.remembered: dict[str, int] = {}

    async def history(self, thread_id: str, count: int, until: int | None = None) -> list[Told]:
        return [*self.past[-count:]]

    async def remember(self, model: str, counts: dict[str, int]) -> None:
        raise AssertionError("no prompt waits for this")

    def keep(self, model: str, counts: dict[str, int]) -> None:
        self.remembered |= counts


def words(number: int) -> str:
    return " ".join([f"{number}:", *["word"] * 9])


def said_before(count: int) -> list[Past]:
    return [PastMessage(ROLES[number % 2], words(number), f"msg_{number}") for number in range(count)]


async def shown(talk: Talk, new: Sequence[Sent], room: Room, **given: Any) -> Prompt:
    frame = Frame(
        thread_id="thread_1", opening=given.pop("opening", [SYSTEM]), new=new, last_messages=given.pop("n", None)
    )
    model = given.pop("model", None) or ScriptedModel(answer("x"), tokenizer=word_tokens)
    prompter = Prompter(talk, 10_000, talk.keep)
    return await prompter.fitted(frame, Upstream(model, "tiny", room.window), room, **given)


def user(number: int) -> dict[str, Any]:
    return {"role": "user", "content": words(number)}


async def test_the_past_stands_between_the_opening_and_what_is_said_now() -> None:
    past = [*said_before(2), PastMessage("user", words(2), "msg_2")]  # the thread has kept the new message already
    made = await shown(Talk(past), [Sent(user(2) | {"name": "ann"}, "msg_2")], Room(None, None, None))
    contents = [message["content"] for message in made.messages]
    assert contents == ["Be brief.", words(0), words(1), words(2)]
    assert made.messages[-1]["name"] == "ann"


@pytest.mark.parametrize("room", [HEAD + 20 * EACH, HEAD + 7 * EACH, HEAD + 7 * EACH - 1, HEAD + EACH])
async def test_a_chat_is_shown_to_the_token_what_a_run_is_shown(room: int) -> None:
    past = [*said_before(18), PastMessage("user", words(18), "msg_18")]
    of_a_run = await shown(Talk(past), [], Room(None, None, room))
    of_a_chat = await shown(Talk(past), [Sent(user(18), "msg_18")], Room(None, None, room))
    assert of_a_chat == of_a_run
    assert len(of_a_chat.messages) == min(20, (room - HEAD) // EACH + 1)


async def test_what_is_said_now_is_shown_whole_whatever_becomes_of_the_past() -> None:
    new = [Sent(user(number), f"msg_{number}") for number in range(8, 12)]
    talk = Talk([*said_before(8), *(PastMessage("user", words(number), f"msg_{number}") for number in range(8, 12))])
    made = await shown(talk, new, Room(None, None, HEAD + 5 * EACH))
    assert [int(message["content"].split(":")[0]) for message in made.messages[1:]] == [7, 8, 9, 10, 11]
    assert made.tokens == len(word_tokens(made.messages)) == HEAD + 5 * EACH
    assert set(talk.remembered.values()) == {EACH}
    assert {"msg_8", "msg_11"} <= set(talk.remembered)


async def test_what_is_said_now_must_fit() -> None:
    new = [Sent(user(number)) for number in range(40)]
    with pytest.raises(PromptTooLong):
        await shown(Talk(said_before(8)), new, Room(HEAD + 40 * EACH, None, None))


async def test_a_server_that_finds_a_chat_too_long_is_shown_less_of_the_past() -> None:
    talk, new, model = Talk(said_before(90)), [Sent(user(90))], ScriptedModel(answer("x"))
    sizes = [len((await shown(talk, new, Room(1024, None, None), refused=n, model=model)).messages) for n in range(3)]
    assert sizes[0] > sizes[1] > sizes[2] > 2
    alone = await shown(Talk([]), new, Room(1024, None, None))
    assert not alone.can_shrink


async def test_a_round_of_tools_that_is_sent_now_keeps_its_question_and_its_place() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Rome"}'}}]
    calling = {"role": "assistant", "content": "", "tool_calls": calls}
    output = {"role": "tool", "tool_call_id": "call_1", "content": words(99)}
    past = [*said_before(20), PastMessage("user", words(20), "msg_20")]
    made = await shown(Talk(past), [Sent(calling), Sent(output)], Room(None, None, HEAD + 6 * EACH))
    assert made.messages[-3:] == [user(20), calling, output]
    assert len(made.messages) < 8


async def test_the_tokenizer_is_shown_no_picture() -> None:
    parts = [{"type": "text", "text": words(1)}, {"type": "image_url", "image_url": {"url": "data:image/png;,x"}}]
    model = ScriptedModel(answer("x"), tokenizer=word_tokens)
    made = await shown(Talk([]), [Sent({"role": "user", "content": parts})], Room(400, None, None), model=model)
    assert made.messages[-1]["content"] == parts
    made = await shown(
        Talk(said_before(90)), [Sent({"role": "user", "content": parts})], Room(400, None, None), model=model
    )
    assert [counted[-1]["content"].strip() for counted in model.counted] == [words(1)]
    assert made.messages[-1]["content"] == parts


async def test_several_instructions_are_counted_as_what_stands_before_the_past() -> None:
    opening = [SYSTEM, {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}]
    talk = Talk([*said_before(2), PastCalls([PastCall("call_1", "look", "{}", "sunny")])])
    made = await shown(talk, [Sent(user(3))], Room(8192, None, None), opening=opening)
    assert made.messages[:2] == opening
    assert made.tokens is None


def test_what_is_said_now_is_found_among_the_tokens_by_its_text_and_calls_by_their_function() -> None:
    called = {"name": "look_up", "arguments": '{"city": "Rome"}'}
    calling = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": called}]}
    new = [Sent({"role": "user", "content": "a-b-c-d"}), Sent(calling), Sent({"role": "tool", "content": "sunny"})]
    tokens = ["<user>", "▁a-b-c-d", "<assistant>", "▁look_up", "▁city", "▁Rome", "<tool>", "▁sunny", "<assistant>"]
    assert shares(tokens, 1, [PastMessage("user", "x " * 50), *new])[2:] == [2, 4, 2]

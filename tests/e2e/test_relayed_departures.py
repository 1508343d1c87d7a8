"""A server told to stop while it relays: answers that end within the grace end, the others say why they do not."""

import time
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.test_departures import ENDED_WITHIN_S, GRACE_S, STOPPED_WITHIN_S, WORDS, own_api
from tests.fixtures.forks import Fork
from tests.fixtures.servers import API_KEY, MODEL


def stream_and_stop(url: str, process: Fork, words: int) -> str:
    """Stream an answer of so many words and tell the server to stop at the first; return what was said."""
    said = ""
    with openai.OpenAI(base_url=url, api_key=API_KEY, max_retries=0) as client:
        asked: Any = [{"role": "user", "content": f"repeat {words} words"}]
        for chunk in client.chat.completions.create(model=MODEL, messages=asked, stream=True):
            if not said and chunk.choices and chunk.choices[0].delta.content:
                process.terminate()
            said += chunk.choices[0].delta.content or "" if chunk.choices else ""
    return said


def test_a_relayed_stream_that_ends_within_the_grace_is_whole(paced_model_url: str, tmp_path: Path) -> None:
    with own_api(tmp_path, paced_model_url) as (url, process):
        assert len(stream_and_stop(url, process, WORDS).split()) == WORDS
        assert process.wait(STOPPED_WITHIN_S) == 0


def test_a_relayed_stream_that_outlasts_the_grace_ends_with_an_error(paced_model_url: str, tmp_path: Path) -> None:
    with own_api(tmp_path, paced_model_url, SHUTDOWN_GRACE_S=str(GRACE_S)) as (url, process):
        began = time.monotonic()
        with pytest.raises(openai.APIError, match="The server is stopping"):
            stream_and_stop(url, process, 300)
        assert process.wait(STOPPED_WITHIN_S) == 0
        assert GRACE_S <= time.monotonic() - began <= GRACE_S + ENDED_WITHIN_S
    assert "Traceback" not in (tmp_path / "log").read_text()

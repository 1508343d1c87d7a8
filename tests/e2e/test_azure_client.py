"""The `AzureOpenAI` client of the official SDK: its paths, its key's header, its deployments."""

from typing import Any

import openai
import pytest

from tests.fixtures.servers import API_KEY, MODEL

VERSION = "2024-10-21"


@pytest.fixture
def azure(paced_api: str) -> openai.AzureOpenAI:
    """Give a client as programs for Azure make it."""
    return openai.AzureOpenAI(
        azure_endpoint=paced_api.removesuffix("/v1"), api_key=API_KEY, api_version=VERSION, max_retries=0
    )


def test_chats_and_embeddings_go_to_deployments(azure: openai.AzureOpenAI) -> None:
    asked: Any = [{"role": "user", "content": "say exactly: gold rose"}]
    answer = azure.chat.completions.create(model=MODEL, messages=asked)
    assert answer.choices[0].message.content == "gold rose"
    stream = azure.chat.completions.create(model=MODEL, messages=asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "gold rose"
    assert len(azure.embeddings.create(model=MODEL, input="gold").data[0].embedding) > 1


def test_the_deployment_of_the_client_is_the_model(paced_api: str) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=paced_api.removesuffix("/v1"),
        azure_deployment=MODEL,
        api_key=API_KEY,
        api_version=VERSION,
        max_retries=0,
    )
    answer = client.chat.completions.create(
        model="whatever", messages=[{"role": "user", "content": "say exactly: yes"}]
    )
    assert answer.choices[0].message.content == "yes"


def test_assistants_go_beside_deployments(azure: openai.AzureOpenAI) -> None:
    assistant = azure.beta.assistants.create(model=MODEL)
    thread = azure.beta.threads.create(messages=[{"role": "user", "content": "say exactly: gold rose"}])
    run = azure.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=50)
    assert run.status == "completed"
    assert next(model.id for model in azure.models.list()) == MODEL


def test_a_wrong_key_is_refused(paced_api: str) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=paced_api.removesuffix("/v1"), api_key="wrong", api_version=VERSION, max_retries=0
    )
    with pytest.raises(openai.AuthenticationError):
        client.models.list()

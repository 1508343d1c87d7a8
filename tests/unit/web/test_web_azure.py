"""Azure's paths are ours."""

import pytest

from app.web.azure import route_of


@pytest.mark.parametrize(
    ("path", "ours", "deployment"),
    [
        ("/openai/deployments/gpt-4o/chat/completions", "/v1/chat/completions", "gpt-4o"),
        ("/openai/deployments/llama 3/embeddings", "/v1/embeddings", "llama 3"),
        ("/openai/assistants", "/v1/assistants", None),
        ("/openai/threads/thread_1/runs/run_1", "/v1/threads/thread_1/runs/run_1", None),
        ("/openai/v1/chat/completions", "/v1/chat/completions", None),
        ("/openai/deployments/", "/v1/", None),
        ("/openai/deployments/x", "/v1/", "x"),
        ("/openai/", "/v1/", None),
    ],
)
def test_an_azure_path_is_one_of_ours(path: str, ours: str, deployment: str | None) -> None:
    assert route_of(path) == (ours, deployment)

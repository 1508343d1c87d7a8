"""What spans say of a model's work, in OpenTelemetry's words for generative AI, which are still in development.

Named here alone, so that a later version of them is one change. No content is among them: neither what was asked nor
what was answered, nor a model's name that a client made up.
"""

from urllib.parse import urlsplit

Attributes = dict[str, str | int]

OPERATIONS = {"/chat/completions": "chat", "/completions": "text_completion", "/embeddings": "embeddings"}


def asked(path: str, url: str) -> Attributes:
    """Describe one call of a model server: what for, and where."""
    place = urlsplit(url)
    return {
        "gen_ai.operation.name": OPERATIONS.get(path, "chat"),
        "server.address": place.hostname or "",
        "server.port": place.port or 80,
    }


def turn(run_id: str, project_id: str, surface: str) -> Attributes:
    """Describe a turn over a conversation."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "sovereign.run.id": run_id,
        "sovereign.project.id": project_id,
        "sovereign.surface": surface,
    }


def used(model: str, prompt_tokens: int, completion_tokens: int) -> Attributes:
    """Say which of the operator's models answered, and what its server counted."""
    return {
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": prompt_tokens,
        "gen_ai.usage.output_tokens": completion_tokens,
    }

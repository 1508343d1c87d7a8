"""MODELS_FILE: what it says, every problem of it at once, and no secret in any of them."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.settings import SettingsError, load_settings, models_of
from app.upstreams import EXPECTED_NAME, ModelsFile, ModelsFileError, UpstreamSpec, parsed, read_models_file
from tests.fixtures.processes import ROOT

MAIN = '[[upstream]]\nname = "main"\nurl = "http://127.0.0.1:8000/v1"\n'
CPU = '[[upstream]]\nname = "cpu"\nurl = "http://127.0.0.1:11434/v1"\n'


def read(text: str) -> ModelsFile:
    return parsed(text, lambda name: {"key": "sk-a-secret", "empty": ""}[name])


def problems_of(text: str) -> list[str]:
    with pytest.raises(ModelsFileError) as error:
        read(text)
    assert str(error.value).splitlines() == error.value.problems
    return error.value.problems


def test_a_server_needs_a_name_and_an_address_and_the_rest_is_as_the_settings_say() -> None:
    [only] = read(MAIN).upstreams
    assert (only.name, only.url, only.role) == ("main", "http://127.0.0.1:8000/v1", "any")
    others = (only.api_key, only.fallback_model, only.concurrency, only.context_window, only.first_token_timeout_s)
    assert (only.models, only.fallback_for, *others) == ((), (), None, None, None, None, None)


def test_every_line_is_read() -> None:
    more = """
        api_key_file = "key"
        role = "chat"
        models = ["a", "b/c"]
        fallback_for = ["main"]
        fallback_model = "small"
        concurrency = 2
        context_window = 4096
        connect_timeout_s = 0.5
        first_token_timeout_s = 600
        idle_timeout_s = 30
        [aliases]
        "gpt-4.1" = "a"
    """
    described = read(MAIN + CPU + more)
    cpu = described.upstreams[1]
    assert (cpu.api_key, cpu.role, cpu.models) == ("sk-a-secret", "chat", ("a", "b/c"))
    assert (cpu.fallback_for, cpu.fallback_model, cpu.concurrency) == (("main",), "small", 2)
    assert (cpu.context_window, cpu.connect_timeout_s) == (4096, 0.5)
    assert (cpu.first_token_timeout_s, cpu.idle_timeout_s) == (600.0, 30.0)
    assert described.aliases == {"gpt-4.1": "a"}
    assert [one.name for one in described.upstreams] == ["main", "cpu"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "upstream: expected at least one [[upstream]]"),
        ("upstream = 3", "upstream: expected at least one [[upstream]]"),
        ("[[upstream]\n", "no TOML: Expected ']]' at the end of an array declaration (at line 1, column 11)"),
        (MAIN + "[alias]\n", "alias: unknown; there are [[upstream]] and [aliases]"),
        (MAIN + '[aliases]\n"gpt-4" = 3\n', 'aliases: expected lines such as "gpt-4o" = "llama"'),
        (MAIN + "urls = 1\n", "main: urls: unknown"),
        ('[[upstream]]\nurl = "http://h/v1"\n', "upstream 1: name: missing"),
        ('[[upstream]]\nname = "main"\n', "main: url: missing"),
        (MAIN + 'role = "images"\n', "main: role: expected any, chat, embeddings"),
        (MAIN + "concurrency = 0\n", "main: concurrency: expected int >= 1"),
        (MAIN + 'concurrency = "many"\n', "main: concurrency: expected int"),
        (MAIN + "context_window = 12\n", "main: context_window: expected int >= 256"),
        (MAIN + "idle_timeout_s = 0\n", "main: idle_timeout_s: expected float > 0.0"),
        (MAIN + 'models = "a"\n', "main: models: expected array"),
        (MAIN + 'api_key = "a"\napi_key_file = "key"\n', "main: api_key: set either api_key or api_key_file, not both"),
        (MAIN + 'api_key_file = "empty"\n', "main: api_key_file: empty is empty"),
        (MAIN + MAIN, "main: name: two upstreams have it"),
        (MAIN.replace('"main"', '"a name"'), f"'a name': name: {EXPECTED_NAME}"),
        (MAIN.replace("http:", "ftp:"), "main: url: expected http://host:port/v1"),
        (
            MAIN + CPU + 'fallback_for = ["main"]\n',
            "cpu: fallback_model: missing; it says which model answers for the others'",
        ),
        (MAIN + CPU + 'fallback_model = "m"\n', "cpu: fallback_for: missing; without it fallback_model means nothing"),
        (
            MAIN + CPU + 'fallback_for = ["gone"]\nfallback_model = "m"\n',
            "cpu: fallback_for: no upstream before it is named 'gone'",
        ),
        (
            MAIN + 'fallback_for = ["cpu"]\nfallback_model = "m"\n' + CPU,
            "main: fallback_for: no upstream before it is named 'cpu'",
        ),
        (MAIN + 'role = "embeddings"\n', "upstream: none of them takes chats"),
    ],
)
def test_a_problem_is_a_line_that_says_where(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_all_problems_are_told_at_once() -> None:
    text = '[[upstream]]\nurl = 3\nrole = "x"\nold = 1\n' + CPU + "concurrency = -1\n[other]\n"
    assert [problem.rpartition(":")[0] for problem in problems_of(text)] == [
        "other",
        "upstream 1: name",
        "upstream 1: url",
        "upstream 1: role",
        "upstream 1: old",
        "cpu: concurrency",
    ]


def test_no_problem_shows_a_key() -> None:
    for line in ('api_key = ["sk-a-secret"]', 'role = "sk-a-secret"', 'api_key = "sk-a-secret'):
        assert "sk-a-secret" not in "".join(problems_of(MAIN + line + "\n"))
    url = MAIN.replace("http://", "ftp://user:sk-a-secret@")
    assert "sk-a-secret" not in "".join(problems_of(url))


def test_a_key_is_read_from_a_file_beside_the_models_file(tmp_path: Path) -> None:
    (tmp_path / "main.key").write_text("sk-a-secret\n")
    file = tmp_path / "models.toml"
    file.write_text(MAIN + 'api_key_file = "main.key"\n')
    assert read_models_file(str(file)).upstreams[0].api_key == "sk-a-secret"
    (tmp_path / "main.key").unlink()
    with pytest.raises(ModelsFileError, match=r"main: api_key_file: cannot read main\.key: No such file"):
        read_models_file(str(file))


def settings_problems(**env: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load_settings(env)
    return error.value.problems


def test_a_file_that_cannot_be_used_is_told_with_the_other_settings(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    missing = settings_problems(MODELS_FILE=str(file), API_PORT="0")
    assert missing[1:] == [f"MODELS_FILE: cannot read {file}: No such file or directory"]
    file.write_bytes(b"\xff")
    assert settings_problems(MODELS_FILE=str(file)) == [f"MODELS_FILE: {file} is not UTF-8"]
    file.write_text(MAIN + "old = 1\nconcurrency = 0\n")
    assert settings_problems(MODELS_FILE=str(file)) == [
        "MODELS_FILE: main: concurrency: expected int >= 1",
        "MODELS_FILE: main: old: unknown",
    ]


@pytest.mark.parametrize("given", [{"MODEL_URL": "http://h/v1"}, {"MODEL_API_KEY": "sk-a-secret"}])
def test_what_would_mean_nothing_beside_the_file_is_refused(given: dict[str, Any]) -> None:
    problems = settings_problems(MODELS_FILE=str(ROOT / "models.example.toml"), **given)
    assert problems == ["MODELS_FILE: MODEL_URL and MODEL_API_KEY mean nothing beside it; take them away"]


def test_without_a_file_there_is_the_one_server_of_the_settings() -> None:
    env = {"MODEL_URL": "http://h/v1", "MODEL_API_KEY": "sk-a-secret", "MODEL_ALIASES": "gpt-4=llama"}
    described = models_of(load_settings(env))
    [only] = described.upstreams
    assert (only.url, only.api_key, only.models, only.role) == ("http://h/v1", "sk-a-secret", (), "any")
    assert described.aliases == {"gpt-4": "llama"}


def test_the_document_has_every_line_and_an_example_that_is_right() -> None:
    document = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", document, re.MULTILINE)
    lines = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert lines == {*UpstreamSpec.__struct_fields__, "api_key_file"}
    (example,) = re.findall(r"^```toml\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    described = parsed(example, lambda _: "sk-a-secret")
    assert [one.name for one in described.upstreams] == ["main", "fast", "processor"]


def test_the_example_can_be_used_as_it_is_and_the_environments_aliases_go_before_its_own() -> None:
    env = {"MODELS_FILE": str(ROOT / "models.example.toml"), "MODEL_ALIASES": "gpt-4o=other,gpt-4=other"}
    described = models_of(load_settings(env))
    assert [one.name for one in described.upstreams] == ["main", "fast", "embeddings", "processor"]
    assert described.aliases == {"gpt-4o": "other", "gpt-4o-mini": "llama-3.1-8b-instruct", "gpt-4": "other"}

"""Settings: the contract's defaults, every problem at once, secrets from files, and none of them shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings, SettingsError, load_settings, redacted, variables
from tests.fixtures.processes import ROOT

CONTRACT = {
    "ENVIRONMENT": "development",
    "API_KEY": None,
    "DATABASE_URL": "sqlite:///data/sovereign_assistant.db",
    "API_HOST": "127.0.0.1",
    "API_PORT": 8001,
    "CORS_ORIGINS": (),
    "LOG_LEVEL": "INFO",
    "MODEL_URL": "http://127.0.0.1:8000/v1",
    "MODEL_API_KEY": None,
    "MODEL_NAME": None,
    "MODEL_ALIASES": {},
    "RUN_CONCURRENCY": 8,
    "RUN_QUEUE_LIMIT": 64,
    "CONTEXT_WINDOW": None,
    "CONTEXT_MESSAGES": 100,
}
SECRETS = {
    "API_KEY": "sk-the-first-secret",
    "MODEL_API_KEY": "sk-the-second-secret",
    "DATABASE_URL": "postgresql://sovereign:the-third-secret@db.example/store?sslpassword=the-fourth-secret",
}
EXAMPLE = str(ROOT / "models.example.toml")
FIELDS = {one.var.name: one.field for one in variables()}


def problems_of(**env: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load_settings(env)
    assert str(error.value).splitlines() == error.value.problems
    return error.value.problems


def setting(name: str, text: str) -> Any:
    return getattr(load_settings({name: text}), FIELDS[name])


@pytest.mark.parametrize("name", CONTRACT)
def test_the_defaults_are_those_of_the_contract(name: str) -> None:
    assert getattr(load_settings({}), FIELDS[name]) == CONTRACT[name]


def test_every_field_has_a_variable_of_its_own_name_and_a_line_of_help() -> None:
    assert [one.field for one in variables()] == list(Settings.__struct_fields__)
    for one in variables():
        assert one.var.name == one.field.upper()
        assert one.var.help


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ENVIRONMENT", "development", "development"),
        ("API_KEY", "sk-abc", "sk-abc"),
        ("KEY_PEPPER", "p" * 32, "p" * 32),
        ("KEY_JOURNAL_FILE", "/var/lib/revocations", "/var/lib/revocations"),
        ("DATABASE_URL", "postgresql://u@h/d", "postgresql://u@h/d"),
        ("API_HOST", "0.0.0.0", "0.0.0.0"),
        ("API_PORT", "65535", 65535),
        ("CORS_ORIGINS", " https://a.example , https://b.example,", ("https://a.example", "https://b.example")),
        ("LOG_LEVEL", "WARNING", "WARNING"),
        ("LOG_FORMAT", "text", "text"),
        ("METRICS_HOST", "0.0.0.0", "0.0.0.0"),
        ("METRICS_PORT", "9101", 9101),
        ("VRAM_SHARE", "0.8", 0.8),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tracing:4318", "http://tracing:4318"),
        ("BODY_LIMIT_BYTES", "2048", 2048),
        ("JSON_DEPTH_LIMIT", "512", 512),
        ("HEAD_LIMIT_BYTES", "4096", 4096),
        ("CLIENT_TIMEOUT_S", "0.5", 0.5),
        ("KEEP_ALIVE_S", "5", 5.0),
        ("CONNECTION_LIMIT", "1", 1),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8", ("127.0.0.1", "10.0.0.0/8", "fd00::/8")),
        ("MODEL_URL", "https://models.example:8443/v1", "https://models.example:8443/v1"),
        ("MODEL_API_KEY", "sk-model", "sk-model"),
        ("MODEL_NAME", "llama", "llama"),
        (
            "MODEL_ALIASES",
            "gpt-4 = llama/3.1-70b , gpt-4o=other=one,",
            {"gpt-4": "llama/3.1-70b", "gpt-4o": "other=one"},
        ),
        ("MODELS_FILE", EXAMPLE, EXAMPLE),
        ("MODEL_CONNECT_TIMEOUT_S", "0.25", 0.25),
        ("MODEL_FIRST_TOKEN_TIMEOUT_S", "900", 900.0),
        ("MODEL_IDLE_TIMEOUT_S", "86400", 86400.0),
        ("RUN_CONCURRENCY", "1", 1),
        ("RUN_QUEUE_LIMIT", "0", 0),
        ("RUN_EXPIRES_AFTER_S", "86400", 86400),
        ("RUN_FLUSH_MS", "1", 1),
        ("RUN_EVENTS_KEPT_S", "1", 1),
        ("STREAM_PING_S", "0.5", 0.5),
        ("CONTEXT_WINDOW", "131072", 131072),
        ("CONTEXT_MESSAGES", "10000", 10000),
        ("SHUTDOWN_GRACE_S", "2", 2.0),
        ("READ_ONLY", "true", True),
        ("RATE_LIMIT_REQUESTS_PER_MIN", "60", 60),
        ("RATE_LIMIT_TOKENS_PER_MIN", "100000", 100_000),
        ("RATE_LIMIT_CONCURRENT_RUNS", "1", 1),
        ("RATE_LIMIT_CONCURRENT_STREAMS", "2", 2),
        ("RATE_LIMIT_TOKENS_PER_DAY", "1000000", 1_000_000),
        ("RATE_LIMIT_TOKENS_PER_MONTH", "1000000000000", 10**12),
    ],
)
def test_every_variable_is_read(name: str, text: str, value: object) -> None:
    assert setting(name, text) == value


def test_the_table_above_has_every_variable() -> None:
    [mark] = [mark for mark in test_every_variable_is_read.pytestmark if mark.name == "parametrize"]
    assert [name for name, _, _ in mark.args[1]] == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_an_empty_variable_counts_as_not_set(name: str) -> None:
    assert load_settings({name: ""}) == load_settings({})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ENVIRONMENT", "staging"),
        ("API_PORT", "0"),
        ("API_PORT", "65536"),
        ("API_PORT", "eighty"),
        ("API_PORT", "80.5"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("METRICS_PORT", "0"),
        ("VRAM_SHARE", "95"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tracing:4318"),
        ("BODY_LIMIT_BYTES", "1023"),
        ("JSON_DEPTH_LIMIT", "513"),
        ("CLIENT_TIMEOUT_S", "0"),
        ("CONNECTION_LIMIT", "0"),
        ("TRUSTED_PROXIES", "127.0.0.1,proxy.example"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MODEL_URL", "ftp://models.example"),
        ("MODEL_URL", "models.example:8000"),
        ("MODEL_URL", "http://"),
        ("MODEL_URL", "http://[::1/v1"),
        ("MODEL_URL", "http://models.example:99999/v1"),
        ("MODEL_URL", "http://models.example:port/v1"),
        ("MODEL_ALIASES", "gpt-4"),
        ("MODEL_ALIASES", "gpt-4="),
        ("MODEL_ALIASES", "=llama"),
        ("MODEL_CONNECT_TIMEOUT_S", "0"),
        ("MODEL_CONNECT_TIMEOUT_S", "-1"),
        ("MODEL_CONNECT_TIMEOUT_S", "nan"),
        ("MODEL_CONNECT_TIMEOUT_S", "inf"),
        ("MODEL_IDLE_TIMEOUT_S", "86401"),
        ("RUN_CONCURRENCY", "0"),
        ("RUN_CONCURRENCY", "4097"),
        ("RUN_QUEUE_LIMIT", "-1"),
        ("RUN_EXPIRES_AFTER_S", "0"),
        ("CONTEXT_WINDOW", "255"),
        ("CONTEXT_MESSAGES", "0"),
        ("DATABASE_URL", "a file"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "postgresql://h:port/d"),
    ],
)
def test_a_bad_value_is_one_line_that_begins_with_its_variable(name: str, text: str) -> None:
    [problem] = problems_of(**{name: text})
    assert problem.startswith(f"{name}: ")
    assert len(problem.splitlines()) == 1


def test_all_problems_are_told_at_once_in_the_order_of_the_settings() -> None:
    problems = problems_of(ENVIRONMENT="staging", API_PORT="eighty", LOG_LEVEL="LOUD", RUN_CONCURRENCY="0")
    assert [problem.split(":")[0] for problem in problems] == [
        "ENVIRONMENT",
        "API_PORT",
        "LOG_LEVEL",
        "RUN_CONCURRENCY",
    ]
    assert problems == [
        "ENVIRONMENT: expected development or production, got 'staging'",
        "API_PORT: expected int, got 'eighty'",
        "LOG_LEVEL: expected DEBUG or INFO or WARNING or ERROR, got 'LOUD'",
        "RUN_CONCURRENCY: expected int >= 1, got '0'",
    ]


def test_what_is_malformed_and_what_is_unsound_are_told_together() -> None:
    problems = problems_of(ENVIRONMENT="production", API_PORT="0", CORS_ORIGINS="*", MODEL_URL="nowhere", API_KEY="")
    assert sorted(problem.split(":")[0] for problem in problems) == ["API_KEY", "API_PORT", "CORS_ORIGINS", "MODEL_URL"]


def test_production_refuses_what_development_allows() -> None:
    unsafe = {"CORS_ORIGINS": "https://a.example,*"}
    assert load_settings(unsafe).cors_origins == ("https://a.example", "*")
    assert problems_of(ENVIRONMENT="production", **unsafe) == [
        "API_KEY: required when ENVIRONMENT=production (or API_KEY_FILE)",
        "CORS_ORIGINS: '*' is not allowed when ENVIRONMENT=production; name the origins",
    ]
    assert load_settings({"ENVIRONMENT": "production", "API_KEY": "sk-x"}).environment == "production"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_can_be_given_as_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRETS[name]}\n")
    assert getattr(load_settings({f"{name}_FILE": str(file)}), FIELDS[name]) == SECRETS[name]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_given_twice_is_refused_without_telling_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRETS[name])
    problems = problems_of(**{name: SECRETS[name], f"{name}_FILE": str(file)})
    assert problems == [f"{name}: set either {name} or {name}_FILE, not both"]


def test_a_file_that_cannot_be_used_is_a_problem_and_not_a_missing_secret(tmp_path: Path) -> None:
    missing, empty, binary = (tmp_path / name for name in ("missing", "empty", "binary"))
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe\x00secret")
    for file, reason in ((missing, "No such file"), (empty, "is empty"), (binary, "utf-8"), (tmp_path, "directory")):
        [problem] = problems_of(ENVIRONMENT="production", API_KEY_FILE=str(file))
        assert problem.startswith("API_KEY: ")
        assert reason in problem


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text("9000")
    assert load_settings({"API_PORT_FILE": str(file)}).api_port == 8001


def test_what_is_shown_has_every_variable_and_no_secret() -> None:
    shown = redacted(load_settings(SECRETS))
    assert list(shown) == list(FIELDS)
    assert "secret" not in json.dumps(shown)
    assert shown["API_KEY"] == shown["MODEL_API_KEY"] == "***"
    assert shown["DATABASE_URL"] == "postgresql://sovereign:***@db.example/store?sslpassword=hidden"
    assert redacted(load_settings({}))["API_KEY"] is None


def test_the_password_of_a_model_server_is_hidden_too() -> None:
    url = "https://someone:a-secret@models.example/v1"
    assert redacted(load_settings({"MODEL_URL": url}))["MODEL_URL"] == "https://***@models.example/v1"


@pytest.mark.parametrize("name", ["DATABASE_URL", "MODEL_URL"])
def test_no_problem_repeats_a_password(name: str) -> None:
    for url in ("ftp://someone:a-secret@h/d", "http://someone:a-secret@h:port/d"):
        assert "a-secret" not in problems_of(**{name: url})[0]


def test_a_secret_that_is_refused_is_not_shown() -> None:
    assert problems_of(KEY_PEPPER="a secret, too short") == ["KEY_PEPPER: expected str of length >= 32"]

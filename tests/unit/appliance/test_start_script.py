"""What the start script of vLLM's container makes of its settings."""

from pathlib import Path

import pytest

from ops.vllm.start import WrongSetting, command, environment


def flag(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_without_settings_it_serves_llama_70b_as_it_fits_one_card_of_48_gb() -> None:
    words = command({})
    assert words[:3] == ["vllm", "serve", "/models/llama-3.1-70b-instruct-awq"]
    assert flag(words, "--served-model-name") == "llama-3.1-70b-instruct"
    assert flag(words, "--max-model-len") == "16384"
    assert flag(words, "--gpu-memory-utilization") == "0.95"
    assert flag(words, "--kv-cache-dtype") == "fp8"
    assert flag(words, "--max-num-seqs") == "8"
    assert flag(words, "--tool-call-parser") == "llama3_json"
    assert "--enable-auto-tool-choice" in words


def test_it_never_fetches_what_a_client_names() -> None:
    assert flag(command({}), "--allowed-media-domains").endswith(".invalid")


def test_settings_become_flags_and_further_flags_follow() -> None:
    env = {"ENGINE_MODEL": "other", "ENGINE_CONTEXT": "-1", "ENGINE_EXTRA_FLAGS": "--enforce-eager --seed '1'"}
    words = command(env)
    assert words[2] == "/models/other"
    assert flag(words, "--max-model-len") == "-1"
    assert words[-3:] == ["--enforce-eager", "--seed", "1"]


def test_another_model_can_go_without_our_parser_and_template() -> None:
    words = command({"ENGINE_TOOL_PARSER": "none", "ENGINE_CHAT_TEMPLATE": "own"})
    assert not {"--tool-call-parser", "--enable-auto-tool-choice", "--chat-template"} & set(words)


def test_it_waits_for_answers_longer_than_the_api_and_shorter_than_its_container_lives() -> None:
    compose = (Path(__file__).parents[3] / "compose.yaml").read_text()
    assert "stop_grace_period: 35s" in compose
    assert "stop_grace_period: 50s" in compose
    assert 35 < int(flag(command({}), "--shutdown-timeout")) < 50


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ENGINE_CONTEXT", "much"),
        ("ENGINE_CONTEXT", "0"),
        ("ENGINE_MEMORY_SHARE", "95"),
        ("ENGINE_SEQUENCES", "-1"),
        ("ENGINE_EXTRA_FLAGS", "--seed '1"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(WrongSetting, match=name):
        command({name: text})


def test_the_key_comes_from_its_file_and_is_on_no_command_line(tmp_path: Path) -> None:
    file = tmp_path / "model_api_key"
    file.write_text("sk-of-the-model\n")
    env = environment({"ENGINE_MODEL": "x", "PATH": "/bin"}, file)
    assert env == {"PATH": "/bin", "VLLM_API_KEY": "sk-of-the-model"}
    with pytest.raises(WrongSetting, match="cannot read the key"):
        environment({}, tmp_path / "absent")

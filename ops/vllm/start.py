"""Starts vLLM in its container: turns settings into flags, prints them, and becomes `vllm serve`.

Settings are the variables of SETTINGS; docs/install.md explains them. The key comes from a file and goes on in the
environment of vLLM alone, so that neither `docker inspect` nor the printed line has it.
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

KEY_FILE = Path("/run/secrets/model_api_key")
TEMPLATE = "/opt/sovereign/llama31_tools.jinja"

ALWAYS = (
    ("--host", "0.0.0.0"),  # noqa: S104 - of the container, on a network without a way out
    ("--port", "8000"),
    ("--enable-prompt-tokens-details",),
    ("--disable-uvicorn-access-log",),
    # A picture whose address a client names is fetched from nowhere: no host has a name under .invalid.
    ("--allowed-media-domains", "nowhere.invalid"),
)


class WrongSetting(Exception):
    """A setting cannot be used; the message is one line."""


class Setting(NamedTuple):
    """A variable, what it is when it is not set, the flag that it becomes, and how its text is checked."""

    name: str
    default: str
    flag: str
    check: Callable[[str], object] = str


def share(text: str) -> float:
    """Read a part of a whole. Raises ValueError."""
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError(text)
    return value


def count(text: str) -> int:
    """Read a number of at least 1. Raises ValueError."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def tokens(text: str) -> int:
    """Read a number of tokens; -1 has vLLM take as many as fit. Raises ValueError."""
    return -1 if text == "-1" else count(text)


# For a 48 GB card: 39.8 GB of weights leave 32,768 tokens no room at a share of 0.90, nor at 16 bits a value.
SETTINGS = (
    Setting("ENGINE_SERVED_NAME", "llama-3.1-70b-instruct", "--served-model-name"),
    Setting("ENGINE_CONTEXT", "16384", "--max-model-len", tokens),
    Setting("ENGINE_MEMORY_SHARE", "0.95", "--gpu-memory-utilization", share),
    Setting("ENGINE_KV_TYPE", "fp8", "--kv-cache-dtype"),
    Setting("ENGINE_SEQUENCES", "8", "--max-num-seqs", count),
    Setting("ENGINE_QUEUE_LIMIT", "72", "--max-num-queued-reqs", count),
    Setting("ENGINE_SHUTDOWN_S", "40", "--shutdown-timeout", count),
)
MODEL = Setting("ENGINE_MODEL", "llama-3.1-70b-instruct-awq", "")
PARSER = Setting("ENGINE_TOOL_PARSER", "llama3_json", "--tool-call-parser")
CHAT_TEMPLATE = Setting("ENGINE_CHAT_TEMPLATE", TEMPLATE, "--chat-template")
EXTRA = Setting("ENGINE_EXTRA_FLAGS", "", "")


def command(env: Mapping[str, str]) -> list[str]:
    """Return the command line for these settings. Raises WrongSetting."""
    words = ["vllm", "serve", str(Path("/models") / value(MODEL, env))]
    for flag in ALWAYS:
        words += flag
    for setting in SETTINGS:
        words += [setting.flag, value(setting, env)]
    words += tool_flags(env)
    try:
        return words + shlex.split(value(EXTRA, env))
    except ValueError as problem:
        raise WrongSetting(f"{EXTRA.name}: {problem}") from None


def tool_flags(env: Mapping[str, str]) -> Iterator[str]:
    """Yield the flags of function calling; `none` leaves out the parser, and `own` our template for the model's."""
    if (parser := value(PARSER, env)) != "none":
        yield from ("--enable-auto-tool-choice", PARSER.flag, parser)
    if (template := value(CHAT_TEMPLATE, env)) != "own":
        yield from (CHAT_TEMPLATE.flag, template)


def value(setting: Setting, env: Mapping[str, str]) -> str:
    """Return a setting's text, checked. Raises WrongSetting."""
    text = env.get(setting.name) or setting.default
    try:
        setting.check(text)
    except ValueError:
        raise WrongSetting(f"{setting.name}: {text!r} is not what it takes") from None
    return text


def environment(env: Mapping[str, str], key_file: Path = KEY_FILE) -> dict[str, str]:
    """Return vLLM's environment: ours without our own settings, and with the key. Raises WrongSetting."""
    kept = {name: text for name, text in env.items() if not name.startswith("ENGINE_")}
    try:
        return kept | {"VLLM_API_KEY": key_file.read_text(encoding="utf-8").strip()}
    except OSError as failure:
        raise WrongSetting(f"cannot read the key in {key_file}: {failure.strerror}") from None


def main() -> None:
    """Become vLLM, or say in one line why not."""
    try:
        words, env = command(os.environ), environment(os.environ)
    except WrongSetting as problem:
        sys.exit(f"error: {problem}")
    if not Path(words[2], "config.json").is_file():
        sys.exit(f"error: there is no model in {words[2]}: `just model-fetch` brings it")
    print(shlex.join(words), flush=True)
    os.execvpe(words[0], words, env)  # noqa: S606 - to be vLLM is the point: it takes our signals itself


if __name__ == "__main__":
    main()

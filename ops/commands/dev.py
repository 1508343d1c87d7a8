"""`python -m ops dev`: a working API on loopback in one command, with a model stand-in unless a model server is set."""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from app.inference.chunks import decode_models
from app.settings import Settings, models_of, without_password
from app.upstreams import UpstreamSpec
from ops.commands.serve import run
from ops.commands.settings import fail, settings_or_exit

STAND_IN_MODEL = "sovereign-standin"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
LISTING_TIMEOUT_S = 3.0
KEY_FILE = Path("data/dev_api_key")

# Names in programs written for OpenAI, so that they run unchanged during development.
FAMILIAR_NAMES = (
    "gpt-3.5-turbo",
    "gpt-4",
    "gpt-4-turbo",
    "gpt-4-turbo-preview",
    "gpt-4-1106-preview",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "o1",
    "o3",
    "o3-mini",
    "o4-mini",
)

SNIPPET = """\
from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key="{api_key}")
assistant = client.beta.assistants.create(model="{model}", instructions="You are a trading assistant.")
thread = client.beta.threads.create(messages=[{{"role": "user", "content": "What moves gold prices?"}}])
with client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
    for text in stream.text_deltas:
        print(text, end="", flush=True)
"""


@click.command()
def dev() -> None:
    """Run the API on loopback until Ctrl-C, with all state under data/."""
    # Until the server listens and after it stopped, SIGTERM too must run what ends the stand-in. As an interrupt it
    # ends what is awaited in good order; an exception out of nowhere could leave the thread of a store behind.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    settings = settings_or_exit({"LOG_FORMAT": "text", **os.environ})
    settings = msgspec.structs.replace(settings, api_key=settings.api_key or kept_key(KEY_FILE))
    if os.environ.get("MODEL_URL") or settings.models_file:
        first = first_for_chats(settings)
        model = settings.model_name or served_model(first.url, first.api_key)
        run(settings, on_started=lambda: announce(settings, model))
        return
    with stand_in(os.environ) as url:
        settings = msgspec.structs.replace(
            settings,
            model_url=url,
            model_api_key=None,
            model_aliases=familiar_aliases(settings.model_aliases),
        )
        run(settings, on_started=lambda: announce(settings, STAND_IN_MODEL))


def first_for_chats(settings: Settings) -> UpstreamSpec:
    """Return the model server that chats prefer."""
    return next(one for one in models_of(settings).upstreams if one.plays("chat"))


def familiar_aliases(own: Mapping[str, str]) -> dict[str, str]:
    """Return the operator's aliases, or else the familiar names leading to the stand-in."""
    return dict(own) or dict.fromkeys(FAMILIAR_NAMES, STAND_IN_MODEL)


def kept_key(path: Path) -> str:
    """Return the development key, made on first use and kept in a file that only its owner can read."""
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    key = f"sk-dev-{secrets.token_urlsafe(24)}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
    return key


@contextmanager
def stand_in(env: Mapping[str, str]) -> Iterator[str]:
    """Run the model stand-in beside the API; yield its URL."""
    command = [sys.executable, "-m", "ops", "standin", "--port", env.get("STANDIN_PORT") or "0"]
    with subprocess.Popen([*command, "--model", STAND_IN_MODEL], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if not line.startswith("http"):
                fail("the model stand-in did not start; is STANDIN_PORT free?")
            url = line.rstrip("/").removesuffix("/v1") + "/v1"
            wait_for(url + "/models")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def served_model(url: str, api_key: str | None) -> str | None:
    """Return the first name that a model server lists, so that the snippet runs as printed; None when it says none."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    request = urllib.request.Request(f"{url.rstrip('/')}/models", headers=headers)  # noqa: S310 - settings checked it
    try:
        with urllib.request.urlopen(request, timeout=LISTING_TIMEOUT_S) as answer:  # noqa: S310 - as above
            return decode_models(answer.read()).data[0].id
    except (OSError, IndexError, msgspec.DecodeError):
        return None


def wait_for(url: str) -> None:
    """Wait until an address answers."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - our own child's http address
            return
        except OSError:
            if time.monotonic() > deadline:
                fail("the model stand-in did not answer in time")
            time.sleep(0.05)


def announce(settings: Settings, model: str | None) -> None:
    """Print where the API is, its key, and a program to try."""
    base_url = f"http://{settings.api_host}:{settings.api_port}/v1"
    rule = "-" * 78
    click.echo(
        f"\n{rule}\nSovereign Assistant API: {base_url}\n"
        f"key: {settings.api_key}\n"
        f"model server: {without_password(first_for_chats(settings).url)}\n"
        f"docs: http://{settings.api_host}:{settings.api_port}/docs\n{rule}\n"
        + SNIPPET.format(base_url=base_url, api_key=settings.api_key, model=model or "your-model")
        + f"{rule}\nCtrl-C stops all of it.\n"
    )

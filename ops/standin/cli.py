"""The `standin` command: serves a stand-in until it is told to stop, and prints the URL it listens on."""

import asyncio
import signal

import click
import uvloop

from ops.standin.config import DEFAULT_MODEL, StandinConfig
from ops.standin.server import start_standin


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of the served model.")
@click.option(
    "--max-model-len", type=click.IntRange(min=16), default=8192, show_default=True, help="Context in tokens."
)
@click.option("--api-key", help="Key to ask for under /v1; none by default.")
@click.option(
    "--first-token-ms", type=click.FloatRange(min=0), default=0, show_default=True, help="Wait before the first token."
)
@click.option(
    "--token-ms", type=click.FloatRange(min=0), default=15, show_default=True, help="Wait before each other token."
)
@click.option(
    "--max-num-seqs",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Requests served at once; others wait.",
)
@click.option(
    "--max-queued", type=click.IntRange(min=0), help="Requests that may wait before 503; no limit by default."
)
@click.option("--uvloop/--no-uvloop", "use_uvloop", default=True, show_default=True, help="Event loop.")
def standin(host: str, port: int, use_uvloop: bool, **settings: object) -> None:
    """Serve a stand-in for vLLM: canned answers over the OpenAI wire, for development without a GPU.

    Every reply is marked "[stand-in]". The message "say exactly: TEXT" is answered with TEXT, and
    "repeat N words" with N words.
    """
    config = StandinConfig(**settings)  # type: ignore[arg-type]  # click has converted each option
    factory = uvloop.new_event_loop if use_uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            runner.run(_serve(config, host, port))
        except OSError as problem:
            raise click.ClickException(f"cannot listen on {host}:{port}: {problem.strerror}") from problem


async def _serve(config: StandinConfig, host: str, port: int) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    runner, url = await start_standin(config, host, port)
    click.echo(url)
    await told_to_stop.wait()
    await runner.cleanup()

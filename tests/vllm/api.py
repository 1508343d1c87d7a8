"""Our API, started as its user starts it: `python -m ops serve`, configured by the environment."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from tests.vllm import prepare
from tests.vllm.engine import Engine
from tests.vllm.server import Server, free_port, stopped_after

START_WITHIN_S = 30.0
GRACE_S = 2  # short, so that stopping the API cuts answers that take longer
STOP_WITHIN_S = 15.0


class Api(Server):
    """The API process; its state lives in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = f"sk-{secrets.token_hex(16)}"
        command: list[str | Path] = [prepare.ROOT / ".venv" / "bin" / "python", "-m", "ops", "serve"]
        super().__init__("the API", command, free_port(), "/health/live", folder / "api.log")

    @property
    def url(self) -> str:
        """What a client is given as its base URL."""
        return f"{self.address}/v1"

    def begin(self, engine: Engine) -> None:
        """Start it, a second time on the port and the state that it had, and wait until it is ready."""
        self.start(self.environment(engine), prepare.ROOT, START_WITHIN_S)

    def environment(self, engine: Engine) -> dict[str, str]:
        return {
            "ENVIRONMENT": "development",
            "API_KEY": self.key,
            "API_PORT": str(self.port),
            "DATABASE_URL": f"sqlite:///{self.folder.resolve() / 'sovereign_assistant.db'}",
            "MODEL_URL": engine.url,
            "MODEL_API_KEY": engine.key,
            "SHUTDOWN_GRACE_S": str(GRACE_S),
            "PYTHONUNBUFFERED": "1",
        }


@contextlib.contextmanager
def running_api(folder: Path, engine: Engine, **settings: str) -> Iterator[Api]:
    api = Api(folder)
    with stopped_after(api, STOP_WITHIN_S):
        api.start(api.environment(engine) | settings, prepare.ROOT, START_WITHIN_S)
        yield api

"""A fault of ours on every route: a 500 that reveals nothing, and a line in the log under the request's id."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.assistants.service import AssistantService
from app.audit.service import AuditService
from app.catalog.service import Catalog
from app.chat.service import ChatService
from app.conversations.service import ConversationService
from app.health.service import HealthService
from app.keys.changes import Changes
from app.keys.projects import ProjectService
from app.keys.service import KeyService
from app.kit.clock import SystemClock
from app.main import Parts
from app.messages.service import MessageService
from app.moving.service import MovingService
from app.responses.service import ResponseService
from app.runs.service import RunService
from app.stored.service import StoredCompletions
from app.threads.service import ThreadService
from app.usage.service import UsageService
from tests.conformance.sse import parse
from tests.fakes.callers import LIMITER
from tests.fixtures.calls import assert_refused, new_assistant, new_thread
from tests.fixtures.rooms import Served, served
from tests.fixtures.routes import ROUTES, Route

pytestmark = pytest.mark.anyio

SECRET = "the-secret-in-the-fault"
TEXT = "The server had an error while processing your request. Give its request id to whoever runs the server."
IDS = {"assistant_id": "asst_1", "thread_id": "thread_1", "message_id": "msg_1", "run_id": "run_1", "step_id": "step_1"}
IDS |= {"response_id": "resp_1"}
IDS |= {"conversation_id": "conv_1", "item_id": "msg_1"}
IDS |= {"key_id": "key_1", "project_id": "proj_1", "completion_id": "chatcmpl-1"}
BODIES = {
    "createResponse": {"model": "m", "input": "x"},
    "Compactconversation": {"model": "m", "input": "x"},
    "Getinputtokencounts": {"model": "m", "input": "x"},
    "createKey": {"name": "x"},
    "createProject": {"name": "x"},
    "createMessage": {"role": "user", "content": "x"},
    "submitToolOuputsToRun": {"tool_outputs": []},
    "createRun": {"assistant_id": "asst_1"},
    "createThreadAndRun": {"assistant_id": "asst_1"},
    "modifyMessage": {"metadata": {}},
    "modifyRun": {"metadata": {}},
    "createChatCompletion": {"model": "m", "messages": []},
    "createCompletion": {"model": "m", "prompt": "x"},
    "createEmbedding": {"model": "m", "input": "x"},
    "updateChatCompletion": {"metadata": {}},
    "updateConversation": {"metadata": {}},
    "createConversationItems": {"items": []},
}
WITHOUT_PARTS = ("/health", "/health/live")


class Faulty:
    """A part that fails at whatever it is asked to do."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(SECRET)

    def __call__(self) -> Any:
        raise RuntimeError(SECRET)


class FaultyCatalog(Faulty, Catalog):
    """A catalog that has nothing of what it needs."""

    def __init__(self) -> None:
        pass


def put_faults_into(parts: Parts) -> None:
    """Replace every service by one whose own parts are faulty."""
    faulty, clock = Faulty(), SystemClock()
    parts.catalog = FaultyCatalog()
    parts.health = HealthService(faulty, parts.catalog)
    parts.audit = AuditService(faulty, faulty)
    parts.usage = UsageService(faulty, faulty, faulty)
    changes = Changes(faulty, faulty, None)
    parts.keys, parts.projects = KeyService(changes, clock, b"pepper"), ProjectService(changes, clock)
    parts.assistants = AssistantService(faulty, clock, faulty)
    parts.threads = ThreadService(faulty, clock, faulty)
    parts.conversations = ConversationService(faulty, clock, parts.threads)
    parts.messages = MessageService(faulty, clock)
    parts.moving = MovingService(faulty, clock)
    parts.stored = StoredCompletions(faulty, clock, {})
    parts.chat = ChatService(parts.catalog, faulty, parts.stored)
    given = faulty, clock, faulty, faulty, LIMITER, faulty
    parts.responses = ResponseService(
        *(faulty, clock, faulty, faulty, parts.catalog, faulty),
        server="srv_1",
        expires_after_s=600,
        ping_s=1,
        context_messages=100,
    )
    parts.runs = RunService(*given, expires_after_s=600, ping_s=1, context_messages=100)


@pytest.fixture(scope="module")
async def broken(
    conformance: Any, tmp_path_factory: pytest.TempPathFactory, stand_in_url: str, anyio_backend: str
) -> AsyncIterator[Any]:
    """An API whose services all have a fault; it starts and stops as it should."""
    url = f"sqlite:///{tmp_path_factory.mktemp('broken')}/sovereign_assistant.db"
    async with served(conformance, DATABASE_URL=url, MODEL_URL=stand_in_url) as api:
        put_faults_into(api.parts)
        yield api.client


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path not in WITHOUT_PARTS], ids=str)
async def test_a_fault_reveals_nothing_and_is_logged_under_the_requests_id(
    broken: Any, route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    body = BODIES.get(route.operation_id)
    answer = await broken.request(route.method, route.path.format(**IDS, model="m"), json=body)
    assert_refused(answer, TEXT, status=500, kind="server_error")
    (record,) = [record for record in caplog.records if record.getMessage() == "unhandled fault"]
    assert vars(record)["request_id"] == answer.headers["x-request-id"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_a_stream_that_breaks_tells_of_an_error_and_not_why(
    conformance: Any, sqlite_url: str, stand_in_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=stand_in_url) as api:
        assistant, thread = await new_assistant(api.client), await new_thread(api.client, "x")
        api.parts.runs = Breaking(api)
        body = {"assistant_id": assistant, "stream": True}
        answer = await api.client.post(f"/v1/threads/{thread}/runs", json=body)
    assert answer.status_code == 200
    *_, last = parse(answer.content)
    assert (last.event, SECRET in answer.text) == ("error", False)
    assert TEXT in last.data.decode()
    assert [record.exc_info is not None for record in caplog.records if record.getMessage() == "a stream broke"] == [
        True
    ]


class Breaking(RunService):
    """Runs whose streams break after the first event."""

    def __init__(self, api: Served) -> None:
        vars(self).update(vars(api.parts.runs))

    async def stream(self, started: Any) -> AsyncIterator[bytes]:  # type: ignore[override]  # raises, whatever it is given
        async for frames in super().stream(started):
            yield frames
            raise RuntimeError(SECRET)

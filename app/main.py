"""The composition root: builds every part once, starts them in order and stops them in reverse."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide

from app.admin.controller import KeysController, ProjectsController
from app.assistants.controller import AssistantsController
from app.assistants.service import AssistantService
from app.audit.controller import AuditController
from app.audit.denials import Denials
from app.audit.keeper import AuditKeeper
from app.audit.service import AuditService
from app.catalog.controller import ModelsController
from app.catalog.opening import opened_catalog
from app.catalog.service import Catalog
from app.chat.controller import ChatController
from app.chat.memory import ChatMemory
from app.chat.service import ChatService
from app.conversations.controller import ConversationsController
from app.conversations.service import ConversationService
from app.db.database import Database
from app.db.opening import open_database, sqlite_file
from app.db.read_only import SealableDatabase
from app.engine.bus import Bus
from app.engine.executor import Executor
from app.engine.journal import Journal
from app.engine.pruning import keep_pruning
from app.health.controller import HealthController
from app.health.service import HealthService
from app.keys.opening import Keys, opened_keys
from app.keys.projects import ProjectService
from app.keys.ring import KeyRing
from app.keys.service import KeyService
from app.kit.addresses import networks_of
from app.kit.caller import Caller
from app.kit.clock import Clock, SystemClock
from app.kit.tasks import TaskOwner
from app.limits.allowance import Allowance
from app.limits.defaults import default_limits
from app.limits.keeper import kept
from app.limits.ledger import Ledger
from app.limits.limiter import Limiter
from app.messages.controller import MessagesController
from app.messages.service import MessageService
from app.moving.controller import MovingController
from app.moving.service import MovingService
from app.responses.controller import ResponsesController
from app.responses.service import ResponseService
from app.runs.controller import RunsController
from app.runs.lease import Lease, LeaseTimes
from app.runs.service import RunService
from app.settings import Settings
from app.stored.controller import StoredCompletionsController
from app.stored.service import StoredCompletions
from app.telemetry.sampling import keep_sampling
from app.threads.controller import ThreadsController
from app.threads.service import ThreadService
from app.usage.controller import AdminUsageController, UsageController
from app.usage.service import UsageService
from app.web.access import Access
from app.web.asgi import ASGIApp
from app.web.auth import Auth
from app.web.azure import Azure
from app.web.bodies import ApiRequest
from app.web.body_limit import BodyLimit
from app.web.cors import Cors
from app.web.denied import Denied
from app.web.dependencies import one_after_another
from app.web.errors import EXCEPTION_HANDLERS
from app.web.exposition import Exposition
from app.web.openapi import OpenApiController
from app.web.options import Options, allowed_methods
from app.web.pages.controller import PagesController
from app.web.queries import (
    after_event,
    ascending_page,
    forward_page,
    metadata_filter,
    page_query,
    project_filter,
    replay,
)
from app.web.rate_limit import RateLimit


class ChatRooms(ChatController, StoredCompletionsController):
    """Two rooms behind one path: the framework answers OPTIONS for one controller of a path only."""


CONTROLLERS = (
    AssistantsController,
    ThreadsController,
    MessagesController,
    RunsController,
    ResponsesController,
    ConversationsController,
    ModelsController,
    ChatRooms,
    ProjectsController,
    KeysController,
    AuditController,
    UsageController,
    AdminUsageController,
    MovingController,
    HealthController,
    OpenApiController,
    PagesController,
)


class Parts:
    """Everything that lives as long as the server. Filled when it starts."""

    ending: asyncio.Task[None] | None = None
    """What ends the answers within the grace, from when the server was told to stop."""

    lease_times = LeaseTimes()
    """How soon the runs of a server that is gone are another's; tests are in a hurry."""

    audit: AuditService
    database: Database
    limiter: Limiter
    usage: UsageService
    executor: Executor
    catalog: Catalog
    health: HealthService
    admission: Keys
    projects: ProjectService
    keys: KeyService
    assistants: AssistantService
    chat: ChatService
    memory: ChatMemory
    stored: StoredCompletions
    threads: ThreadService
    messages: MessageService
    moving: MovingService
    runs: RunService
    responses: ResponseService
    conversations: ConversationService

    def __init__(self) -> None:
        self.denials = Denials(SystemClock())

    async def end(self, grace_s: float) -> None:
        """Let runs and relayed answers end for some seconds; then runs are left to the next start, answers are cut."""
        await asyncio.gather(self.executor.stop(grace_s), self.chat.stop(grace_s))


def create_app(settings: Settings) -> ASGIApp:
    """Build the API. Nothing is opened until the server starts it."""
    parts = Parts()
    return wrap(create_framework_app(settings, parts), settings)


def create_framework_app(settings: Settings, parts: Parts) -> Litestar:
    """Build the routes and what handlers may ask for."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        async with running(settings, parts):
            app.state.ring = parts.admission.ring
            app.state.denials = parts.denials
            yield

    clock = SystemClock()
    parts.limiter = Limiter(clock, Ledger(clock), default_limits(settings))
    names = (
        "audit",
        "usage",
        "catalog",
        "chat",
        "stored",
        "health",
        "projects",
        "keys",
        "assistants",
        "threads",
        "messages",
        "moving",
        "runs",
        "conversations",
        "responses",
    )
    services = {name: Provide(_getter(parts, name), sync_to_thread=False) for name in names}
    framework = Litestar(
        route_handlers=CONTROLLERS,
        lifespan=[lifespan],
        request_class=ApiRequest,
        state=State({"json_depth_limit": settings.json_depth_limit, "limiter": parts.limiter}),
        dependencies={
            **services,
            "caller": Provide(_caller, sync_to_thread=False),
            "allowance": Provide(_allowance, sync_to_thread=False),
            "page_query": Provide(page_query, sync_to_thread=False),
            "forward_page": Provide(forward_page, sync_to_thread=False),
            "ascending_page": Provide(ascending_page, sync_to_thread=False),
            "after_event": Provide(after_event, sync_to_thread=False),
            "metadata_filter": Provide(metadata_filter, sync_to_thread=False),
            "replay": Provide(replay, sync_to_thread=False),
            "project_filter": Provide(project_filter, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=None,  # BodyLimit's to say: the framework's own limit would undercut a larger one
        openapi_config=None,
        logging_config=None,
    )
    return one_after_another(framework)


def wrap(framework: Litestar, settings: Settings) -> ASGIApp:
    """Put the edge around the routes, outermost last."""
    app: ASGIApp = Options(cast(ASGIApp, framework), allowed=allowed_methods(framework))
    app = Exposition(BodyLimit(app, limit_bytes=settings.body_limit_bytes))
    app = RateLimit(app, limiter=framework.state.limiter)
    app = Auth(app, ring=lambda: cast(KeyRing, framework.state.ring))
    app = Denied(app, denials=lambda: cast(Denials, framework.state.denials))
    if settings.cors_origins:
        app = Cors(app, origins=settings.cors_origins)
    return Access(Azure(app), trusted_proxies=networks_of(settings.trusted_proxies))


def _getter(parts: Parts, name: str) -> Any:
    def get() -> Any:
        return getattr(parts, name)

    return get


def _caller(request: Request[Any, Any, Any]) -> Caller:
    caller: Caller = request.scope["state"]["caller"]
    return caller


def _allowance(request: Request[Any, Any, Any]) -> Allowance:
    allowance: Allowance = request.scope["state"]["allowance"]
    return allowance


@asynccontextmanager
async def running(settings: Settings, parts: Parts) -> AsyncGenerator[None, None]:
    """Open every part, and close it again: no run is accepted once the executor stops, then the store closes."""
    clock = SystemClock()
    opened = await open_database(settings.database_url)
    sealable = SealableDatabase(opened) if settings.read_only else None
    database: Database = sealable or opened
    keeper = AuditKeeper(database, parts.denials)
    parts.audit = AuditService(database, keeper)
    chores = TaskOwner()
    lease = Lease(database, parts.lease_times, shared=sqlite_file(settings.database_url) is None)
    try:
        async with (
            opened_keys(settings, database, clock) as parts.admission,
            kept(parts.limiter.ledger, database, clock, shared=lease.shared) as usage,
            opened_catalog(settings) as parts.catalog,
            lease.held(),
        ):
            parts.usage = UsageService(database, parts.limiter, usage)
            build(settings, parts, clock, database, lease)
            chores.start(keep_sampling(sqlite_file(settings.database_url)), name="sampling")
            if sealable is not None:
                sealable.seal()
            else:
                await start_writing(settings, parts, clock, lease, keeper, chores)
            try:
                yield
            finally:
                await (parts.ending or parts.end(settings.shutdown_grace_s))
                await parts.memory.close()
    finally:
        await chores.close()
        await keeper.close()
        await database.close()


async def start_writing(
    settings: Settings, parts: Parts, clock: Clock, lease: Lease, keeper: AuditKeeper, chores: TaskOwner
) -> None:
    """Take up what a stopped server left, and begin what goes on beside the requests."""
    chores.start(keeper.keep(), name="audit")
    chores.start(keep_pruning(parts.database, clock, settings.run_events_kept_s), name="pruning")
    if not lease.shared:
        await parts.memory.release_left()
    await parts.runs.take_up_unended()
    if lease.shared:
        chores.start(parts.runs.keep_taking_up(), name="runs of other servers")
    chores.start(parts.runs.keep_expiring(), name="expiry")


def build(settings: Settings, parts: Parts, clock: Clock, database: Database, lease: Lease) -> Executor:
    """Put the services together over what is open."""
    journal = Journal(database)
    parts.database = database
    parts.stored = StoredCompletions(database, clock, parts.catalog.aliases)
    parts.projects, parts.keys = parts.admission.projects, parts.admission.keys
    parts.health = HealthService(database, parts.catalog)
    parts.messages = MessageService(database, clock)
    parts.moving = MovingService(database, clock)
    parts.memory = ChatMemory(database, clock, conversation=parts.messages, context_messages=settings.context_messages)
    parts.chat = ChatService(parts.catalog, parts.memory, parts.stored)
    executor = parts.executor = Executor(
        models=parts.catalog,
        conversation=parts.messages,
        journal=journal,
        bus=Bus(),
        clock=clock,
        concurrency=settings.run_concurrency,
        queue_limit=settings.run_queue_limit,
        flush_s=settings.run_flush_ms / 1000,
        context_messages=settings.context_messages,
    )
    parts.assistants = AssistantService(database, clock, parts.catalog.default_model)
    parts.threads = ThreadService(database, clock, executor)
    parts.conversations = ConversationService(database, clock, parts.threads)
    parts.runs = RunService(
        database,
        clock,
        executor,
        journal,
        parts.limiter,
        lease,
        expires_after_s=settings.run_expires_after_s,
        ping_s=settings.stream_ping_s,
        context_messages=settings.context_messages,
    )
    parts.responses = ResponseService(
        database,
        clock,
        executor,
        journal,
        parts.catalog,
        parts.messages,
        server=lease.server,
        expires_after_s=settings.run_expires_after_s,
        ping_s=settings.stream_ping_s,
        context_messages=settings.context_messages,
    )
    return executor

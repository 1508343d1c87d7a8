"""Rules of responses: accepted in one transaction, carried out by the engine, rendered from what it tells."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from msgspec import Struct, json

from app.catalog.permission import require_model
from app.catalog.service import Catalog
from app.db.database import Database, ReadTx, WriteTx
from app.engine.bus import Topic
from app.engine.context import Told
from app.engine.events import TurnCancelled
from app.engine.executor import Executor
from app.engine.follow import follow
from app.engine.journal import Journal
from app.engine.prompt import WHOLE, Conversation
from app.engine.turn import Stamped
from app.engine.watching import ended_at_rest
from app.errors import ApiError, InvalidRequest, Unavailable
from app.inference.tokens import CHARACTERS_PER_TOKEN
from app.items.compiling import compiled
from app.items.schemas import Item
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.kit.wire import to_json
from app.limits.allowance import Allowance
from app.messages.repository import MessageReader
from app.responses.checks import context_of, require_carried_out, require_input
from app.responses.columns import NewResponse, asked_of, run_columns
from app.responses.compacting import QUESTION, request_of
from app.responses.counting import InputCounter, counted_request
from app.responses.fitting import all_told
from app.responses.progress import Progress, as_accepted
from app.responses.rendering import ResponseStream
from app.responses.repository import ResponseReader, ResponseWriter
from app.responses.rows import response_of
from app.responses.schemas import CompactInput, CountInput, CreateResponse, InputTokens, Response, ResponseDeleted
from app.responses.unkept import Unkept, unkept
from app.runs.acceptance import USUAL_ANSWER_TOKENS, Acceptance
from app.web.errors import error_event
from app.web.events import PING, Last

BROKEN_OFF = "The response's events end here: the server is stopping, or the response was deleted."
STOPPING = "The server is stopping. Try again in a moment."
RETRY_AFTER_S = 1


class StartedResponse(Struct, frozen=True, kw_only=True):
    """A response that goes on: as it was accepted, its run, and where that is told."""

    response: Response
    run_id: str
    topic: Topic
    stored: bool = True


class StartedCompaction(Struct, frozen=True, kw_only=True):
    """A summary that is being made, and what it is of."""

    summary: StartedResponse
    said: Sequence[Told]


class ResponseService:
    """Starts, follows and keeps responses."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        executor: Executor,
        journal: Journal,
        catalog: Catalog,
        conversation: Conversation,
        *,
        server: str,
        expires_after_s: int,
        ping_s: float,
        context_messages: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._executor = executor
        self._journal = journal
        self._acceptance = Acceptance(database, executor)
        self._server = server
        self._catalog = catalog
        self._conversation = conversation
        self._counter = InputCounter(catalog, conversation, context_messages)
        self._expires_after_s = expires_after_s
        self._ping_s = ping_s
        self._context_messages = context_messages

    async def create(self, caller: Caller, allowance: Allowance, body: CreateResponse) -> StartedResponse:
        """Accept a response and hand it to the executor. Raises NotFound, InvalidRequest, RateLimited."""
        new = await self._new(caller, body)
        estimate = await self._estimate(caller, allowance, new, body)
        if body.store is False:
            return await self._start_unkept(caller, allowance, estimate, new)
        at = self._clock.now()
        rows: list[Any] = []

        def accept(tx: WriteTx, starts: bool) -> tuple[Any, list[Stamped]]:
            writer = ResponseWriter(tx, caller, owner=self._server)
            run, row, events = writer.accept(new, at, starts=starts)
            rows[:] = [row]
            return run, events

        alone = new.conversation is None and new.previous_response_id is None
        said = all_told(new.items) if alone else None
        accepted = await self._acceptance.commit(caller, allowance, estimate, accept, said)
        response = as_accepted(response_of(accepted.row, rows[0], []))
        return StartedResponse(response=response, run_id=accepted.row.id, topic=accepted.topic)

    async def _new(self, caller: Caller, body: CreateResponse) -> NewResponse:
        """Return what is to be accepted. Raises InvalidRequest, PermissionDenied."""
        require_carried_out(body)
        require_input(body)
        conversation, previous_response_id = context_of(body)
        items = compiled(body.input or [], "input")
        model = body.model or await self._catalog.default_model()
        require_model(caller, model)
        asked = asked_of(body)
        return NewResponse(
            run=run_columns(body, asked, model, self._clock.now(), self._expires_after_s),
            settings=to_json(asked),
            items=items,
            conversation=conversation,
            previous_response_id=previous_response_id,
            background=bool(body.background),
        )

    async def _answerable(self, caller: Caller, body: CreateResponse) -> NewResponse:
        """Return what is asked at once, without a response that could fail. Raises NotFound for an unknown model."""
        new = await self._new(caller, body)
        self._catalog.route(new.run["model"])
        return new

    async def _estimate(self, caller: Caller, allowance: Allowance, new: NewResponse, body: CreateResponse) -> int:
        """Return roughly what a response will use, prompt and answer; nothing where no limit asks."""
        if not allowance.counts_tokens:
            return 0
        said = len(json.encode(body.input)) + len(new.run["instructions"]) + len(new.run["tools"])
        tokens = said // CHARACTERS_PER_TOKEN + (body.max_output_tokens or USUAL_ANSWER_TOKENS)

        def weigh(tx: ReadTx) -> int:
            before = ResponseReader(tx, caller.project_id).before(new.conversation, new.previous_response_id)
            if before is None:
                return 0
            return MessageReader(tx, caller.project_id).weight(before.thread_id, self._context_messages)

        return tokens + await self._database.read(weigh)

    async def _start_unkept(
        self, caller: Caller, allowance: Allowance, estimate: int, new: NewResponse
    ) -> StartedResponse:
        made = await unkept(self._database, caller, new, self._clock.now())
        return self._begin(caller, allowance, estimate, made)

    def _begin(self, caller: Caller, allowance: Allowance, estimate: int, made: Unkept) -> StartedResponse:
        topic = self._acceptance.begin(caller, allowance, estimate, made.spec, made.response.created_at)
        return StartedResponse(response=made.response, run_id=made.spec.run_id, topic=topic, stored=False)

    async def count_input(self, caller: Caller, body: CountInput) -> InputTokens:
        """Return how many tokens an input takes with all that goes with it. Raises what `create` raises."""
        new = await self._answerable(caller, counted_request(body))
        made = await unkept(self._database, caller, new, self._clock.now())
        return InputTokens(input_tokens=await self._counter.count(made.spec))

    async def start_compaction(self, caller: Caller, allowance: Allowance, body: CompactInput) -> StartedCompaction:
        """Have a context summed up. Raises what `create` raises."""
        request = request_of(body)
        new = await self._answerable(caller, request)
        estimate = await self._estimate(caller, allowance, new, request)
        made = await unkept(self._database, caller, new, self._clock.now(), [QUESTION])
        spec = made.spec
        past = await self._conversation.history(spec.thread_id, WHOLE, spec.until) if spec.thread_id else []
        started = self._begin(caller, allowance, estimate, made)
        return StartedCompaction(summary=started, said=[*past, *spec.said[:-1]])

    async def answer(self, started: StartedResponse) -> Response:
        """Wait until a response has ended; return it. One that the server's stop cuts short goes on at the next start.

        Raises Unavailable where nothing of it is kept.
        """
        progress = Progress(started.response)
        async for events in follow(self._journal, started.run_id, started.topic, ping_s=self._ping_s):
            for stamped in events:
                progress.take(stamped.event)
        if not progress.ended and not started.stored:
            raise Unavailable(STOPPING, retry_after_s=RETRY_AFTER_S)
        return progress.response

    def abandon(self, started: StartedResponse) -> None:
        """Stop a response of which nothing is kept, since its client is gone. Others go on."""
        if not started.stored:
            self._executor.abandon(started.run_id)

    async def stream(self, started: StartedResponse) -> AsyncGenerator[bytes, None]:
        """Render a started response's events as they happen."""
        stream = ResponseStream(started.response)
        try:
            async for frames in self._frames(stream, started.run_id, started.topic):
                yield frames
        finally:
            if not stream.progress.ended:
                self.abandon(started)

    async def events(self, caller: Caller, response_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Render a response's events above a number: what was, then what comes. Raises NotFound, and InvalidRequest
        once the events of one that has ended are no longer kept.
        """
        run, row = await self._database.read(lambda tx: ResponseReader(tx, caller.project_id).require(response_id))
        topic = self._executor.topic(run.id)
        if topic is None and not await self._journal.events_after(run.id, 0):
            raise InvalidRequest(f"The events of response {response_id} are no longer kept.", code="events_expired")
        stream = ResponseStream(as_accepted(response_of(run, row, [])), after=after)
        return self._frames(stream, run.id, topic)

    async def _frames(self, stream: ResponseStream, run_id: str, topic: Topic | None) -> AsyncGenerator[bytes, None]:
        frames = b""
        async for events in follow(self._journal, run_id, topic, ping_s=self._ping_s):
            frames += stream.feed(events) if events else PING
            if frames and not stream.progress.ended:  # what ends it goes out once the run has let go of its place
                yield frames
                frames = b""
        yield Last(frames if stream.progress.ended else error_event(ApiError(BROKEN_OFF)))

    async def retrieve(self, caller: Caller, response_id: str) -> Response:
        """Return one response."""
        return await self._database.read(lambda tx: ResponseReader(tx, caller.project_id).retrieve(response_id))

    def poll_after_ms(self, response: Response) -> int | None:
        """Return after how many milliseconds it is worth asking for a response again, None when it has ended."""
        return self._executor.poll_after_ms() if response.status in ("queued", "in_progress") else None

    async def page(self, caller: Caller, query: PageQuery, metadata: Mapping[str, str]) -> Page[Response]:
        """List responses, or those that have all of some metadata."""
        return await self._database.read(lambda tx: ResponseReader(tx, caller.project_id).page(query, metadata))

    async def input_items(self, caller: Caller, response_id: str, query: PageQuery) -> Page[Item]:
        """List what a response was sent."""
        return await self._database.read(
            lambda tx: ResponseReader(tx, caller.project_id).input_items(response_id, query)
        )

    async def cancel(self, caller: Caller, response_id: str) -> Response:
        """Stop a response of the background; its answer so far is kept. Raises InvalidRequest when it has ended."""
        at = self._clock.now()
        run = await self._database.write(lambda tx: ResponseWriter(tx, caller).begin_cancel(response_id, at))
        if run is not None and not await self._executor.cancel(run.id):
            spec = await self._database.write(lambda tx: ResponseWriter(tx, caller).cancel(response_id, at))
            if spec is not None:
                ended_at_rest(spec, TurnCancelled)
        return await self.retrieve(caller, response_id)

    async def delete(self, caller: Caller, response_id: str) -> ResponseDeleted:
        """Delete a response."""
        at = self._clock.now()
        run_id = await self._database.write(lambda tx: ResponseWriter(tx, caller).delete(response_id, at))
        if run_id is not None:
            self._executor.abandon(run_id)
        return ResponseDeleted(id=response_id)

"""/v1/responses."""

import asyncio

from litestar import Controller, delete, get, post
from litestar import Response as Answer
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.items.schemas import Item
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.responses.compacting import compaction_of
from app.responses.schemas import (
    CompactInput,
    Compaction,
    CountInput,
    CreateResponse,
    InputTokens,
    Response,
    ResponseDeleted,
)
from app.responses.service import ResponseService, StartedResponse
from app.web.bodies import ApiRequest, WireBody
from app.web.events import EventStream, until_gone
from app.web.queries import Replay, require_id


class ResponsesController(Controller):
    """Responses: a turn of a model from items to items."""

    path = "/v1/responses"
    tags = ("Responses",)

    @post("/", dto=WireBody[CreateResponse], status_code=200, operation_id="createResponse")
    async def create(
        self,
        request: ApiRequest,
        responses: NamedDependency[ResponseService],
        data: JSONBody[CreateResponse],
    ) -> Answer[Response] | EventStream:
        """Make a response. With `stream` the answer is an event stream; with `background` it comes at once."""
        if data.stream:
            request.allowance.admit_stream()
        started = await responses.create(request.caller, request.allowance, data)
        if data.stream:
            return EventStream(responses.stream(started))
        if data.background:
            return _paced(responses, started.response)
        return Answer(await _answered(request, responses, started))

    @get("/", operation_id="listResponses")
    async def page(
        self,
        caller: NamedDependency[Caller],
        responses: NamedDependency[ResponseService],
        page_query: NamedDependency[PageQuery],
        metadata_filter: NamedDependency[dict[str, str]],
    ) -> Answer[Page[Response]]:
        """List stored responses, newest first, or those with `metadata[key]=value`. The original has no such list."""
        return Answer(await responses.page(caller, page_query, metadata_filter))

    @post("/input_tokens", dto=WireBody[CountInput], status_code=200, operation_id="Getinputtokencounts")
    async def count_input(
        self,
        caller: NamedDependency[Caller],
        responses: NamedDependency[ResponseService],
        data: JSONBody[CountInput],
    ) -> Answer[InputTokens]:
        """Count the tokens of an input, with its instructions, its tools and what it comes after."""
        return Answer(await responses.count_input(caller, data))

    @post("/compact", dto=WireBody[CompactInput], status_code=200, operation_id="Compactconversation")
    async def compact(
        self,
        request: ApiRequest,
        responses: NamedDependency[ResponseService],
        data: JSONBody[CompactInput],
    ) -> Answer[Compaction]:
        """Make a context shorter: what users said word for word, and a summary of all else. Nothing is kept of it."""
        started = await responses.start_compaction(request.caller, request.allowance, data)
        summary = await _answered(request, responses, started.summary)
        return Answer(compaction_of(started.said, summary))

    @get("/{response_id:str}", operation_id="getResponse")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        responses: NamedDependency[ResponseService],
        replay: NamedDependency[Replay],
        response_id: FromPath[str],
    ) -> Answer[Response] | EventStream:
        """Retrieve a response. With `stream` its events are told again, after `starting_after`, and go on live."""
        require_id("response_id", response_id, "resp")
        if replay.stream:
            return EventStream(await responses.events(caller, response_id, replay.starting_after))
        return _paced(responses, await responses.retrieve(caller, response_id))

    @post("/{response_id:str}/cancel", status_code=200, operation_id="cancelResponse")
    async def cancel(
        self,
        caller: NamedDependency[Caller],
        responses: NamedDependency[ResponseService],
        response_id: FromPath[str],
    ) -> Answer[Response]:
        """Stop a response of the background that has not ended. What it has said so far is kept."""
        require_id("response_id", response_id, "resp")
        return Answer(await responses.cancel(caller, response_id))

    @delete("/{response_id:str}", status_code=200, operation_id="deleteResponse")
    async def delete(
        self,
        caller: NamedDependency[Caller],
        responses: NamedDependency[ResponseService],
        response_id: FromPath[str],
    ) -> Answer[ResponseDeleted]:
        """Delete a response. What it put into a conversation stays there."""
        require_id("response_id", response_id, "resp")
        return Answer(await responses.delete(caller, response_id))

    @get("/{response_id:str}/input_items", operation_id="listInputItems")
    async def input_items(
        self,
        caller: NamedDependency[Caller],
        responses: NamedDependency[ResponseService],
        forward_page: NamedDependency[PageQuery],
        response_id: FromPath[str],
    ) -> Answer[Page[Item]]:
        """List what a response was sent, newest first."""
        require_id("response_id", response_id, "resp")
        return Answer(await responses.input_items(caller, response_id, forward_page))


async def _answered(request: ApiRequest, responses: ResponseService, started: StartedResponse) -> Response:
    """Wait for a response's end. A client that goes away meanwhile stops one of which nothing is kept."""
    if started.stored:
        return await responses.answer(started)
    answering = asyncio.create_task(responses.answer(started))
    leaving = asyncio.create_task(until_gone(request.receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            responses.abandon(started)
        return await answering
    except asyncio.CancelledError:
        responses.abandon(started)
        raise
    finally:
        answering.cancel()
        leaving.cancel()


def _paced(responses: ResponseService, response: Response) -> Answer[Response]:
    """Answer with a response; while it goes on, a header tells pollers when to come back, as with runs."""
    after_ms = responses.poll_after_ms(response)
    return Answer(response, headers={} if after_ms is None else {"openai-poll-after-ms": str(after_ms)})

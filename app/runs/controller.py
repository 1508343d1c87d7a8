"""/v1/threads/runs, /v1/threads/{thread_id}/runs and their steps."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.limits.allowance import Allowance
from app.runs.rows import unavailable_tools
from app.runs.schemas import CreateRun, CreateThreadAndRun, Run, RunStep, SubmitOutputs, UpdateRun
from app.runs.service import RunService, StartedRun
from app.web.bodies import WireBody
from app.web.events import EventStream
from app.web.queries import require_id


class RunsController(Controller):
    """Runs: a turn of a model over a thread."""

    path = "/v1/threads"
    tags = ("Runs",)

    @post("/runs", dto=WireBody[CreateThreadAndRun], status_code=200, operation_id="createThreadAndRun")
    async def create_with_thread(
        self,
        caller: NamedDependency[Caller],
        allowance: NamedDependency[Allowance],
        runs: NamedDependency[RunService],
        data: JSONBody[CreateThreadAndRun],
    ) -> Response[Run] | EventStream:
        """Create a thread and start a run over it. With `stream` the answer is an event stream."""
        if data.assistant_id is not None:
            require_id("assistant_id", data.assistant_id, "asst")
        if data.thread is not None and data.thread.assistant_id is not None:
            require_id("thread.assistant_id", data.thread.assistant_id, "asst")
        started = await runs.create_with_thread(caller, _asked(allowance, data.stream), data)
        return _answer(runs, started, stream=data.stream)

    @post("/{thread_id:str}/runs", dto=WireBody[CreateRun], status_code=200, operation_id="createRun")
    async def create(
        self,
        caller: NamedDependency[Caller],
        allowance: NamedDependency[Allowance],
        runs: NamedDependency[RunService],
        thread_id: FromPath[str],
        data: JSONBody[CreateRun],
    ) -> Response[Run] | EventStream:
        """Start a run over a thread. With `stream` the answer is an event stream."""
        require_id("thread_id", thread_id, "thread")
        if data.assistant_id is not None:
            require_id("assistant_id", data.assistant_id, "asst")
        started = await runs.create(caller, _asked(allowance, data.stream), thread_id, data)
        return _answer(runs, started, stream=data.stream)

    @get("/{thread_id:str}/runs", operation_id="listRuns")
    async def page(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        page_query: NamedDependency[PageQuery],
        thread_id: FromPath[str],
    ) -> Response[Page[Run]]:
        """List a thread's runs, newest first."""
        require_id("thread_id", thread_id, "thread")
        return Response(await runs.page(caller, thread_id, page_query))

    @get("/{thread_id:str}/runs/{run_id:str}", operation_id="getRun")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        thread_id: FromPath[str],
        run_id: FromPath[str],
    ) -> Response[Run]:
        """Retrieve a run."""
        _require_ids(thread_id, run_id)
        return _paced(runs, await runs.retrieve(caller, thread_id, run_id))

    @post(
        "/{thread_id:str}/runs/{run_id:str}",
        dto=WireBody[UpdateRun],
        status_code=200,
        operation_id="modifyRun",
    )
    async def update(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        thread_id: FromPath[str],
        run_id: FromPath[str],
        data: JSONBody[UpdateRun],
    ) -> Response[Run]:
        """Replace a run's metadata."""
        _require_ids(thread_id, run_id)
        return Response(await runs.update(caller, thread_id, run_id, data))

    @post(
        "/{thread_id:str}/runs/{run_id:str}/submit_tool_outputs",
        dto=WireBody[SubmitOutputs],
        status_code=200,
        operation_id="submitToolOuputsToRun",
    )
    async def submit_tool_outputs(
        self,
        caller: NamedDependency[Caller],
        allowance: NamedDependency[Allowance],
        runs: NamedDependency[RunService],
        thread_id: FromPath[str],
        run_id: FromPath[str],
        data: JSONBody[SubmitOutputs],
    ) -> Response[Run] | EventStream:
        """Submit the outputs of every tool call that a run waits for. With `stream` the answer is an event stream."""
        _require_ids(thread_id, run_id)
        started = await runs.submit_outputs(caller, _asked(allowance, data.stream), thread_id, run_id, data)
        return _answer(runs, started, stream=data.stream)

    @post("/{thread_id:str}/runs/{run_id:str}/cancel", status_code=200, operation_id="cancelRun")
    async def cancel(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        thread_id: FromPath[str],
        run_id: FromPath[str],
    ) -> Response[Run]:
        """Stop a run that has not ended. What it has answered so far is kept as an incomplete message."""
        _require_ids(thread_id, run_id)
        return _paced(runs, await runs.cancel(caller, thread_id, run_id))

    @get("/{thread_id:str}/runs/{run_id:str}/events", operation_id="streamRunEvents")
    async def events(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        after_event: NamedDependency[int],
        thread_id: FromPath[str],
        run_id: FromPath[str],
    ) -> EventStream:
        """Replay a run's events and go on live. `id:` lines number them; `after` or `Last-Event-ID` resumes."""
        _require_ids(thread_id, run_id)
        return EventStream(await runs.events(caller, thread_id, run_id, after_event))

    @get("/{thread_id:str}/runs/{run_id:str}/steps", operation_id="listRunSteps")
    async def steps(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        page_query: NamedDependency[PageQuery],
        thread_id: FromPath[str],
        run_id: FromPath[str],
    ) -> Response[Page[RunStep]]:
        """List a run's steps, newest first."""
        _require_ids(thread_id, run_id)
        return Response(await runs.steps(caller, thread_id, run_id, page_query))

    @get("/{thread_id:str}/runs/{run_id:str}/steps/{step_id:str}", operation_id="getRunStep")
    async def step(
        self,
        caller: NamedDependency[Caller],
        runs: NamedDependency[RunService],
        thread_id: FromPath[str],
        run_id: FromPath[str],
        step_id: FromPath[str],
    ) -> Response[RunStep]:
        """Retrieve a step of a run."""
        _require_ids(thread_id, run_id)
        require_id("step_id", step_id, "step")
        return Response(await runs.step(caller, thread_id, run_id, step_id))


def _asked(allowance: Allowance, stream: bool | None) -> Allowance:
    """Ask for a stream's place before anything is created for it. Raises RateLimited."""
    if stream:
        allowance.admit_stream()
    return allowance


def _answer(runs: RunService, started: StartedRun, *, stream: bool | None) -> Response[Run] | EventStream:
    """Answer with the run or its events; a header names the tools that the model is not offered."""
    missing = unavailable_tools(started.run)
    headers = {"x-unavailable-tools": ", ".join(missing)} if missing else {}
    if stream:
        return EventStream(runs.stream(started), headers)
    return _paced(runs, started.run, headers)


def _paced(runs: RunService, run: Run, headers: dict[str, str] | None = None) -> Response[Run]:
    """Answer with a run; while it goes on, the header that SDKs read tells pollers when to come back."""
    after_ms = runs.poll_after_ms(run)
    paced = {} if after_ms is None else {"openai-poll-after-ms": str(after_ms)}
    return Response(run, headers=(headers or {}) | paced)


def _require_ids(thread_id: str, run_id: str) -> None:
    require_id("thread_id", thread_id, "thread")
    require_id("run_id", run_id, "run")

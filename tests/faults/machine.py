"""What may happen to runs, in any order: calls, chunks, outputs, cancels, deletions, time, crashes, late writers."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from sqlalchemy import Row

from app.assistants.schemas import CreateAssistant
from app.assistants.service import AssistantService
from app.assistants.tools import FunctionDefinition, FunctionTool
from app.db.database import Database
from app.db.opening import open_database
from app.engine.lifecycle import ENDED
from app.errors import ApiError, InvalidRequest
from app.inference.chunks import Choice, Chunk, Delta, FunctionPiece, ToolCallPiece
from app.inference.failures import ModelBroke, ModelBusy
from app.messages.schemas import CreateMessage
from app.runs.schemas import CreateRun, SubmitOutputs, ToolOutput
from app.threads.schemas import CreateThread
from tests.conformance.sse import parse
from tests.fakes.callers import ALLOWANCE, CALLER
from tests.fakes.clock import SetClock
from tests.fakes.model import finish, text, usage
from tests.faults.invariants import COVERED, Rules
from tests.faults.puppets import ModelCall, Node, StandingLoop, no_model
from tests.faults.snapshot import Snapshot, stored_text, texts_told

MOST_THREADS = 3
DRIVE_ROUNDS = 60

arguments = st.sampled_from(['{"a":', "{}", "nonsense", ""])
endings = st.sampled_from(["more", "end", "outputs"])
picks = st.integers(0, 5)
pieces = st.lists(st.sampled_from(["a", "b ", "é", "\n"]), min_size=1, max_size=4)


class RunsOfAServerThatDies(Rules):
    """Drives the services of one server after another over one SQLite file."""

    def __init__(self, empty: Path) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="sovereign-machine-")
        self.url = f"sqlite:///{self.folder.name}/store.db"
        shutil.copy(empty, Path(self.folder.name) / "store.db")
        self.loop = StandingLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.clock = SetClock()
        self.lost_their_lease: list[Node] = []
        self.thread_ids: list[str] = []

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Carry something out, wait until nothing more comes of it, and look at the disk."""
        outcome = self.runner.run(self._and_calm(work))
        self.disk = self.runner.run(self.database.read(Snapshot))
        return outcome

    async def _and_calm(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except ApiError as refused:
            return refused
        finally:
            for node in [self.node, *self.lost_their_lease]:
                await node.calm()

    @initialize(flush_s=st.sampled_from([0.0, 1.0]), tools=st.booleans(), then=endings)
    def open(self, flush_s: float, tools: bool, then: str) -> None:
        """Begin with an assistant and two threads with a run each, one of which has called a tool."""
        self.flush_s = flush_s

        async def begin() -> str:
            self.database: Database = await open_database(self.url)
            self.node = Node(self.database, self.clock, flush_s=flush_s)
            assistants = AssistantService(self.database, self.clock, no_model)
            return (await assistants.create(CALLER, CreateAssistant(model="m"))).id

        self.assistant = self.runner.run(begin())
        for number in range(2):
            self.add_thread()
            self.run(number, tools or number == 0)
        self.call_tool(0, "{}", more=True, then=then)

    @precondition(lambda self: len(self.thread_ids) < MOST_THREADS)
    @rule()
    def add_thread(self) -> None:
        """Make a thread with a message."""
        first = CreateMessage(role="user", content="hello")
        made = self.do(self.node.threads.create(CALLER, CreateThread(messages=[first])))
        self.thread_ids.append(made.id)

    def _thread(self, pick: int) -> Row[Any]:
        return self.disk.threads[self.thread_ids[pick % len(self.thread_ids)]]

    def _run(self, pick: int, *statuses: str) -> Row[Any] | None:
        runs = self.disk.with_status(*statuses) if statuses else list(self.disk.runs.values())
        return runs[-1 - pick % len(runs)] if runs else None

    @precondition(lambda self: self.thread_ids)
    @rule(pick=picks, tools=st.booleans())
    def run(self, pick: int, tools: bool) -> None:
        """Start a run: accepted exactly when no other is active in the thread."""
        thread = self._thread(pick)
        body = CreateRun(assistant_id=self.assistant, tools=_tools() if tools else None)
        started = self.do(self._followed(self.node.runs.create(CALLER, ALLOWANCE, thread.id, body)))
        if thread.active_run_id is not None:
            assert isinstance(started, InvalidRequest)
            assert thread.active_run_id in started.message
            return
        self.accepted[started.run.id] = thread.id
        assert self.disk.threads[thread.id].active_run_id == started.run.id
        COVERED["runs"] += 1

    async def _followed(self, starting: Coroutine[Any, Any, Any]) -> Any:
        started = await starting
        self.told.append(self.node.follow(started))
        return started

    @precondition(lambda self: self.thread_ids)
    @rule(pick=picks)
    def append(self, pick: int) -> None:
        """Add a message: taken exactly when no run is active in the thread."""
        thread = self._thread(pick)
        message = CreateMessage(role="user", content="more")
        taken = self.do(self.node.messages.create(CALLER, thread.id, message))
        assert isinstance(taken, InvalidRequest) == (thread.active_run_id is not None)

    def _call(self, pick: int) -> ModelCall | None:
        """Pick a stream that is open, also of a server that lost its lease without knowing."""
        calls = [call for node in [self.node, *self.lost_their_lease] for call in node.model.waiting()]
        return calls[pick % len(calls)] if calls else None

    def _feed(self, call: ModelCall, *lines: Any) -> None:
        async def feed() -> None:
            for line in lines:
                call.feed(line)

        self.do(feed())

    @rule(pick=picks, said=pieces)
    def speak(self, pick: int, said: list[str]) -> None:
        """Let the model say something."""
        if call := self._call(pick):
            chunks = text(*said)
            self._feed(call, [chunks] if isinstance(chunks, Chunk) else chunks)

    @rule(pick=picks, arguments=arguments, more=st.booleans(), then=endings)
    def call_tool(self, pick: int, arguments: str, more: bool, then: str) -> None:
        """Let the model begin a tool call, or go on with one, and perhaps end with it, and have its outputs."""
        call = self._call(pick)
        if call is None or not call.request.tools:
            return
        begins = more or call.called == 0
        call.called += begins
        name = FunctionPiece(name="look_up" if begins else None, arguments=arguments)
        piece = ToolCallPiece(index=call.called - 1, function=name)
        end = ([finish("tool_calls")], [usage()], None) if then != "more" else ()
        self._feed(call, [Chunk(choices=[Choice(delta=Delta(tool_calls=[piece]))])], *end)
        if then == "outputs":
            self.submit(pick)

    @rule(pick=picks, reason=st.sampled_from(["stop", "stop", "tool_calls", "length"]))
    def finish_call(self, pick: int, reason: str) -> None:
        """Let the model end its answer."""
        if call := self._call(pick):
            self._feed(call, [finish(reason)], [usage()], None)

    @rule(pick=picks, failure=st.sampled_from([ModelBroke, ModelBusy]))
    def break_call(self, pick: int, failure: type[ModelBroke] | type[ModelBusy]) -> None:
        """Let the model fail: asked again if it had said nothing, else the run ends."""
        if call := self._call(pick):
            self._feed(call, failure("The model failed."))
            COVERED["failures"] += 1

    @rule(pick=picks)
    def submit(self, pick: int) -> None:
        """Submit every output that a run waits for; late or wrong ones where no run waits: refused."""
        run = self._run(pick, "requires_action")
        if run is not None:
            taken = self.do(self._followed(self._outputs(run)))
            assert isinstance(taken, ApiError) == (run.expires_at <= self.clock.now())
            COVERED["outputs"] += not isinstance(taken, ApiError)
        run = self._run(pick)
        if run is not None:
            body = SubmitOutputs(tool_outputs=[ToolOutput(tool_call_id="call_of_nobody", output="late")])
            refused = self.do(self.node.runs.submit_outputs(CALLER, ALLOWANCE, run.thread_id, run.id, body))
            assert isinstance(refused, InvalidRequest)
            assert self.disk.runs[run.id].status == run.status

    async def _outputs(self, run: Row[Any]) -> Any:
        calls = json.loads(run.required_action)["submit_tool_outputs"]["tool_calls"]
        outputs = [ToolOutput(tool_call_id=call["id"], output="found") for call in calls]
        body = SubmitOutputs(tool_outputs=outputs)
        return await self.node.runs.submit_outputs(CALLER, ALLOWANCE, run.thread_id, run.id, body)

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """Cancel a run, sooner one that waits for outputs: taken exactly when it has not ended."""
        run = self._run(pick, "requires_action") or self._run(pick)
        if run is None:
            return
        answer = self.do(self.node.runs.cancel(CALLER, run.thread_id, run.id))
        if run.status in ENDED:
            assert isinstance(answer, InvalidRequest)
        else:
            assert answer.status == "cancelling"
            assert self.disk.runs[run.id].status == "cancelled"
            COVERED[f"cancelled when {run.status}"] += 1

    @precondition(lambda self: len(self.thread_ids) > 1)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """Delete a thread, whatever goes on in it."""
        thread = self._thread(pick)
        self.do(self.node.threads.delete(CALLER, thread.id))
        self.thread_ids.remove(thread.id)
        self.deleted |= {run for run, of in self.accepted.items() if of == thread.id}

    @rule(seconds=st.sampled_from([1, 1, 5, 5, 601]))
    def wait(self, seconds: int) -> None:
        """Let time pass: text is flushed, the model is asked again, runs expire."""

        async def pass_time() -> None:
            self.clock.move(seconds)
            self.loop.moved_s += seconds
            await self.node.runs.expire_waiting()

        self.do(pass_time())

    @rule(dies=st.booleans())
    def start_another(self, dies: bool) -> None:
        """Start another server on the file: the first was killed, or goes on and what it still writes is refused."""
        COVERED["crashes" if dies else "lost leases"] += 1
        self._new_node(dies=dies)

    def _new_node(self, *, dies: bool) -> None:
        before = self.disk

        async def start() -> None:
            if dies:
                await self._all_die()
                self.database = await open_database(self.url)
            else:
                self.lost_their_lease.append(self.node)
            self.node = Node(self.database, self.clock, flush_s=self.flush_s)
            await self.node.runs.take_up_unended()

        self.do(start())
        for run in before.with_status("requires_action"):
            assert self.disk.runs[run.id].status == "requires_action"

    async def _all_die(self) -> None:
        for node in [self.node, *self.lost_their_lease]:
            await node.crash()
        self.lost_their_lease.clear()
        await self.database.close()

    def teardown(self) -> None:
        """Drive every run to its end, as any client could, and look at what its events say."""
        try:
            if hasattr(self, "node"):
                self._drive()
                self.do(self._replay())
        finally:
            if hasattr(self, "node"):
                self.runner.run(self._all_die())
            self.runner.close()
            self.folder.cleanup()

    def _drive(self) -> None:
        for _ in range(DRIVE_ROUNDS):
            if not [run for run in self.disk.runs.values() if run.status not in ENDED]:
                break
            for call in [call for node in [self.node, *self.lost_their_lease] for call in node.model.waiting()]:
                self._feed(call, [text("end")], [finish()], [usage()], None)  # type: ignore[list-item]
            for run in self.disk.with_status("requires_action"):
                self.do(self._outputs(run))
            self.wait(5)
        self.a_thread_is_locked_by_the_one_run_that_is_active()
        self.an_end_is_for_good()
        self.a_run_makes_one_message_between_two_rounds_of_calls()
        self.what_was_told_is_what_is_stored()
        assert [run.status for run in self.disk.runs.values() if run.status not in ENDED] == []

    async def _replay(self) -> None:
        for run in self.disk.runs.values():
            frames = await self.node.runs.events(CALLER, run.thread_id, run.id, 0)
            events = parse(b"".join([data async for data in frames]))
            numbers = [int(event.id) for event in events if event.id is not None]
            assert numbers == sorted(numbers)
            assert events[-2].event == f"thread.run.{run.status}"
            for message, deltas, whole in texts_told(events):
                assert deltas == whole
                assert (message in self.disk.messages) != (message in self.disk.given_up)
                assert message in self.disk.given_up or stored_text(self.disk.messages[message]) == whole


def _tools() -> list[FunctionTool]:
    return [FunctionTool(function=FunctionDefinition(name="look_up"))]

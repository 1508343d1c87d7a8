"""The checker: an answer, an event or a stream in, AssertionError out with operation, JSON path and reason.

Knows no HTTP client and no pytest. What must hold is data: spec.py, tables.py, envelope.py, events.py.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

from .convert import Schema
from .envelope import HEADERS, NEVER, OUTSIDE_THE_API, RAW_CONTENT, STREAMED, UNCHECKED_METHODS, error_body
from .events import DONE, OPENINGS
from .following import Following, Order
from .order import StreamOrder
from .pages import page_fault
from .reasons import reason
from .response_order import ResponseOrder
from .spec import Match, Spec, StrictValidator
from .tables import ANSWERS, ID_PARAMS, AnswerRule

EVENT_STREAM = "text/event-stream"
JSON = "application/json"


@dataclass(frozen=True)
class _Answer:
    label: str
    status: int
    media_type: str
    match: Match | None


class Checker:
    """Holds answers and events to the official schemas and the tables, and records what it saw."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.seen: set[str] = set()
        self.answers = 0
        self.events = 0
        # Filled by what cannot raise into the test itself: an SDK retries on any exception of its transport.
        self.violations: list[AssertionError] = []
        self._validators: dict[int, StrictValidator] = {}
        # Answers as they were found sound: who polls or pages receives the same one again and again.
        self._sound: set[tuple[str, bytes]] = set()

    def check_response(self, method: str, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Check one whole answer, streamed or not; only success makes its operation seen."""
        answer = self._open(method, url, status, headers)
        if answer is None:
            return
        if answer.media_type == EVENT_STREAM:
            following = self._following(answer)
            following.feed(body)
            following.finish()
        elif status >= 400:
            self._check_error(answer, headers, body)
        elif answer.match:
            self._check_success(answer, answer.match, body)

    def follow(self, method: str, url: str, status: int, headers: Mapping[str, str]) -> Following | None:
        """Check the head of a streamed answer and give what checks its body as it comes."""
        answer = self._open(method, url, status, headers)
        return self._following(answer) if answer else None

    def check_event(self, event: str | None, data: bytes) -> Any:
        """Check one stream event and give its data decoded (None for [DONE])."""
        self.events += 1
        where = f"event {event}"
        if event == "done" or data == DONE:
            if event not in ("done", None) or data != DONE:
                _fail(where, f"the data is {data!r}: done carries [DONE], nothing else does")
            return None
        payload = _decode(where, data)
        rule = self.spec.event_rule(event, payload)
        if rule is None:
            _fail(where, "no official stream has such an event")
        if rule.schema:
            _demand(where, reason(self.spec.errors(rule.schema, payload)))
        for table in rule.tables:
            self._hold_to(where, table, payload)
        return payload

    def check_stream(self, events: Iterable[tuple[Any, ...]]) -> None:
        """Check a whole Assistants stream: (event name, data, …) each, and their order."""
        order = StreamOrder()
        for event, data, *_ in events:
            order.feed(event, self.check_event(event, data))
        order.finish()

    def _open(self, method: str, url: str, status: int, headers: Mapping[str, str]) -> _Answer | None:
        path = urlsplit(url).path
        outside = any(path == known or path.startswith(f"{known}/") for known in OUTSIDE_THE_API)
        if outside or method.upper() in UNCHECKED_METHODS:
            return None
        self.answers += 1
        match = self.spec.match(method, url)
        label = f"{match.operation.key if match else f'{method.upper()} {path}'} {status}"
        plain = {name.lower(): value for name, value in headers.items()}
        raw = status < 400 and match is not None and match.operation.key in RAW_CONTENT
        for name, schema in HEADERS.items():
            if name != "content-type" or not raw:
                _demand_header(label, name, schema, plain.get(name))
        if status in NEVER:
            _fail(label, NEVER[status])
        if match is None and status < 400:
            _fail(label, "the document has no such operation")
        return _Answer(label, status, plain.get("content-type", "").partition(";")[0].strip(), match)

    def _following(self, answer: _Answer) -> Following:
        match = answer.match
        if match is None or answer.status != 200:
            _fail(answer.label, "must not be a stream")
        key = match.operation.key
        if key not in STREAMED and not match.operation.schema(200, EVENT_STREAM):
            _fail(answer.label, "must not be a stream")
        self.seen.add(key)
        kind = STREAMED.get(key)
        return Following(answer.label, match.params, self.check_event, _order(key, kind))

    def _check_error(self, answer: _Answer, headers: Mapping[str, str], body: bytes) -> None:
        payload = _decode(answer.label, body)
        _demand(answer.label, reason(self.spec.errors("ErrorResponse", payload)))
        self._hold_to(answer.label, error_body(answer.status), payload)
        retry = {"retry-after", "retry-after-ms"} & {name.lower() for name in headers}
        if answer.status == 429 and not retry:
            _fail(answer.label, "header retry-after: missing")

    def _check_success(self, answer: _Answer, match: Match, body: bytes) -> None:
        operation = match.operation
        if str(answer.status) not in operation.answers:
            _fail(answer.label, f"the document has only {', '.join(operation.answers)}")
        if operation.key not in RAW_CONTENT:
            payload = _decode(answer.label, body)
            schema = operation.schema(answer.status, JSON)
            rule = ANSWERS.get(operation.key) or ANSWERS.get(schema or "")
            if (answer.label, body) not in self._sound:
                self._check_shape(answer.label, schema, rule, payload)
                self._sound.add((answer.label, body))
            if rule:
                _demand(answer.label, page_fault(payload, match.query, rule.order) if rule.is_page else None)
                _check_ids(answer.label, match, rule, payload)
        self.seen.add(operation.key)

    def _check_shape(self, label: str, schema: str | None, rule: AnswerRule | None, payload: Any) -> None:
        if schema:
            _demand(label, reason(self.spec.errors(schema, payload)))
        if rule:
            self._hold_to(label, rule.table, payload)

    def _hold_to(self, where: str, table: Schema, value: Any) -> None:
        # Keyed by identity: tables are constants, and their validators keep them alive.
        if id(table) not in self._validators:
            self._validators[id(table)] = StrictValidator(table)
        _demand(where, reason(self._validators[id(table)].iter_errors(value)))


def _order(key: str, kind: str | None) -> Order | None:
    if kind in ("response", "resumed response"):
        return ResponseOrder(resumed=kind != "response")
    return StreamOrder(OPENINGS.get(key, ()), replayed=kind == "replay") if kind in ("assistants", "replay") else None


def _check_ids(label: str, match: Match, rule: AnswerRule, payload: dict[str, Any]) -> None:
    """Demand that an answer be about what the path named."""
    own = ID_PARAMS[rule.kind]
    for index, item in enumerate(payload["data"] if rule.is_page else [payload]):
        at = f"$.data[{index}]" if rule.is_page else "$"
        for param, value in match.params.items():
            key = "id" if param == own else param
            if key in item and item[key] != value:
                _fail(label, f"{at}.{key}: {item[key]!r} instead of {value!r} of the path")


def _demand_header(label: str, name: str, schema: Schema, value: str | None) -> None:
    if value is None:
        _fail(label, f"header {name}: missing")
    fault = reason(StrictValidator(schema).iter_errors(value))
    if fault:
        _fail(label, f"header {name}: {fault.removeprefix('$: ')}")


def _decode(where: str, data: bytes) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except ValueError as error:
        _fail(where, f"no JSON: {error}: {data[:200]!r}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _demand(where: str, fault: str | None) -> None:
    if fault:
        _fail(where, fault)


def _fail(where: str, fault: str) -> NoReturn:
    raise AssertionError(f"{where}: {fault}")

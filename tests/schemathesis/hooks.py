"""What schemathesis loads beside its own checks. Runs in its process, not in ours."""

import json
import os
import re
from pathlib import Path
from typing import Any
from zlib import crc32

import schemathesis
from app.kit.ids import COMPLETION_PREFIX, ID_PREFIXES, id_pattern
from schemathesis.checks import CHECKS, CheckContext
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.generation.meta import TestPhase

RULES = (
    r"Missing required parameter: 'assistant_id'\.",  # may be left out where the thread is bound to an assistant
    r"Thread \S+ already has an active run \S+\.",
    r"Can't add messages to \S+ while a run \S+ is active\.",
    r"Another process is currently operating on this conversation\. Please retry in a few seconds\.",
    r"Invalid '\S+': an input_image needs its picture in image_url; this server has no pictures by file_id\.",
    r"Invalid '\S+': it was not made by this server's /v1/responses/compact\.",
    r"Cannot cancel an? \w+ response\.",
    r"Missing required parameter: 'input'\.",
    r"Mutually exclusive parameters\. .*: 'previous_response_id' or 'conversation'\.",
    r"Previous response with id '\S+' (not found|has not ended yet)\..*",
    r"No tool call found for function call output with call_id .*\.",
    r"Tool choice '\S+' (not found in|must be specified with the) 'tools' parameter\.",
    r"Invalid 'background': a response that is made in the background must be stored to be found again\.",
    r"Unsupported parameter: '(prompt|top_logprobs|include)': .*",
    r"The model `.*` does not exist.*",
    r"Cannot cancel run with status '\w+'\.",
    r"Runs in status \"\w+\" do not accept tool outputs\.",
    r"Expected tool outputs for call_ids \[.*\], got \[.*\]",
    r"Invalid 'expires_at': \d+ is not in the future; the server's time is \d+\.",
    r"API key '\S+' was revoked\.",
    r"Project '\S+' is archived\.",
    r"The default project cannot be archived\.",
)
RULE = re.compile("|".join(RULES), re.DOTALL)
EXACT = 2**53  # beyond it a float is no particular integer
ENDING = {
    "deleteAssistant",
    "deleteThread",
    "deleteConversation",
}  # they end what they make, and leave the families to the others
RELAYED = {
    "createChatCompletion": {"messages": [{"role": "user", "content": "What is the price of ACME?"}]},
    "createCompletion": {"prompt": "Gold rose"},
    "createEmbedding": {"input": "Gold rose"},
}
"""What the model server, which has the last word on what is passed on, takes of it."""
_CONTEXT = ("instructions", "previous_response_id")
RESPONSES = {
    "createResponse": (*_CONTEXT, "stream", "metadata", "store", "truncation", "temperature"),
    "Getinputtokencounts": (*_CONTEXT, "truncation"),
    "Compactconversation": _CONTEXT,
}
"""What of a made-up body is kept."""
Family = dict[str, Any]
SEEDS = json.loads(Path(os.environ["SCHEMATHESIS_SEEDS"]).read_text())
FAMILIES: dict[str, list[Family]] = SEEDS["families"]
# The caller of the second project and the default project: whoever ended or bounded them would end the checks.
SPARED = frozenset(SEEDS["spared"])
CURSOR = re.compile("[A-Za-z0-9_-]+")
NOBODY = "0" * 24
MADE_HERE = re.compile(r"[a-z]+_[0-9A-Za-z]{24}")
PATTERNS = {name: id_pattern(prefix) for name, prefix in ID_PREFIXES.items()} | {
    "item_id": id_pattern(""),
    "previous_response_id": id_pattern("resp"),
}
OWN = CHECKS.get_one("positive_data_acceptance")


@schemathesis.check
def accepted_unless_a_rule_forbids(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """Do what `positive_data_acceptance` does, for operations that may also be refused by a rule of the API."""
    if operation_id(case) in RELAYED:
        return None
    if response.status_code == 400 and RULE.fullmatch(response.json()["error"]["message"]):
        return None
    return OWN(ctx, response, case)


@schemathesis.hook
def map_case(_context: Any, case: Case) -> Case:
    """Give most cases an object that exists; in the stateful phase links do."""
    linked = case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL
    if not linked and operation_id(case) not in ENDING:
        settle(case)
    relay(case)
    respond(case)
    drop_cursors(case)
    if linked and case.meta.generation.mode.is_positive:
        unlink(case)
    if case.method == "POST":
        spare(case.path_parameters)
    return case


def drop_cursors(case: Case) -> None:
    """Take well-formed cursors from lists: made up, they name nothing there, which no schema can say."""
    if not any(found["name"] == "limit" for found in case.operation.definition.raw.get("parameters", ())):
        return
    for name in ("after", "before"):
        if isinstance(case.query, dict) and CURSOR.fullmatch(str(case.query.get(name, ""))):
            del case.query[name]


def unlink(case: Case) -> None:
    """Name nobody where a link led to what is no id of its kind: links go by words, and take null for an id."""
    ids = case.path_parameters or {}
    for name, prefix in ID_PREFIXES.items():
        if name in ids and not re.fullmatch(PATTERNS[name], str(ids[name])):
            ids[name] = f"{COMPLETION_PREFIX if prefix == 'chatcmpl' else prefix + '_'}{NOBODY}"


def relay(case: Case) -> None:
    """Make most of what is relayed sound: what is made up is refused by the model server, and nothing more is seen."""
    sound = RELAYED.get(operation_id(case))
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if sound is None or not positive or not isinstance(case.body, dict) or crc32(repr(case.body).encode()) % 4 == 0:
        return
    ours = {name: case.body[name] for name in ("stream", "metadata") if name in case.body}
    case.body = {"model": SEEDS["model"], "store": True, "max_tokens": 8, **sound, **ours}


def respond(case: Case) -> None:
    """Have most of what is made up for responses said to the model that is served, as one text."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    made_up = operation_id(case) not in RESPONSES or not positive or not isinstance(case.body, dict)
    if made_up or crc32(repr(case.body).encode()) % 4 == 0:
        return
    ours = {name: case.body[name] for name in RESPONSES[operation_id(case)] if name in case.body}
    case.body = {"model": SEEDS["model"], "input": "say exactly: x", **ours}


def operation_id(case: Case) -> str:
    """Return the name that the document gives to what a case calls."""
    return str(case.operation.definition.raw["operationId"])


def spare(ids: dict[str, Any]) -> None:
    """Turn a change of what must stay as it is into one of what does not exist."""
    for name, value in (ids or {}).items():
        if value in SPARED:
            ids[name] = f"{ID_PREFIXES[name]}_{NOBODY}"


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Write whole numbers as such: to JSON Schema 1.0 is an integer, to the original, and so to us, a decimal."""
    return whole(body)


def settle(case: Case) -> None:
    """Put a real family's ids where well-formed ones were made up; every fourth case keeps what it has.

    So does one with a single id of an object that is there. Several are hardly ever of one family by themselves.
    """
    use = operation_id(case)
    family = chosen(FAMILIES.get(use) or FAMILIES["others"], case)
    if family is None:
        return
    for sent in (case.path_parameters, case.body):
        ids = well_formed(sent, family) if isinstance(sent, dict) else {}
        if ids and (use in FAMILIES or len(ids) > 1 or not all(MADE_HERE.fullmatch(value) for value in ids.values())):
            sent.update({name: family[name] for name in ids})
    if use == "submitToolOuputsToRun" and case.meta and case.meta.generation.mode.is_positive:
        case.body["tool_outputs"] = [{"tool_call_id": call, "output": "101.25"} for call in family["calls"]]


def well_formed(sent: dict[str, Any], family: Family) -> dict[str, str]:
    """Return the ids among what is sent that can name one of a family."""
    return {
        name: sent[name]
        for name in PATTERNS.keys() & sent.keys() & family.keys()
        if isinstance(sent[name], str) and re.fullmatch(PATTERNS[name], sent[name])
    }


def chosen(families: list[Family], case: Case) -> Family | None:
    """Choose by what the case says, so that the same seed makes the same calls."""
    number = crc32(repr((case.path, case.path_parameters, case.query, case.body)).encode())
    return families[number // 4 % len(families)] if number % 4 else None


def whole(value: Any) -> Any:
    """Return a value whose floats without a fraction are integers."""
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < EXACT else value

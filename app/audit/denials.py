"""What was denied, until it is written: noted at the edge without waiting, bounded whatever is thrown at it."""

import re
from typing import Any

from app.audit.actions import Action
from app.kit.clock import Clock

LIMIT = 1000
"""Different denials that are kept at once."""
UNCOUNTED = "too_many_denials"
"""The outcome of the one record that stands for denials beyond LIMIT."""

# What a client can have had a hand in is recorded only if it is as short and plain as it should be.
_PLAIN = re.compile(r"[A-Za-z0-9_.:%-]{1,64}")
_Kind = tuple[str, str, str | None, str | None, str | None, str | None]


class Denials:
    """Denied requests of the last second or so. The same denial again only raises a count."""

    def __init__(self, clock: Clock, *, limit: int = LIMIT) -> None:
        self._clock = clock
        self._limit = limit
        self._noted: dict[_Kind, dict[str, Any]] = {}
        self._uncounted: dict[str, Any] | None = None

    def note(
        self,
        action: Action,
        outcome: str,
        *,
        request_id: str | None,
        address: str | None,
        key_id: str | None = None,
        project_id: str | None = None,
        object_id: str | None = None,
    ) -> None:
        """Note a denial, to be written within about a second. `outcome` is the error's code.

        `key_id` is the public id of a key, if it has one: no part of what a client presented as a secret.
        """
        kind = (action, outcome, _plain(key_id), _plain(project_id), _plain(address), _plain(object_id))
        self._count(kind, self._clock.now(), request_id, times=1)

    def take(self) -> list[dict[str, Any]]:
        """Return the records of what was noted since, oldest first, and forget it."""
        taken = list(self._noted.values())
        if self._uncounted is not None:
            taken.append(self._uncounted)
        self._noted, self._uncounted = {}, None
        return taken

    def give_back(self, records: list[dict[str, Any]]) -> None:
        """Note again what was taken and could not be written."""
        newer = self.take()
        for one in (*records, *newer):
            if one["outcome"] == UNCOUNTED:
                self._count_beyond(one["at"], one["times"])
                continue
            kind = (one["action"], one["outcome"], one["key_id"], one["project_id"], one["address"], one["object_id"])
            self._count(kind, one["at"], one["request_id"], times=one["times"])

    def _count(self, kind: _Kind, at: int, request_id: str | None, *, times: int) -> None:
        known = self._noted.get(kind)
        if known is not None:
            known["times"] += times
        elif len(self._noted) < self._limit:
            self._noted[kind] = _record(kind, at, request_id, times)
        else:
            self._count_beyond(at, times)

    def _count_beyond(self, at: int, times: int) -> None:
        if self._uncounted is None:
            self._uncounted = _record(("access.denied", UNCOUNTED, None, None, None, None), at, None, 0)
        self._uncounted["times"] += times


def _record(kind: _Kind, at: int, request_id: str | None, times: int) -> dict[str, Any]:
    action, outcome, key_id, project_id, address, object_id = kind
    return {
        "at": at,
        "request_id": request_id,
        "key_id": key_id,
        "project_id": project_id,
        "address": address,
        "action": action,
        "object_id": object_id,
        "outcome": outcome,
        "times": times,
    }


def _plain(text: str | None) -> str | None:
    return text if text is not None and _PLAIN.fullmatch(text) else None

"""Work that is tried again later: what keeps it from being done is a line in the log and a number, by its cause."""

import logging
from collections.abc import Callable

from ops.backup.failures import BackupFailed
from ops.backup.metrics import Metrics

log = logging.getLogger(__name__)


def tried(metrics: Metrics, what: str, work: Callable[[], None]) -> str | None:
    """Do something; return None, or in one line what went wrong."""
    try:
        work()
    except BackupFailed as failure:
        metrics.failures.labels(failure.cause).inc()
        log.error("%s failed", what, extra={"cause": failure.cause, "problem": str(failure)})
        return str(failure)
    except Exception as fault:
        metrics.failures.labels("other").inc()
        log.exception("%s failed for a fault of ours", what)
        return f"a fault of ours: {type(fault).__name__}"
    return None

"""Who asks, in tests that call services without a request."""

from app.db.tables import DEFAULT_PROJECT
from app.kit.caller import Caller

CALLER = Caller(project_id=DEFAULT_PROJECT, key_id="key_bootstrap", request_id="req_test", address="127.0.0.1")

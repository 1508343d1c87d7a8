"""Who asks, in tests that call services without a request, and what they may use: everything."""

from app.db.tables import DEFAULT_PROJECT
from app.keys.grant import BOOTSTRAP_KEY, Grant
from app.kit.caller import Caller
from app.kit.clock import SystemClock
from app.limits.allowance import Allowance
from app.limits.ledger import Ledger
from app.limits.limiter import Limiter

CALLER = Caller(project_id=DEFAULT_PROJECT, key_id=BOOTSTRAP_KEY, request_id="req_test", address="127.0.0.1")
LIMITER = Limiter(SystemClock(), Ledger(SystemClock()))
ALLOWANCE = Allowance(LIMITER, Grant(key_id=BOOTSTRAP_KEY, project_id=DEFAULT_PROJECT, scopes=frozenset({"admin"})))

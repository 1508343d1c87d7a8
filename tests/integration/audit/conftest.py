"""An audit over each engine."""

import pytest

from app.db.database import Database
from tests.integration.audit.audited import Audited


@pytest.fixture
def audited(database: Database) -> Audited:
    """Give an empty audit, once for each engine."""
    return Audited(database)

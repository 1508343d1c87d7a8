"""Which models a caller may ask for."""

from app.errors import PermissionDenied
from app.kit.caller import Caller


def require_model(caller: Caller, model: str) -> None:
    """Refuse a model that the caller's key may not use. Raises PermissionDenied."""
    if caller.models is not None and model not in caller.models:
        raise PermissionDenied(
            f"Project `{caller.project_id}` does not have access to model `{model}` with this API key.",
            param="model",
            code="model_not_found",
        )

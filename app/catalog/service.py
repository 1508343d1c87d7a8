"""Which models are served, what a client's name for one leads to, and how much context it takes."""

import asyncio
from collections.abc import Mapping

from app.catalog.schemas import Model, Models
from app.engine.prompt import Upstream
from app.errors import NotFound, Unavailable
from app.inference.chunks import ServedModel
from app.inference.client import ModelClient
from app.inference.failures import ModelBroke, ModelFailure
from app.kit.clock import Clock

LISTING_KEPT_S = 30.0
RETRY_AFTER_S = 5
STAND_IN_OWNER = "sovereign-standin"

STAND_IN_REFUSED = "MODEL_URL leads to the development stand-in, which ENVIRONMENT=production refuses."


class Catalog:
    """The model server's list, asked for at most every LISTING_KEPT_S seconds, and the operator's aliases."""

    def __init__(
        self,
        client: ModelClient,
        clock: Clock,
        *,
        aliases: Mapping[str, str],
        default_model: str | None,
        context_window: int | None,
        refuse_stand_in: bool,
    ) -> None:
        self._client = client
        self._clock = clock
        self._aliases = dict(aliases)
        self._default_model = default_model
        self._context_window = context_window
        self._refuse_stand_in = refuse_stand_in
        self._listed: list[ServedModel] = []
        self._listed_at: float | None = None
        self._asking = asyncio.Lock()

    @property
    def was_reached(self) -> bool:
        """Tell whether the model server has served anything since this process began."""
        return self._listed_at is not None

    async def served(self, kept_s: float = LISTING_KEPT_S) -> list[ServedModel]:
        """Return what the model server serves, as it said at most `kept_s` seconds ago. Raises ModelFailure."""
        async with self._asking:
            if self._listed_at is None or self._clock.monotonic() >= self._listed_at + kept_s:
                answer = await self._client.models()
                if self._refuse_stand_in and any(model.owned_by == STAND_IN_OWNER for model in answer.data):
                    raise ModelBroke(STAND_IN_REFUSED)
                self._listed = answer.data
                self._listed_at = self._clock.monotonic()
            return self._listed

    async def default_model(self) -> str:
        """Return the model of an assistant that names none. Raises Unavailable while the server names none."""
        if self._default_model is not None:
            return self._default_model
        try:
            served = await self.served()
        except ModelFailure as failure:
            raise Unavailable(failure.message, retry_after_s=RETRY_AFTER_S) from None
        if not served:
            raise Unavailable("The model server serves no model yet.", retry_after_s=RETRY_AFTER_S)
        return served[0].id

    async def upstream(self, name: str) -> Upstream:
        """Resolve a client's name for a model. A name that nobody knows is passed on: the server has the last word.

        Raises ModelFailure when the server cannot be asked and must not be used unasked.
        """
        name = self._aliases.get(name, name)
        try:
            served = await self.served()
        except ModelFailure:
            if self._refuse_stand_in:
                raise
            served = self._listed  # what it served a while ago it most likely still serves, with the same windows
        stated = next((model.max_model_len for model in served if model.id == name), None)
        return Upstream(self._client, name, self._context_window or stated)

    async def listing(self) -> Models:
        """Return every name that a client can use. Raises Unavailable."""
        try:
            served = await self.served()
        except ModelFailure as failure:
            raise Unavailable(failure.message, retry_after_s=RETRY_AFTER_S) from None
        own = [Model(id=model.id, created=model.created, owned_by=model.owned_by) for model in served]
        known = {model.id: model for model in own}
        aliased = [
            Model(id=alias, created=known[target].created, owned_by=known[target].owned_by)
            for alias, target in self._aliases.items()
            if target in known and alias not in known
        ]
        return Models(data=own + aliased)

    async def find(self, name: str) -> Model:
        """Return one model. Raises NotFound."""
        for model in (await self.listing()).data:
            if model.id == name:
                return model
        raise NotFound(f"The model '{name}' does not exist", param="model", code="model_not_found")

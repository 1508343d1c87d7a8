"""/v1/models."""

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.catalog.schemas import Model, Models
from app.catalog.service import Catalog


class ModelsController(Controller):
    """Models: what the model server serves, under its own names and the operator's aliases."""

    path = "/v1/models"
    tags = ("Models",)

    @get("/", operation_id="listModels")
    async def listing(self, catalog: NamedDependency[Catalog]) -> Response[Models]:
        """List the models that can be asked for."""
        return Response(await catalog.listing())

    @get("/{model:path}", operation_id="retrieveModel")
    async def retrieve(self, catalog: NamedDependency[Catalog], model: FromPath[str]) -> Response[Model]:
        """Retrieve a model. Names may contain slashes."""
        return Response(await catalog.find(str(model).lstrip("/")))

"""/health: is the process alive, can it work. Open to everyone, so it tells nothing else."""

from litestar import Controller, Response, get
from litestar.di import NamedDependency

from app.health.schemas import Health, Readiness
from app.health.service import HealthService

RETRY_AFTER_S = 5


class HealthController(Controller):
    """Health: for load balancers, containers and people."""

    path = "/health"
    tags = ("Health",)

    @get("/", operation_id="getHealth")
    async def health(self, health: NamedDependency[HealthService]) -> Response[Health]:
        """Tell that the process answers, and its version."""
        return Response(health.alive())

    @get("/live", operation_id="getLiveness")
    async def live(self, health: NamedDependency[HealthService]) -> Response[Health]:
        """Tell that the process answers. Restart it when this fails."""
        return Response(health.alive())

    @get("/ready", operation_id="getReadiness")
    async def ready(self, health: NamedDependency[HealthService]) -> Response[Readiness]:
        """Tell whether database and model server can be used: 200, or 503 with which of them loads or is away."""
        readiness = await health.readiness()
        if readiness.status == "ready":
            return Response(readiness)
        return Response(readiness, status_code=503, headers={"retry-after": str(RETRY_AFTER_S)})

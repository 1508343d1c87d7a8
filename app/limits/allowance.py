"""What a request may ask of the limiter, without knowing whose request it is. The edge makes one for each request."""

from app.keys.grant import Grant
from app.limits.headers import Header
from app.limits.limiter import Limiter, Reservation, StreamPlace


class Allowance:
    """The limits of the key that asks."""

    __slots__ = ("_grant", "_limiter", "_stream")

    def __init__(self, limiter: Limiter, grant: Grant) -> None:
        self._limiter = limiter
        self._grant = grant
        self._stream: StreamPlace | None = None

    @property
    def counts_tokens(self) -> bool:
        """Tell whether an estimate is worth making: the key or its project has a limit of tokens."""
        return self._limiter.counts_tokens(self._grant)

    def admit_request(self) -> None:
        """Take a request. Raises RateLimited."""
        self._limiter.admit_request(self._grant)

    def admit_run(self, estimate: int) -> Reservation:
        """Reserve a place and tokens for a run. Raises RateLimited. Whoever carries the run out settles it."""
        return self._limiter.admit_run(self._grant, estimate)

    def admit_stream(self) -> None:
        """Take a place for the stream that this request is answered with, once. Raises RateLimited.

        Whoever creates something before it streams asks first; otherwise the edge asks when the answer begins.
        """
        if self._stream is None:
            self._stream = self._limiter.admit_stream(self._grant)

    def headers(self) -> list[Header]:
        """Return the x-ratelimit headers of the answer."""
        return self._limiter.headers(self._grant)

    def close(self) -> None:
        """Give the stream's place back, if there was one: the answer is over."""
        if self._stream is not None:
            self._stream.release()

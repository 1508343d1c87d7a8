"""A token bucket in exact integers: nothing is rounded away, however often it is asked. The caller brings the clock."""

MINUTE_NS = 60 * 10**9


class TokenBucket:
    """Holds `capacity` tokens and refills as many in a minute, evenly. Times are nanoseconds that never go back.

    It may owe tokens: then whoever comes next waits until they are refilled.
    """

    __slots__ = ("_full_at", "capacity")

    def __init__(self, capacity: int, now_ns: int) -> None:
        self.capacity = capacity
        # When it is full again, in nanoseconds × capacity. At that scale one token refills in a whole minute's worth
        # of units whatever the capacity, so taking, giving back and refilling are additions of integers.
        self._full_at = now_ns * capacity

    def take(self, tokens: int, now_ns: int) -> None:
        """Take tokens, also those that are not there; a negative number gives back."""
        self._full_at = max(self._full_at, now_ns * self.capacity) + tokens * MINUTE_NS

    def wait_ns(self, tokens: int, now_ns: int) -> int | None:
        """Return how long until this many are there: 0 for now, None for never."""
        if tokens > self.capacity:
            return None
        over = self._missing(now_ns) + (tokens - self.capacity) * MINUTE_NS
        return -(-over // self.capacity) if over > 0 else 0

    def left(self, now_ns: int) -> int:
        """Return how many whole tokens are there, negative for what is owed."""
        return self.capacity + -self._missing(now_ns) // MINUTE_NS

    def full_in_ns(self, now_ns: int) -> int:
        """Return how long until it is full, if nothing is taken."""
        return -(-self._missing(now_ns) // self.capacity)

    def resized(self, capacity: int, now_ns: int) -> "TokenBucket":
        """Return a bucket of another capacity that lacks the same tokens, but owes none."""
        other = TokenBucket(capacity, now_ns)
        other._full_at += min(self._missing(now_ns), capacity * MINUTE_NS)
        return other

    def _missing(self, now_ns: int) -> int:
        """Return what there is room for, in units of which a token has MINUTE_NS."""
        return max(0, self._full_at - now_ns * self.capacity)

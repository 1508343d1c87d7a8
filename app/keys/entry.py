"""What the ring keeps of a key: enough to say, without asking anybody, whether a secret lets its holder in."""

from hmac import compare_digest

from msgspec import Struct

from app.keys.grant import Grant, Refusal


class Entry(Struct, frozen=True, kw_only=True):
    """A key's hashes, and what it grants. `closed` is why no secret is taken any more."""

    grant: Grant
    hash: bytes
    previous_hash: bytes | None = None
    previous_until: int = 0
    closed: Refusal | None = None

    def refusal(self, presented: bytes, now: int) -> Refusal | None:
        """Return why a secret with this hash is not taken in this second; None when it is.

        A grace or a key that ends at a second is over in that second.
        """
        if not compare_digest(presented, self.hash):
            if self.previous_hash is None or not compare_digest(presented, self.previous_hash):
                return Refusal.UNKNOWN
            if now >= self.previous_until:
                return Refusal.REPLACED
        if self.closed is not None:
            return self.closed
        if self.grant.expires_at is not None and now >= self.grant.expires_at:
            return Refusal.EXPIRED
        return None

"""Internet addresses: networks that are trusted, and whose request it is that came through them."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Networks = tuple[IPv4Network | IPv6Network, ...]


def networks_of(texts: Iterable[str]) -> Networks:
    """Parse addresses and networks such as `127.0.0.1` and `10.0.0.0/8`. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def client_address(peer: str | None, forwarded: Iterable[str], trusted: Networks) -> str | None:
    """Return who sent a request: the nearest address that is not one of the trusted proxies.

    `peer` is the other end of the connection, `forwarded` every X-Forwarded-For header in their order. Each proxy adds
    at the end whom it was called by, so that nothing left of the first untrusted address can be believed, and nothing
    left of what is no address either.
    """
    if peer is None or not _is_trusted(peer, trusted):
        return peer
    address = peer
    for entry in reversed([entry for line in forwarded for entry in line.split(",")]):
        parsed = _parsed(entry.strip())
        if parsed is None:
            break
        address = parsed
        if not _is_trusted(address, trusted):
            break
    return address


@lru_cache(maxsize=1024)
def _is_trusted(text: str, trusted: Networks) -> bool:
    try:
        address = _plain(ip_address(text))
    except ValueError:
        return False
    return any(address in network for network in trusted)


def _parsed(entry: str) -> str | None:
    """Return an address in its one spelling, without the brackets and the port that some proxies add."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return None if "%" in entry else str(_plain(ip_address(entry)))  # a scope may be any words
    except ValueError:
        return None


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that a socket for both families shows as IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

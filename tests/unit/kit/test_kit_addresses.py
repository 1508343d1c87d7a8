"""Whose request it is: nobody can choose an address of their own, however many proxies are trusted."""

import pytest

from app.kit.addresses import client_address, networks_of

TRUSTED = networks_of(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        (PROXY, [], PROXY),
        (PROXY, ["198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.1.1.1, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        (PROXY, ["1.1.1.1", "198.51.100.1", "10.2.3.4"], "198.51.100.1"),
        (PROXY, ["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        (PROXY, ["1.1.1.1, nonsense"], PROXY),
        (PROXY, ["1.1.1.1, nonsense, 10.2.3.4"], "10.2.3.4"),
        (PROXY, ["1.1.1.1,"], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, ["198.51.100.1:4711"], "198.51.100.1"),
        (PROXY, ["[2001:db8::1]:4711"], "2001:db8::1"),
        (PROXY, ["2001:DB8:0::1"], "2001:db8::1"),
        (PROXY, ["::ffff:198.51.100.1"], "198.51.100.1"),
        (PROXY, ["fe80::1%<script>"], PROXY),
        (PROXY, ["198.51.100.1\r\nx: y"], PROXY),
        (PROXY, ["0x7f.1"], PROXY),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], None),
        ("unix", ["198.51.100.1"], "unix"),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy(peer: str | None, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == address


def test_without_trusted_proxies_only_the_connection_counts() -> None:
    assert client_address("127.0.0.1", ["198.51.100.1"], ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear to be|has host bits set"):
        networks_of([text])

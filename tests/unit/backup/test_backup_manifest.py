"""Manifests, lists and sealed files say when a bit of them was turned over."""

import pyrage
import pytest

from ops.backup.failures import BackupFailed, Damaged, NoKey
from ops.backup.manifest import Chunk, Manifest, decode, decode_list, encode, encode_list, sha256
from ops.backup.scrub import PARTS, due
from ops.backup.sealing import Sealer, packed, unpacked

MANIFEST = Manifest(
    id="20261122T103000.000Z",
    taken_at=1.5,
    app_version="2.0.0",
    sqlite_version="3.53.4",
    schema_revision="0011",
    size_bytes=4096,
    sha256="ab",
    lists=("cd",),
    rows={"messages": 3},
    watermarks={"messages": 3},
    journal=Chunk("ef", "01"),
)
PLAIN = b"What moves the price of gold? " * 100


def test_a_manifest_is_read_as_it_was_written() -> None:
    found = decode(encode(MANIFEST), MANIFEST.id)
    assert found.checksum
    assert found.content == MANIFEST.content
    assert (found.rows, found.journal) == (MANIFEST.rows, MANIFEST.journal)


def test_every_bit_of_a_manifest_that_says_something_counts() -> None:
    data = encode(MANIFEST)
    harmless = 0
    for place in range(len(data)):
        for bit in (0x01, 0x10, 0x40):
            flipped = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            try:
                found = decode(flipped, MANIFEST.id)
            except Damaged:
                continue
            harmless += 1
            assert found == decode(data, MANIFEST.id), "what is still read says the same: space turned into space"
    assert harmless < len(data) / 10


def test_a_manifest_under_another_name_is_refused() -> None:
    with pytest.raises(Damaged):
        decode(encode(MANIFEST), "20261122T103000.001Z")


def test_a_list_is_read_as_it_was_written() -> None:
    chunks = [Chunk(sha256(b"a"), sha256(b"b")), Chunk(sha256(b"c"), sha256(b"d"))]
    assert decode_list(encode_list(chunks)) == chunks


@pytest.mark.parametrize("cut", [1, 10, 20])
def test_a_file_that_was_cut_off_is_damaged(cut: int) -> None:
    with pytest.raises(Damaged):
        unpacked(packed(PLAIN)[:-cut])


def test_what_is_sealed_is_opened_by_its_identity_and_by_who_sealed_it_and_by_nobody_else() -> None:
    identity = pyrage.x25519.Identity.generate()
    recipients = (str(identity.to_public()),)
    sealer = Sealer(recipients)
    sealed = sealer.seal(PLAIN)
    assert PLAIN not in sealed
    assert sealer.open(sealed) == PLAIN
    assert Sealer(recipients, f"# made today\n{identity}\n").open(sealed) == PLAIN
    with pytest.raises(NoKey):
        Sealer(recipients).open(sealed)
    with pytest.raises(NoKey):
        Sealer(recipients, str(pyrage.x25519.Identity.generate())).open(sealed)


def test_every_bit_of_a_sealed_file_counts() -> None:
    sealer = Sealer((str(pyrage.x25519.Identity.generate().to_public()),))
    sealed = sealer.seal(PLAIN)
    for place in range(0, len(sealed), 7):
        flipped = sealed[:place] + bytes([sealed[place] ^ 0x10]) + sealed[place + 1 :]
        with pytest.raises(BackupFailed):
            sealer.open(flipped)


@pytest.mark.parametrize("words", ["age1nonsense", "ssh-ed25519 nonsense"])
def test_a_recipient_that_is_none_is_named(words: str) -> None:
    with pytest.raises(BackupFailed, match="is no age recipient"):
        Sealer((words,))


def test_an_identity_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(BackupFailed, match="no age identity") as refused:
        Sealer((), "AGE-SECRET-KEY-1NONSENSE")
    assert "NONSENSE" not in str(refused.value)


def test_every_part_of_the_store_has_its_turn_once_in_a_period() -> None:
    begun = 1_795_000_000.0
    turns = [part for minute in range(1440) for part in due(begun + 60 * minute, begun + 60 * (minute + 1), 86_400)]
    assert sorted(turns) == list(range(PARTS))
    assert len(list(due(begun, begun + 10 * 86_400, 86_400))) == PARTS, "after a long pause everything once"

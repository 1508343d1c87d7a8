"""How a chunk becomes a file: compressed, then encrypted if there are recipients. `age -d | zstd -d` undoes it."""

import sys

import pyrage

from ops.backup.failures import BackupFailed, Damaged, NoKey

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
_AGE = b"age-encryption.org/"
_LARGEST = 64 * 1024 * 1024


class Sealer:
    """Seals for the recipients, and opens what it can.

    Each file is also sealed to an identity that is made here and never leaves this process: what was just written can
    be opened again and compared, though the recipients' own identities are elsewhere.
    """

    def __init__(self, recipients: tuple[str, ...] = (), identity: str | None = None) -> None:
        self._own = pyrage.x25519.Identity.generate()
        self._recipients = [_recipient(text) for text in recipients]
        self._identities = [self._own, *_identities(identity)]
        self.has_identity = identity is not None

    def seal(self, plain: bytes) -> bytes:
        """Return the file of a chunk."""
        packed = zstd.compress(plain, LEVEL)
        if not self._recipients:
            return packed
        sealed: bytes = pyrage.encrypt(packed, [*self._recipients, self._own.to_public()])
        return sealed

    def open(self, stored: bytes) -> bytes:
        """Return the chunk of a file. Raises NoKey and Damaged."""
        try:
            packed = pyrage.decrypt(stored, self._identities) if stored.startswith(_AGE) else stored
            return unpacked(packed)
        except pyrage.DecryptError as failure:
            if "matching" in str(failure):
                raise NoKey(given=self.has_identity) from None
            raise Damaged("an encrypted file cannot be opened: it is damaged") from None


def packed(plain: bytes) -> bytes:
    """Compress what is never encrypted: lists, which hold checksums alone."""
    return zstd.compress(plain, LEVEL)


def unpacked(data: bytes) -> bytes:
    """Undo it. Raises Damaged."""
    try:
        reader = zstd.ZstdDecompressor()
        plain = reader.decompress(data, max_length=_LARGEST)
    except zstd.ZstdError:
        raise Damaged("a compressed file cannot be read: it is damaged") from None
    if not reader.eof:
        raise Damaged("a compressed file cannot be read: it is cut off")
    return plain


def _recipient(text: str) -> "pyrage.x25519.Recipient | pyrage.ssh.Recipient":
    try:
        return (
            pyrage.ssh.Recipient.from_str(text) if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str(text)
        )
    except pyrage.RecipientError:
        raise BackupFailed("no_key", f"BACKUP_RECIPIENTS: {text!r} is no age recipient") from None


def _identities(text: str | None) -> "list[pyrage.x25519.Identity | pyrage.ssh.Identity]":
    """Read an identity file of age's: its secret keys among comments, or a private key of SSH's."""
    if text is None:
        return []
    try:
        if "-----BEGIN" in text:
            return [pyrage.ssh.Identity.from_buffer(text.encode() + b"\n")]
        lines = [line.strip() for line in text.splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise BackupFailed("no_key", "BACKUP_IDENTITY holds no age identity that can be read")
    return list(found)

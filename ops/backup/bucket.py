"""Files in S3-compatible storage. Only this module knows obstore."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.settings import without_password
from ops.backup.failures import BackupFailed
from ops.backup.settings import BackupSettings

TIMEOUT_S = 60
CONNECT_S = 10
TRY_FOR_S = 90
_STATUS = re.compile(r"status code: (\d{3})")


class Bucket:
    """A bucket, or a folder of one, as `BACKUP_BUCKET_URL` names it."""

    def __init__(self, settings: BackupSettings, label: str = "bucket") -> None:
        assert settings.bucket_url is not None
        scheme, _, rest = settings.bucket_url.partition("://")
        host, _, path = rest.partition("/")
        bucket, _, prefix = path.strip("/").partition("/")
        self.label = label
        self._where = without_password(f"{scheme}://{host}/{bucket}")
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            endpoint=f"{scheme}://{host}",
            region=settings.bucket_region,
            access_key_id=settings.bucket_access_key,
            secret_access_key=settings.bucket_secret_key,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": scheme == "http",
                "timeout": timedelta(seconds=TIMEOUT_S),
                "connect_timeout": timedelta(seconds=CONNECT_S),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=TRY_FOR_S)},
        )

    def get(self, name: str) -> bytes:
        """Download a file."""
        with self._reached():
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                raise KeyError(name) from None

    def put(self, name: str, data: bytes) -> None:
        """Upload a file; the service lets it appear whole."""
        with self._reached():
            obstore.put(self._store, name, data)

    def settle(self) -> None:
        """Nothing is left to wait for: what was acknowledged lasts."""

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List the files of a folder."""
        with self._reached():
            for page in obstore.list(self._store, prefix):
                yield from ((found["path"], found["size"]) for found in page)

    def delete(self, names: Iterable[str]) -> None:
        """Remove files, those first that are named first."""
        with self._reached():
            for name in names:
                obstore.delete(self._store, name)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what keeps the service from answering into BackupFailed, without its words: they can hold the key id."""
        try:
            yield
        except (BaseError, OSError, ValueError) as failure:
            raise BackupFailed("copy_unreachable", f"{self._where}: {_words(failure)}") from None


def _words(failure: Exception) -> str:
    """Say what keeps a bucket from being used. Of what obstore says only the status is taken: the rest is of keys."""
    status = _STATUS.search(str(failure))
    match status and status[1]:
        case "401" | "403":
            return "it refuses these credentials, or what was asked with them"
        case "404":
            return "there is no such bucket"
        case None:
            return (
                f"no answer ({type(failure).__name__}; from the appliance storage elsewhere needs BACKUP_EGRESS=true)"
            )
        case number:
            return f"it answers with status {number}"

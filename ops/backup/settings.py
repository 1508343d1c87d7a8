"""The settings of backups, read as the API's are: same form, same files for secrets, same documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from app.settings import Port, SettingsError, Var, read_variables
from app.upstreams import is_http

Text = Annotated[str, Meta(min_length=1)]
Period = Annotated[int, Meta(ge=60, le=31_536_000)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class BackupSettings(Struct, kw_only=True, frozen=True):
    """What the operator decided about backups."""

    folder: Annotated[Text, Var("BACKUP_DIR", "where snapshots are kept")] = "data/backups"
    keep_all_h: Annotated[Count, Var("BACKUP_KEEP_ALL_H", "hours for which every snapshot is kept")] = 24
    keep_hourly_d: Annotated[Count, Var("BACKUP_KEEP_HOURLY_D", "days for which one of each hour is kept")] = 7
    keep_daily_d: Annotated[Count, Var("BACKUP_KEEP_DAILY_D", "days for which one of each day is kept")] = 30
    keep_monthly: Annotated[Count, Var("BACKUP_KEEP_MONTHLY", "months for which one of each is kept")] = 12
    recipients: Annotated[
        tuple[str, ...], Var("BACKUP_RECIPIENTS", "age recipients that snapshots are encrypted to; none by default")
    ] = ()
    identity: Annotated[
        Text | None, Var("BACKUP_IDENTITY", "age identity that opens them; keep it off this host", secret=True)
    ] = None
    copy_folder: Annotated[Text | None, Var("BACKUP_COPY_DIR", "second directory, on another disk")] = None
    bucket_url: Annotated[
        Text | None, Var("BACKUP_BUCKET_URL", "S3-compatible storage: https://host/bucket/prefix")
    ] = None
    bucket_region: Annotated[Text, Var("BACKUP_BUCKET_REGION", "its region")] = "us-east-1"
    bucket_access_key: Annotated[Text | None, Var("BACKUP_BUCKET_ACCESS_KEY", "key id for it", secret=True)] = None
    bucket_secret_key: Annotated[Text | None, Var("BACKUP_BUCKET_SECRET_KEY", "secret for it", secret=True)] = None
    drill_every_s: Annotated[
        Period, Var("BACKUP_DRILL_EVERY_S", "seconds between two restores into scratch that prove the newest")
    ] = 86_400
    scrub_every_s: Annotated[
        Period, Var("BACKUP_SCRUB_EVERY_S", "seconds in which every stored file is read again once")
    ] = 86_400
    metrics_port: Annotated[Port, Var("BACKUP_METRICS_PORT", "port of the sidecar's metrics and health")] = 9102
    metrics_host: Annotated[str, Var("BACKUP_METRICS_HOST", "address that they listen on")] = "127.0.0.1"

    @property
    def path(self) -> Path:
        """Where snapshots are kept."""
        return Path(self.folder)


def load_backup_settings(env: Mapping[str, str]) -> BackupSettings:
    """Read every setting of backups. Raises SettingsError with all problems at once."""
    values, problems = read_variables(BackupSettings, env)
    settings = BackupSettings(**values)
    if settings.bucket_url is not None:
        bucket = settings.bucket_url.partition("://")[2].partition("/")[2].strip("/")
        if not is_http(settings.bucket_url) or not bucket:
            problems.append("BACKUP_BUCKET_URL: expected https://host[:port]/bucket or https://host/bucket/prefix")
        if settings.bucket_access_key is None or settings.bucket_secret_key is None:
            problems.append(
                "BACKUP_BUCKET_URL: needs BACKUP_BUCKET_ACCESS_KEY and BACKUP_BUCKET_SECRET_KEY (or their _FILE)"
            )
    problems += [f"BACKUP_RECIPIENTS: {one!r} is no age recipient" for one in settings.recipients if not _looks_so(one)]
    if problems:
        raise SettingsError(problems)
    return settings


def _looks_so(recipient: str) -> bool:
    return recipient.startswith(("age1", "ssh-ed25519 ", "ssh-rsa "))

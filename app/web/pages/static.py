"""The files under /docs/assets: a closed table of names, read, hashed and compressed once; and the reading of
the two request headers that choose what of a file is sent."""

import functools
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

FOLDER: Final = Path(__file__).parent / "assets"

_CSS: Final = "text/css"
_JAVASCRIPT: Final = "text/javascript"
_TEXT: Final = "text/plain"

# Only what stands here is served: the licence texts too, because the bundles point to them by name.
CONTENT_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "d87bcbdbea8f8f5aa26f.worker.js.LICENSE.txt": _TEXT,
        "favicon-32x32.png": "image/png",
        "pages.css": _CSS,
        "redoc.standalone.js": _JAVASCRIPT,
        "redoc.standalone.js.LICENSE.txt": _TEXT,
        "start-redoc.js": _JAVASCRIPT,
        "start-swagger.js": _JAVASCRIPT,
        "swagger-ui-bundle.js": _JAVASCRIPT,
        "swagger-ui-bundle.js.LICENSE.txt": _TEXT,
        "swagger-ui.css": _CSS,
    }
)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to send; `packed` is None where gzip would not make it smaller."""

    content_type: str
    plain: bytes
    packed: bytes | None
    digest: str


@functools.cache
def load_assets() -> Mapping[str, Asset]:
    """Read every file of the table; the second call costs nothing."""
    return MappingProxyType({name: _load(name, content_type) for name, content_type in CONTENT_TYPES.items()})


def _load(name: str, content_type: str) -> Asset:
    plain = (FOLDER / name).read_bytes()
    packed = gzip.compress(plain, mtime=0)
    return Asset(
        content_type=content_type,
        plain=plain,
        packed=packed if len(packed) < len(plain) else None,
        digest=hashlib.sha256(plain).hexdigest(),
    )


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip; a weight of zero says that it does not."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = part.partition(";")
        weights[coding.strip()] = _weight(parameter)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0  # unreadable: the plain file is the answer that is always right


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the client already holds what `etag` names (weak comparison, as If-None-Match asks for)."""
    held = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return etag in held or "*" in held

"""/docs, /redoc and the files they load. Nothing here names an outside address, and the policy sent with each
page makes the browser refuse one. Litestar reads the annotations at run time: they stay real objects here."""

import functools
from http import HTTPStatus
from typing import Final

from litestar import Controller, MediaType, Request, Response, Router, get
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from app.web.pages.static import Asset, accepts_gzip, load_assets, matches

TITLE: Final = "Sovereign Assistant API"
ASSETS_PATH: Final = "/docs/assets"
KEEP: Final = "public, max-age=86400"

_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "script-src 'self'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'"
)
SWAGGER_POLICY: Final = f"{_POLICY}; style-src 'self'"
# Redoc writes its styles into the page, and builds its search index in a worker made from a blob.
REDOC_POLICY: Final = f"{_POLICY}; style-src 'self' 'unsafe-inline'; worker-src blob:"

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="{icon}">
{styles}
</head>
<body>
<noscript>This page needs JavaScript; it shows <a href="/openapi.json">/openapi.json</a>.</noscript>
<div id="page"></div>
{scripts}
</body>
</html>
"""


class PagesController(Controller):
    """Mount it at the root of the app that serves /openapi.json."""

    path = "/"
    include_in_schema = False

    def __init__(self, owner: Router) -> None:
        super().__init__(owner)
        load_assets()  # while the app is put together, so that no request waits for the compression

    @get("/docs", sync_to_thread=False)
    def docs(self) -> Response[bytes]:
        """Swagger UI: read the API and try it."""
        page = _page(("swagger-ui.css", "pages.css"), ("swagger-ui-bundle.js", "start-swagger.js"))
        return _page_response(page, SWAGGER_POLICY)

    @get("/redoc", sync_to_thread=False)
    def redoc(self) -> Response[bytes]:
        """Redoc: read the API."""
        return _page_response(_page(("pages.css",), ("redoc.standalone.js", "start-redoc.js")), REDOC_POLICY)

    @get(f"{ASSETS_PATH}/{{name:str}}", sync_to_thread=False)
    def asset(self, request: Request[object, object, State], name: FromPath[str]) -> Response[bytes]:
        """One file of the closed table."""
        asset = load_assets().get(name)
        if asset is None:
            raise NotFoundException
        gzipped = accepts_gzip(request.headers.get("accept-encoding", ""))
        return _asset_response(asset, gzipped, request.headers.get("if-none-match", ""))


@functools.cache
def _page(styles: tuple[str, ...], scripts: tuple[str, ...]) -> bytes:
    return _PAGE.format(
        title=TITLE,
        icon=_address("favicon-32x32.png"),
        styles="\n".join(f'<link rel="stylesheet" href="{_address(name)}">' for name in styles),
        scripts="\n".join(f'<script src="{_address(name)}"></script>' for name in scripts),
    ).encode()


def _address(name: str) -> str:
    # The digest in the address keeps a browser from mixing old and new files for a day after an upgrade.
    return f"{ASSETS_PATH}/{name}?v={load_assets()[name].digest[:12]}"


def _page_response(page: bytes, policy: str) -> Response[bytes]:
    headers = {
        "cache-control": "no-cache",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Response(page, media_type=MediaType.HTML, headers=headers)


def _asset_response(asset: Asset, gzipped: bool, if_none_match: str) -> Response[bytes]:
    packed = asset.packed if gzipped else None
    # Two representations, two tags: a strong tag must not name different bytes.
    etag = f'"{asset.digest}"' if packed is None else f'"{asset.digest}-gzip"'
    headers = {
        "cache-control": KEEP,
        "etag": etag,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if matches(if_none_match, etag):
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, media_type=asset.content_type, headers=headers)
    if packed is not None:
        headers["content-encoding"] = "gzip"
    return Response(packed or asset.plain, media_type=asset.content_type, headers=headers)

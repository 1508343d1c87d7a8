"""What /docs, /redoc and their files answer over HTTP: types, policy, compression, tags, and nothing else."""

import gzip
from http import HTTPStatus

import pytest
from litestar import Litestar

from app.web.pages.controller import PagesController
from app.web.pages.static import CONTENT_TYPES, FOLDER, accepts_gzip, load_assets, matches
from tests.unit.pages.serving import Answer, ask

PAGES = ("/docs", "/redoc")
BUNDLE = "/docs/assets/swagger-ui-bundle.js"


def policy_of(answer: Answer) -> dict[str, set[str]]:
    parts = (part.split() for part in answer.headers["content-security-policy"].split(";"))
    return {name: set(sources) for name, *sources in parts}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_html_with_the_products_name(port: int, path: str) -> None:
    answer = ask(port, path)
    assert answer.status == HTTPStatus.OK
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<title>Sovereign Assistant API</title>" in answer.body


@pytest.mark.parametrize("path", PAGES)
def test_a_pages_policy_allows_this_server_only(port: int, path: str) -> None:
    policy = policy_of(ask(port, path))
    assert policy["default-src"] == {"'none'"}
    assert policy["script-src"] == policy["connect-src"] == {"'self'"}
    assert policy["img-src"] == policy["font-src"] == {"'self'", "data:"}
    for closed in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[closed] == {"'none'"}
    everything = set[str]().union(*policy.values())
    assert everything <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}


def test_only_redoc_may_write_styles_into_its_page_and_start_a_worker(port: int) -> None:
    swagger, redoc = (policy_of(ask(port, path)) for path in PAGES)
    assert swagger["style-src"] == {"'self'"}
    assert "worker-src" not in swagger
    assert redoc["style-src"] == {"'self'", "'unsafe-inline'"}
    assert redoc["worker-src"] == {"blob:"}


@pytest.mark.parametrize("path", [*PAGES, BUNDLE])
def test_no_answer_is_open_to_a_guess_of_its_type(port: int, path: str) -> None:
    assert ask(port, path).headers["x-content-type-options"] == "nosniff"


def test_the_pages_are_not_operations_of_the_api() -> None:
    assert not Litestar([PagesController]).openapi_schema.paths


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_a_file_is_sent_as_it_lies_on_the_disk(port: int, name: str) -> None:
    answer = ask(port, f"/docs/assets/{name}")
    assert answer.status == HTTPStatus.OK
    assert answer.body == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"].partition(";")[0] == CONTENT_TYPES[name]
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("name", [name for name, asset in load_assets().items() if asset.packed])
def test_a_file_is_sent_compressed_to_a_client_that_takes_gzip(port: int, name: str) -> None:
    answer = ask(port, f"/docs/assets/{name}", accept_encoding="br, gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert gzip.decompress(answer.body) == (FOLDER / name).read_bytes()


def test_a_file_that_gzip_makes_larger_is_sent_plain(port: int) -> None:
    answer = ask(port, "/docs/assets/favicon-32x32.png", accept_encoding="gzip")
    assert "content-encoding" not in answer.headers
    assert answer.body.startswith(b"\x89PNG")


def test_the_files_are_read_and_compressed_once() -> None:
    assert load_assets() is load_assets()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_client_that_holds_the_file_is_told_so_without_a_body(port: int, encoding: str) -> None:
    first = ask(port, BUNDLE, accept_encoding=encoding)
    again = ask(port, BUNDLE, accept_encoding=encoding, if_none_match=first.headers["etag"])
    assert again.status == HTTPStatus.NOT_MODIFIED
    assert again.body == b""
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name]


def test_a_client_that_holds_an_old_file_gets_the_new_one(port: int) -> None:
    assert ask(port, BUNDLE, if_none_match='"old"').status == HTTPStatus.OK


def test_plain_and_compressed_bytes_have_different_tags(port: int) -> None:
    tags = {ask(port, BUNDLE, accept_encoding=encoding).headers["etag"] for encoding in ("identity", "gzip")}
    assert tags == {f'"{load_assets()["swagger-ui-bundle.js"].digest}{suffix}"' for suffix in ("", "-gzip")}


@pytest.mark.parametrize(
    "name",
    [
        "nope.js",
        "README.md",
        "swagger-ui.LICENSE.txt",
        "..%2fcontroller.py",
        "%2e%2e/controller.py",
        "a/b.js",
        "",
    ],
)
def test_what_is_not_in_the_table_is_not_found(port: int, name: str) -> None:
    assert ask(port, f"/docs/assets/{name}").status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("br;q=1.0, *;q=0.1", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("*, gzip; q=0.0", False),
        ("gzip;q=high", False),
        ("x-gzip-like", False),
    ],
)
def test_gzip_is_sent_only_where_the_client_takes_it(header: str, taken: bool) -> None:
    assert accepts_gzip(header) is taken


@pytest.mark.parametrize(
    ("held", "same"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_a_held_tag_is_compared_as_a_whole(held: str, same: bool) -> None:
    assert matches(held, '"a"') is same

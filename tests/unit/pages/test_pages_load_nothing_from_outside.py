"""Nothing in the pages or their files asks for an outside address, and the files are the reviewed ones.

Pages and style sheets are read for what they load. A minified script cannot be: there, every host it names
must be on a list of hosts that a person has looked at, so a new version with a new host fails here first."""

import hashlib
import re
from html.parser import HTMLParser

import pytest

from app.web.pages.controller import ASSETS_PATH
from app.web.pages.static import CONTENT_TYPES, FOLDER, load_assets
from tests.unit.pages.serving import ask

SIZE_LIMIT = 4_000_000

STYLES = [name for name in CONTENT_TYPES if name.endswith(".css")]
SCRIPTS = [name for name in CONTENT_TYPES if name.endswith(".js")]

# A namespace or a schema's name: compared, never fetched.
NAMES = {"www.w3.org", "json-schema.org", "spec.openapis.org", "raw.githubusercontent.com", "redocly.com"}
# The text of a message, a comment or an example.
PROSE = {
    "datatracker.ietf.org",
    "example.com",
    "fb.me",
    "git.io",
    "github.com",
    "marked.js.org",
    "reactjs.org",
    "redux.js.org",
    "stackoverflow.com",
    "vladimirgorej.com",
    "www.rfc-editor.org",
    "실례.com",
}
# Where a link leads that a person has to follow: a licence, or a mention in somebody's text.
LINKS = {
    "instagram.com",
    "redocly.com",
    "soundcloud.com",
    "spdx.org",
    "swagger.io",
    "twitter.com",
    "www.facebook.com",
    "www.tiktok.com",
}
# Pieces of code, where the scheme is followed by no host: a pattern, or a text put together with a variable.
NOT_HOSTS = {"", "|www", "api.${r}", "api.${i}", "base${string(math.random("}

HOST = re.compile(r"""\b(?:https?|wss?|ftp):(?:\\?/){2}([^\s/"'`<>)\\#?,;]*)""", re.IGNORECASE)
WITHOUT_SCHEME = re.compile(r"""["'`(=]\\?/\\?/[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}[/"'`]""", re.IGNORECASE)
LOADED_BY_STYLE = re.compile(r"""@import\b|url\(\s*["']?([^"')]{0,40})""", re.IGNORECASE)
SOURCE_MAP = re.compile(r"sourceMappingURL=[^\s\"']*\.map")
README_ROW = re.compile(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", re.MULTILINE)


class Loads(HTMLParser):
    """What a page makes the browser fetch, and the inline code it should not have."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name in {"src", "srcset", "data", "action", "poster"} or (name == "href" and tag != "a"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"} and data.strip():
            self.inline.append(data)


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_loads_only_files_of_the_table_and_has_no_inline_code(port: int, path: str) -> None:
    loads = Loads()
    loads.feed(ask(port, path).body.decode())
    assert loads.inline == []
    assert len(loads.addresses) >= 4
    for address in loads.addresses:
        name, _, version = address.removeprefix(f"{ASSETS_PATH}/").partition("?v=")
        assert load_assets()[name].digest.startswith(version or "?")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_names_no_outside_address(port: int, path: str) -> None:
    assert b"//" not in ask(port, path).body


@pytest.mark.parametrize("name", STYLES)
def test_a_style_sheet_loads_only_what_it_carries(name: str) -> None:
    for found in LOADED_BY_STYLE.finditer(text(name)):
        assert (found.group(1) or "").startswith("data:image/"), found.group(0)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_names_only_hosts_that_a_person_has_looked_at(name: str) -> None:
    hosts = {host.lower() for host in HOST.findall(text(name))}
    assert hosts <= NAMES | PROSE | LINKS | NOT_HOSTS
    assert WITHOUT_SCHEME.findall(text(name)) == []


@pytest.mark.parametrize("name", ["start-swagger.js", "start-redoc.js"])
def test_our_own_scripts_name_the_document_and_no_host(name: str) -> None:
    assert '"/openapi.json"' in text(name)
    assert HOST.findall(text(name)) == []


def test_swagger_keeps_the_operators_key_and_shows_no_validator_badge() -> None:
    assert "persistAuthorization: true" in text("start-swagger.js")
    assert "validatorUrl: null" in text("start-swagger.js")


@pytest.mark.parametrize("name", SCRIPTS + STYLES)
def test_no_file_points_to_a_source_map(name: str) -> None:
    assert SOURCE_MAP.findall(text(name)) == []


def test_the_files_are_the_ones_the_readme_lists() -> None:
    listed = dict(README_ROW.findall(text("README.md")))
    present = {file.name: file for file in FOLDER.iterdir() if file.name != "README.md"}
    assert listed == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in present.items()}
    assert set(CONTENT_TYPES) <= set(present)


def test_the_files_stay_small_enough_for_git() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < SIZE_LIMIT

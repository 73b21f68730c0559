"""The docs site: it builds strictly, every page can be found, and it asks no other host for anything."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src", "object": "data"}
"""What a browser fetches by itself, by the attribute that says where."""
LOADING_LINKS = {"stylesheet", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "icon", "manifest"}
FOREIGN = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)


class Loader(HTMLParser):
    """Collects what a page makes the browser fetch from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        address = given.get(LOADED.get(tag, ""), "")
        if tag == "link" and LOADING_LINKS & set(given.get("rel", "").split()):
            address = given.get("href", "")
        if FOREIGN.match(address):
            self.foreign.append(address)


def foreign_in_page(html: str) -> list[str]:
    loader = Loader()
    loader.feed(html)
    return loader.foreign


def foreign_in_style(css: str) -> list[str]:
    addresses = re.findall(r"""(?:url\(|@import\s+(?!url\())\s*["']?([^"')\s;]+)""", css)
    return [address for address in addresses if FOREIGN.match(address)]


def build(house: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=120, check=False)


def copy_docs(house: Path) -> Path:
    shutil.copytree(ROOT / "docs", house / "docs")
    shutil.copy2(ROOT / "mkdocs.yml", house)
    return house


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    house = copy_docs(tmp_path_factory.mktemp("docs"))
    done = build(house)
    assert done.returncode == 0, done.stdout + done.stderr
    return house / settings()["site_dir"]


def settings() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return loaded


def pages_of_nav(entry: Any) -> Iterator[str]:
    match entry:
        case str():
            yield entry
        case list():
            for each in entry:
                yield from pages_of_nav(each)
        case dict():
            for each in entry.values():
                yield from pages_of_nav(each)


def test_every_page_is_in_the_navigation_once() -> None:
    named = list(pages_of_nav(settings()["nav"]))
    existing = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert existing - set(named) == set(), "pages that nobody finds; add them to nav in mkdocs.yml"
    assert sorted(named) == sorted(existing), "nav names a page twice, or one that does not exist"


def test_the_site_holds_every_page(site: Path) -> None:
    for page in pages_of_nav(settings()["nav"]):
        built = (site / page).with_suffix(".html")
        title = re.search(r"^# (.+)$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert built.is_file(), f"{page} was not built"
        assert title and "<h1" in built.read_text(encoding="utf-8"), f"{page} has no title"


def test_the_site_fetches_nothing_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    foreign = {page.name: found for page in pages if (found := foreign_in_page(page.read_text(encoding="utf-8")))}
    foreign |= {style.name: found for style in site.rglob("*.css") if (found := foreign_in_style(style.read_text(encoding="utf-8")))}
    assert len(pages) > 20
    assert foreign == {}


def test_what_is_fetched_from_elsewhere_is_noticed() -> None:
    page = (
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//fonts.example/a.css"><img src="a.png">'
        '<a href="https://example.org">a link is not fetched</a><link rel="canonical" href="https://docs.example/">'
    )
    assert foreign_in_page(page) == ["https://cdn.example/x.js", "//fonts.example/a.css"]
    assert foreign_in_style("a{b:url('https://x.example/f.woff2')} @import url(//y.example/z.css); c{d:url(data:x)}") == [
        "https://x.example/f.woff2",
        "//y.example/z.css",
    ]


@pytest.mark.parametrize("link", ["[a page](nowhere.md)", "[a heading](faq.md#nowhere)"], ids=["page", "heading"])
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    house = copy_docs(tmp_path)
    with (house / "docs" / "serving.md").open("a", encoding="utf-8") as page:
        page.write(f"\nSee {link}.\n")
    done = build(house)
    assert done.returncode != 0, "a broken link passed"
    assert "nowhere" in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)

"""The built site, as a reader meets it: its search, its layout on a desktop and on a phone.

``./dev docs`` builds the site and runs these tests on it.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from multus.cli import names
from tools.screenshots import browser

#: Loads every page in frames of both widths, and writes what does not fit.
_MEASURE = """
<body><pre id="found"></pre><script>
const pages = PAGES, found = [];
const frame = document.body.appendChild(document.createElement("iframe"));
frame.style.height = "900px";
function load(page, width) {
  return new Promise(done => {
    frame.style.width = width + "px";
    frame.onload = () => done(frame.contentDocument);
    frame.src = page;
  });
}
function cut(page, width, inside) {
  const root = inside.documentElement;
  if (root.scrollWidth > width) found.push(`${page} at ${width}: is ${root.scrollWidth} wide`);
  // On a phone, tables of many columns scroll.
  const tables = width > 1000 ? ", .table-wrapper" : "";
  const blocks = "[class*='highlight-']:not(.highlight-text) pre" + tables;
  for (const each of inside.querySelectorAll(blocks))
    if (each.scrollWidth > each.clientWidth)
      found.push(`${page} at ${width}: cut off: ${each.textContent.slice(0, 60)}`);
}
(async () => {
  for (const page of pages) {
    cut(page, 390, await load(page, 390));
    const inside = await load(page, 1280);
    cut(page, 1280, inside);
    const contents = inside.querySelector(".toc-drawer:not(.no-toc)");
    const box = contents && contents.getBoundingClientRect();
    if (box && (box.right > 1280 || box.width < 100))
      found.push(`${page} at 1280: its contents are at ${box.left} to ${box.right}`);
  }
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script></body>
"""


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Path:
    folder = request.config.getoption("--site")
    if folder is None:
        pytest.skip("no site is given: ./dev docs builds and tests it")
    return Path(folder).resolve()


@pytest.fixture(scope="module")
def _browser() -> None:
    try:
        browser.program()
    except browser.NoBrowser as error:
        pytest.skip(str(error))


def test_the_index_has_every_command_and_its_place(site: Path) -> None:
    text = (site / "searchindex.js").read_text()
    index = json.loads(text.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))
    for name in names():
        for entry in (name, f"multus {name}"):
            # Each is (page, anchor, whether the search shows it first).
            places = {(page, first) for page, _, first in index["indexentries"][entry]}
            assert (index["docnames"].index("commands"), True) in places


@pytest.mark.usefixtures("_browser")
@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("validate", "commands.html#"),
        ("install", "commands.html#"),
        ("multus gc", "commands.html#"),
        ("kubeconfig", "configuration.html"),
    ],
)
def test_the_first_thing_found_is_what_a_reader_looks_for(
    site: Path, words: str, page: str
) -> None:
    made = browser.document(f"{site.as_uri()}/search.html?q={quote(words)}")
    found = re.findall(r'<li class="kind-\w+"><a href="([^"]*)"', made)
    assert found
    assert any(each.startswith(page) for each in found[:2]), found[:6]


@pytest.mark.usefixtures("_browser")
def test_nothing_is_cut_off_and_the_contents_are_beside_the_page(
    site: Path, tmp_path: Path
) -> None:
    pages = [path.as_uri() for path in sorted(site.glob("*.html")) if path.stem != "search"]
    measure = tmp_path / "measure.html"
    measure.write_text(_MEASURE.replace("PAGES", json.dumps(pages)))
    made = browser.document(measure.as_uri(), patience=60_000)
    written = re.search(r'<pre id="found">(.*?)</pre>', made, re.DOTALL)
    assert written and written[1], "the pages were not measured"
    assert json.loads(html.unescape(written[1])) == []

"""The HTML page: whole, well-formed, inert, and rendered by a real browser."""

import base64
import hashlib
import html.parser
import re
import shutil
import subprocess
import zlib

import pytest

from wsjax.cli import html as pages
from wsjax.cli.output import BEGINS, FINE, GATE, REFUSED, UNREADABLE, Page, Picture, Table

HOSTILE = "<script>document.title='run'</script>\"'><img src=http://x.org onerror=alert(1)>\u202eb"
VOID = {"meta", "img", "br", "link"}


def png(width, height):
    """A black PNG, by hand."""
    chunk = lambda kind, data: (
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    )
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(bytes((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PAGE = Page(
    HOSTILE,
    {},
    (
        HOSTILE,
        Table(HOSTILE, (HOSTILE, "mean"), ((HOSTILE, 0.25), ("net.0", None)), HOSTILE),
        Picture(HOSTILE, png(40, 20), HOSTILE),
        "two\n\nparagraphs",
        Table("", ("only",), ()),
    ),
    REFUSED,
)


class Tree(html.parser.HTMLParser):
    """Open tags, all tags with their attributes, and the text."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def test_tags_are_balanced_and_parts_in_order():
    document = pages.document(PAGE, "wsjax rank '<b>'")
    assert document.encode().startswith(BEGINS)
    tree = Tree(document)
    assert tree.open == []
    names = [tag for tag, _ in tree.tags]
    assert [x for x in names if x in ("p", "table", "img")][2:] == ["p", "table", "p", "img", *"pp",
                                                                  "table", "p"]  # fmt: skip
    assert (names.count("th"), names.count("td"), names.count("tr")) == (5, 2, 4)
    assert "wsjax rank '<b>'" in tree.text
    assert ("img", "40", "20") in [(t, a.get("width"), a.get("height")) for t, a in tree.tags]


def test_names_are_inert():
    tree = Tree(pages.document(PAGE, HOSTILE))
    kinds = {tag for tag, _ in tree.tags}
    assert not kinds & {"script", "iframe", "object", "link", "a", "b", "form", "base"}
    assert not [a for _, attrs in tree.tags for a in attrs if a.startswith("on") or a == "style"]
    escaped = HOSTILE.replace("\u202e", "\\u202e")
    # title, h1, command, paragraph, the table's title, head, cell, note, a figcaption
    assert tree.text.count(escaped) == 9
    assert escaped in {attrs.get("alt") for _, attrs in tree.tags}
    assert "\u202e" not in pages.document(PAGE)


def test_nothing_is_loaded_from_elsewhere():
    document = pages.document(Page("x", {}, PAGE.parts[2:3]))
    sources = [
        value
        for _, attrs in Tree(document).tags
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "action", "data", "background", "poster")
    ]
    assert len(sources) == 1
    assert base64.b64decode(sources[0].removeprefix("data:image/png;base64,")) == png(40, 20)
    assert not re.search(r"url\(|@import|@font-face|expression\(", pages.STYLE)


def test_the_policy_allows_the_pages_own_style_and_pictures():
    document = pages.document(PAGE)
    [policy] = [a["content"] for t, a in Tree(document).tags if "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style = document.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules == {
        **{name: "'none'" for name in ("default-src", "base-uri", "form-action")},
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
    }


@pytest.mark.parametrize("code", [FINE, GATE, UNREADABLE, REFUSED])
def test_the_exit_code_is_a_badge_that_needs_no_colour(code):
    document = pages.document(Page("x", {}, code=code))
    others = {word for other, (_, _, word) in pages.BADGES.items() if other != code}
    text = Tree(document).text
    assert pages.BADGES[code][2] in text
    assert f"exit code {code}" in text
    assert not [word for word in others if word in text]


def test_colours_have_the_contrast_that_reading_needs():
    """WCAG 2.2: at least 4.5, of text and badges on every background, in both schemes."""
    for scheme in pages.STYLE.split("@media (prefers-color-scheme: dark)")[:2]:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name in ("ink", "soft", *(x for x, _, _ in pages.BADGES.values())):
            for ground in ("paper", "card", "head", "stripe"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_a_picture_is_a_png():
    with pytest.raises(ValueError, match="picture as PNG, got 3 bytes"):
        pages.document(Page("x", {}, (Picture("", b"GIF", ""),)))


def test_a_browser_renders_it(tmp_path):
    """Of chromium, headless: the style applies under the policy, and no name runs."""
    if (browser := shutil.which("chromium")) is None:
        pytest.skip("no chromium")
    path = tmp_path / "page.html"
    path.write_text(pages.document(PAGE))
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--log-level=3")
    flags += ("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}")
    flags += (f"--screenshot={tmp_path / 'page.png'}", "--window-size=800,600")
    ran = subprocess.run(
        [browser, *flags, path.as_uri()], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert ran.returncode == 0
    assert "Content Security Policy" not in ran.stderr
    import PIL.Image

    with PIL.Image.open(tmp_path / "page.png") as picture:
        assert picture.size == (800, 600)
        pixels = picture.convert("RGB")
        corner = "#{:02x}{:02x}{:02x}".format(*pixels.getpixel((2, 2)))
        assert corner == re.search(r"--paper: (#\w{6})", pages.STYLE)[1]
        assert len(pixels.getcolors(1 << 24)) > 20  # text, and more than one colour of it

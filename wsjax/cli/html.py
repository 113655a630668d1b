"""A page as one HTML file that needs nothing else: no network, no script, no font.

Every name in it comes from somebody's files. jinja2 escapes them all, what does not print is
escaped before (a change of writing direction turns no name around), and the page's own policy
forbids a browser to load or to run anything: styles are those of one digest, pictures are inside.
"""

import base64
import datetime
import hashlib
import struct
from typing import Any

from wsjax.checks import printable
from wsjax.cli.output import FINE, GATE, REFUSED, UNREADABLE, Page, Picture, Table, cell, version

# exit code -> class, sign and word of the badge; the sign and the word say it without the colour
BADGES = {
    FINE: ("fine", "✓", "fine"),
    GATE: ("gate", "✗", "gate failed"),
    UNREADABLE: ("unreadable", "!", "unreadable"),
    REFUSED: ("refused", "–", "refused"),
}
STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1d2125; --soft: #5b636b; --line: #dfe1dd;
  --head: #f2f3ef; --stripe: #f8f8f5; --accent: #0a5c99; --picture: #ffffff;
  --fine: #00704f; --gate: #b34700; --unreadable: #8f2f6b; --refused: #8a5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1b1f23; --ink: #e7e9ea; --soft: #a1a9b1; --line: #31373d;
    --head: #22272c; --stripe: #1f2428; --accent: #6cb6f0; --picture: #f4f4f2;
    --fine: #4fc9a0; --gate: #ff9a5c; --unreadable: #e79ac9; --refused: #edb84c;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 "Inter", "Source Sans 3", system-ui, -apple-system, "Segoe UI", Roboto,
    "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif;
}
main, header, footer { max-width: 72rem; margin: 0 auto; padding: 0 clamp(1rem, 4vw, 3rem); }
header { padding-top: clamp(1.5rem, 5vw, 3.5rem); }
.kicker { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; margin: 0;
  color: var(--soft); font-size: .875rem; letter-spacing: .02em; }
.badge { display: inline-flex; gap: .45em; align-items: baseline; padding: .1rem .7rem;
  border: 1.5px solid currentColor; border-radius: 1rem; font-weight: 600; white-space: nowrap; }
.badge.fine { color: var(--fine); } .badge.gate { color: var(--gate); }
.badge.unreadable { color: var(--unreadable); } .badge.refused { color: var(--refused); }
h1 { margin: .6rem 0 0; max-width: 46ch; font-size: clamp(1.45rem, 1.1rem + 1.6vw, 2.2rem);
  line-height: 1.22; letter-spacing: -.015em; font-weight: 650; text-wrap: balance;
  overflow-wrap: anywhere; }
.command { margin: 1.25rem 0 0; max-width: none; }
code { font: .875rem/1.5 ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas,
  "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.command code { display: block; padding: .7rem 1rem; background: var(--card); white-space: pre-wrap;
  border: 1px solid var(--line); border-left: 3px solid var(--accent); border-radius: .4rem; }
.command code::before { content: "$ "; color: var(--soft); }
h2 { margin: 0 0 .6rem; font-size: 1.0625rem; line-height: 1.35; font-weight: 620;
  overflow-wrap: anywhere; }
section { margin: clamp(1.75rem, 4vw, 2.75rem) 0 0; }
section.text + section.text { margin-top: 0; }
section p { margin: 0 0 .75rem; max-width: 72ch; overflow-wrap: anywhere; }
section .note { margin: .6rem 0 0; color: var(--soft); font-size: .875rem; }
.scroll { width: fit-content; min-width: min(100%, 20rem); max-width: 100%;
  max-height: min(78vh, 46rem); overflow: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { min-width: 100%; border-collapse: separate; border-spacing: 0; font-size: .9375rem;
  line-height: 1.4; font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: .42rem 1rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; z-index: 2; background: var(--head); color: var(--soft);
  font-size: .8125rem; font-weight: 600; vertical-align: bottom; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
tbody th { position: sticky; left: 0; z-index: 1; background: var(--card); font-weight: 500; }
tbody th, tbody td { border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
tbody tr:nth-child(even) > * { background: var(--stripe); }
tbody tr:hover > * { background: var(--head); }
.name { max-width: 48ch; overflow-wrap: break-word; }
.short { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
figure { margin: 0; }
.picture { display: inline-block; max-width: 100%; padding: .75rem; background: var(--picture);
  border: 1px solid var(--line); border-radius: .5rem; }
.picture img { display: block; max-width: 100%; height: auto; }
footer { margin-top: 3rem; padding-bottom: 2.5rem; color: var(--soft); font-size: .8125rem; }
footer p { margin: 0; padding-top: 1rem; border-top: 1px solid var(--line); max-width: none; }
@media (max-width: 34rem) {
  th, td { padding: .38rem .65rem; } table { font-size: .875rem; }
  .name { max-width: 26ch; } tbody th.name { max-width: 18ch; }
}
@media print {
  .scroll { max-height: none; overflow: visible; } thead th, tbody th { position: static; }
  section, tr { break-inside: avoid; }
}
"""
POLICY = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ page.headline | text }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<p class="kicker"><span class="badge {{ badge[0] }}"><span aria-hidden="true">{{ badge[1] }}</span>
{{ badge[2] }}</span><span>exit code {{ page.code }}</span></p>
<h1>{{ page.headline | text }}</h1>
{% if command %}<p class="command"><code>{{ command | text }}</code></p>{% endif %}
</header>
<main>
{% for part in page.parts %}
<section{% if part is string %} class="text"{% endif %}>
{% if part is table %}
{% if part.title %}<h2 id="part{{ loop.index }}">{{ part.title | text }}</h2>{% endif %}
<div class="scroll" tabindex="0" role="region"
{% if part.title %} aria-labelledby="part{{ loop.index }}"{% else %} aria-label="Table"{% endif %}>
<table>
<thead><tr>
{% set right = part.right %}
{% for head in part.columns %}
<th scope="col" class="{{ 'number' if right[loop.index0] else 'name' }}">{{ head | text }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in part.rows %}
<tr>
{% for value in row %}
{% set tag = "th" if loop.first and not right[0] else "td" %}
{% set words = value | cell %}
<{{ tag }}{% if tag == "th" %} scope="row"{% endif %} class="{{ 'number' if right[loop.index0]
 else 'name' if words | length > 24 else 'short' }}">{{ words }}</{{ tag }}>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if part.note %}<p class="note">{{ part.note | text }}</p>{% endif %}
{% elif part is picture %}
<figure>
{% if part.title %}<figcaption><h2>{{ part.title | text }}</h2></figcaption>{% endif %}
{% set width, height = part.png | size %}
<div class="picture"><img src="data:image/png;base64,{{ part.png | base64 }}"
 width="{{ width }}" height="{{ height }}" alt="{{ part.alt | text }}"></div>
</figure>
{% else %}
{% for line in part.split("\n") %}{% if line.strip() %}<p>{{ line | text }}</p>{% endif %}
{% endfor %}
{% endif %}
</section>
{% endfor %}
</main>
<footer><p>wsjax {{ version }}, {{ date }}</p></footer>
</body>
</html>
"""


def document(page: Page, command: str = "") -> str:
    """A page as one self-contained HTML document, in light and dark.

    Args:
        page: its tables, pictures and paragraphs follow each other in order.
        command: the command line that made it; "" for none.

    Raises:
        ValueError: a picture is no PNG.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"text": printable, "cell": cell, "size": _size, "base64": _base64}
    is_table: Any = lambda part: isinstance(part, Table)
    is_picture: Any = lambda part: isinstance(part, Picture)
    environment.tests |= {"table": is_table, "picture": is_picture}
    return environment.from_string(TEMPLATE).render(
        page=page,
        command=command,
        badge=BADGES.get(page.code, BADGES[UNREADABLE]),
        policy=POLICY,
        style=Markup(STYLE),
        version=version(),
        date=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, of its header."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        raise ValueError(f"expected a picture as PNG, got {len(png)} bytes of something else")
    return struct.unpack(">II", png[16:24])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

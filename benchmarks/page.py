"""A report as a document: Markdown, LaTeX, or one self-contained HTML page."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from .figures import render_figure
from .report import Illustration, Report
from .tables import Format, escape_latex, escape_markdown, render

__all__ = ["document", "write_figures"]


def write_figures(report: Report, folder: Path, format: Format) -> dict[str, Path]:  # noqa: A002
    """Write the report's figures as SVG (Markdown) or PDF (LaTeX) files; returns their paths by name."""
    kind = "pdf" if format == "latex" else "svg"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for section in report.sections:
        for illustration in section.illustrations:
            path = folder / f"{illustration.name}.{kind}"
            path.write_bytes(render_figure(illustration.figure, "pdf" if kind == "pdf" else "svg"))
            paths[illustration.name] = path
    return paths


def document(report: Report, format: Format, *, figures: Mapping[str, str] | None = None) -> str:  # noqa: A002
    """The whole document.

    Args:
        report: what to say.
        format: the language. HTML embeds its figures.
        figures: for Markdown and LaTeX, by name, where the figures are as seen from the document; those that are not
            named are left out.
    """
    if format == "html":
        return _html(report)
    return _markdown(report, figures or {}) if format == "markdown" else _latex(report, figures or {})


def _markdown(report: Report, figures: Mapping[str, str]) -> str:
    parts = [f"# {escape_markdown(report.title)}\n"]
    parts.append("".join(f"- {label}: {escape_markdown(value)}\n" for label, value in report.facts))
    parts += [f"> **Warning:** {escape_markdown(warning)}\n" for warning in report.warnings]
    for section in report.sections:
        parts.append(f"## {escape_markdown(section.title)}\n")
        parts += [render(table, "markdown") for table in section.tables]
        for illustration in section.illustrations:
            if illustration.name in figures:
                caption = escape_markdown(illustration.caption)
                parts.append(f"![{illustration.name}](<{figures[illustration.name]}>)\n\n{caption}\n")
    parts.append("## How to read this\n")
    parts.append("".join(f"- {escape_markdown(sentence)}\n" for sentence in report.method))
    return "\n".join(parts)


def _latex(report: Report, figures: Mapping[str, str]) -> str:
    parts = ["% needs \\usepackage{booktabs} and, with figures, \\usepackage{graphicx}"]
    parts += [f"% {label}: {value}" for label, value in report.facts]
    parts += [rf"\paragraph{{Warning}} {escape_latex(warning)}" for warning in report.warnings]
    for section in report.sections:
        parts.append(rf"\subsection*{{{escape_latex(section.title)}}}")
        parts += [render(table, "latex") for table in section.tables]
        for illustration in section.illustrations:
            if illustration.name in figures:
                parts.append(r"\begin{figure}[htbp]" + "\n" + r"\centering")
                parts.append(rf"\includegraphics[width=\linewidth]{{{figures[illustration.name]}}}")
                parts.append(rf"\caption{{{escape_latex(illustration.caption)}}}" + "\n" + r"\end{figure}")
    parts.append(r"\begin{itemize}")
    parts += [rf"\item {escape_latex(sentence)}" for sentence in report.method]
    return "\n".join([*parts, r"\end{itemize}"]) + "\n"


def _html(report: Report) -> str:
    facts = "".join(f"<dt>{html.escape(label)}</dt><dd>{html.escape(value)}</dd>" for label, value in report.facts)
    warnings = "".join(f'<p class="warning" role="alert">{html.escape(warning)}</p>' for warning in report.warnings)
    links = "".join(f'<li><a href="#s{index}">{html.escape(section.title)}</a></li>' for index, section in enumerate(report.sections))
    body = []
    for index, section in enumerate(report.sections):
        body.append(f'<section id="s{index}"><h2>{html.escape(section.title)}</h2>')
        body += [render(table, "html") for table in section.tables]
        if section.illustrations:
            body.append('<div class="figures">' + "".join(map(_embedded, section.illustrations)) + "</div>")
        body.append("</section>")
    method = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in report.method)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(report.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{html.escape(report.title)}</h1><dl>{facts}</dl></header>
{warnings}
<nav><ul>{links}</ul></nav>
<main>
{"".join(body)}
<section><h2>How to read this</h2><ul class="method">{method}</ul></section>
</main>
</body>
</html>
"""


def _embedded(illustration: Illustration) -> str:
    # As an image of its own: SVGs within one page would share identifiers.
    data = base64.b64encode(render_figure(illustration.figure, "svg")).decode("ascii")
    caption = html.escape(illustration.caption)
    return f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{data}"><figcaption>{caption}</figcaption></figure>'


_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #5f6c7b; --line: #d9dee4; --tint: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.8rem; margin: 0 0 1rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .8rem; padding-top: .8rem; border-top: 2px solid var(--ink); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
nav ul { list-style: none; padding: 0; margin: 1.5rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
a { color: #0b5cad; text-decoration: none; } a:hover { text-decoration: underline; }
.warning { background: #fdecea; border-left: 4px solid #c0392b; padding: .7rem 1rem; margin: 1rem 0 0; }
.scroll { overflow-x: auto; margin-top: 1.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); vertical-align: baseline; }
thead th { color: var(--soft); font-weight: 500; font-size: .87rem; border-bottom: 1.5px solid var(--ink); }
th:first-child { text-align: left; font-weight: 500; white-space: normal; overflow-wrap: anywhere; min-width: 12.5rem; }
tbody tr:hover { background: var(--tint); }
td:has(small) { white-space: normal; }
td small { color: var(--soft); font-size: .8em; font-weight: 400; white-space: nowrap; display: inline-block; }
td.best { font-weight: 700; } td.better { color: #08703f; } td.worse { color: #a8321f; }
.words th, .words td { text-align: left; } .words td:last-child { white-space: normal; overflow-wrap: anywhere; }
.note { color: var(--soft); font-size: .87rem; margin: .5rem 0 0; max-width: 62rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.6rem 2rem; margin-top: 1.8rem; }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .87rem; margin-top: .3rem; }
.method { color: var(--soft); font-size: .9rem; padding-left: 1.2rem; max-width: 62rem; }
@media print { nav { display: none; } section { break-inside: avoid-page; } }
"""

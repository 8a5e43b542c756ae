"""Tables that know nothing of what they hold, and their Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Cell", "Format", "Table", "escape_latex", "escape_markdown", "number", "render"]

Format = Literal["markdown", "latex", "html"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a table."""

    text: str
    best: bool = False
    """Whether to set it in bold."""
    verdict: Literal["", "better", "worse"] = ""
    """Coloured where colours are to be had."""
    detail: str = ""
    """Said in smaller letters behind the text."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a heading row; the first column is set flush left, the others flush right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default_factory=tuple)
    """Sentences below it."""
    words: bool = False
    """Whether the other columns hold words, set flush left too."""


def number(value: float | None) -> str:
    """A number with about three digits that mean something: 12,345 / 123 / 12.3 / 1.23; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:,.{digits}f}"


def escape_markdown(text: str) -> str:
    """Escape what Markdown would take for markup within a table's cell or a line of text."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "†": r"$^\dagger$",
    "<": r"$<$",
    ">": r"$>$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Escape LaTeX's special characters."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def render(table: Table, format: Format) -> str:  # noqa: A002 - the word of the command line
    """The table as text, its title and notes included."""
    return {"markdown": _markdown, "latex": _latex, "html": _html}[format](table)


def _markdown(table: Table) -> str:
    def cell(entry: Cell) -> str:
        text = escape_markdown(entry.text)
        text = f"**{text}**" if entry.best else text
        return f"{text} {escape_markdown(entry.detail)}" if entry.detail else text

    lines = [f"**{escape_markdown(table.title)}**", ""]
    lines.append(f"| {' | '.join(map(escape_markdown, table.columns))} |")
    rules = ["---", *["---" if table.words else "---:"] * (len(table.columns) - 1)]
    lines.append(f"| {' | '.join(rules)} |")
    lines += [f"| {' | '.join(map(cell, row))} |" for row in table.rows]
    for note in table.notes:
        lines += ["", escape_markdown(note)]
    return "\n".join(lines) + "\n"


def _latex(table: Table) -> str:
    def cell(entry: Cell) -> str:
        text = escape_latex(entry.text)
        text = rf"\textbf{{{text}}}" if entry.best else text
        return rf"{text} {{\scriptsize {escape_latex(entry.detail)}}}" if entry.detail else text

    lines = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{escape_latex(table.title)}}}", r"\small"]
    others = "l" * (len(table.columns) - 2) + r"p{0.5\linewidth}" if table.words else "r" * (len(table.columns) - 1)
    lines += [rf"\begin{{tabular}}{{l{others}}}", r"\toprule"]
    lines += [" & ".join(map(escape_latex, table.columns)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(cell, row)) + r" \\" for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\footnotesize {escape_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _html(table: Table) -> str:
    def cell(entry: Cell, tag: str) -> str:
        classes = " ".join(name for name in (entry.verdict, "best" if entry.best else "") if name)
        detail = f" <small>{html.escape(entry.detail)}</small>" if entry.detail else ""
        attribute = f' class="{classes}"' if classes else ""
        scope = ' scope="row"' if tag == "th" else ""
        return f"<{tag}{scope}{attribute}>{html.escape(entry.text)}{detail}</{tag}>"

    lines = [
        f'<div class="scroll"><table{" class=words" if table.words else ""}>',
        f"<caption>{html.escape(table.title)}</caption>",
        "<thead><tr>",
    ]
    lines += [f'<th scope="col">{html.escape(name)}</th>' for name in table.columns]
    lines.append("</tr></thead><tbody>")
    for row in table.rows:
        lines.append("<tr>" + cell(row[0], "th") + "".join(cell(entry, "td") for entry in row[1:]) + "</tr>")
    lines.append("</tbody></table></div>")
    lines += [f'<p class="note">{html.escape(note)}</p>' for note in table.notes]
    return "\n".join(lines) + "\n"

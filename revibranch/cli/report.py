"""``revibranch report``: tables and figures out of a file of runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from ..benchmarks.page import document, write_figures
from ..benchmarks.report import as_json, build_report
from ..benchmarks.store import read_rows
from ..benchmarks.tables import Format
from . import wrong_input

__all__ = ["report"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--baseline", metavar="POLICY", help="Compare with this policy; by default scip:relpscost, if it is there.")
@click.option("--format", "form", type=click.Choice(("markdown", "latex", "html")), help="By default by the name of --out, else markdown.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of standard output.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), help="Folder for a Markdown or LaTeX report's figures.")
@click.option(
    "--trainings", is_flag=True, help="Seeds are those of trainings: intervals draw trainings anew too, of each policy on its own; no test."
)
@click.option("--json", "numbers", is_flag=True, help="Print the numbers as one JSON object instead.")
def report(
    file: Path, baseline: str | None, form: Format | None, out: Path | None, figures: Path | None, trainings: bool, numbers: bool
) -> None:
    """Report on FILE, the Parquet file of `revibranch evaluate`, finished or still running.

    HTML is one page that holds its figures. Markdown and LaTeX show figures if a folder for them is named.
    """
    if form is None:
        form = _by_name(out)
    if figures is not None and (form == "html" or numbers):
        raise click.UsageError("--figures is for Markdown and LaTeX")
    with wrong_input():
        rows = read_rows(file)
        if out is not None and (out.suffix == ".parquet" or (out.exists() and out.samefile(file))):
            raise ValueError(f"--out {out} would take the place of measured runs; name another file for the report")
        if numbers:
            text = json.dumps(as_json(rows, baseline=baseline, trainings=trainings), indent=2, allow_nan=False) + "\n"
        else:
            made = build_report(rows, baseline=baseline, illustrated=form == "html" or figures is not None, trainings=trainings)
            paths = {}
            if figures is not None:
                base = out.parent if out is not None else Path()
                paths = {name: Path(os.path.relpath(path, base)).as_posix() for name, path in write_figures(made, figures, form).items()}
            text = document(made, form, figures=paths)
        if out is None:
            click.echo(text, nl=False)
        else:
            out.write_text(text, encoding="utf-8")


def _by_name(out: Path | None) -> Format:
    suffix = out.suffix.lower() if out is not None else ""
    return "html" if suffix in (".html", ".htm") else "latex" if suffix == ".tex" else "markdown"

"""``revibranch generate``: files of random instances of one family, and a manifest that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..instances import families
from ..instances.family import MAX_SEED
from ..instances.write import FileFormat, InstanceSet, write_set
from . import InputError, wrong_input

__all__ = ["generate"]


def _values(field: FieldInfo) -> str:
    """A parameter's default, or all of its values with the default first."""
    others = [value for value in get_args(field.annotation) if value != field.default] if get_origin(field.annotation) is Literal else []
    return "|".join(map(str, [field.default, *others]))


def _epilog() -> str:
    lines = []
    for name in families.names():
        family = families.get(name)
        sizes = ", ".join(f"{label} {size}" for label, size in family.published_sizes.items())
        parameters = ", ".join(f"{key}={_values(field)}" for key, field in family.parameters.model_fields.items())
        lines.append(f"\b\n{name}: {family.title}\n  sizes: {sizes}\n  parameters: {parameters}")
    return "\n\n".join(lines)


@click.command(epilog=_epilog())
@click.argument("family")
@click.option("--size", metavar="SIZE", help="Such as 500x1000, or the name of a published size below.  [default: small]")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Number of instances.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the first; the others follow one by one.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files and manifest.json.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(get_args(FileFormat)),
    default="mps",
    show_default=True,
    help="mps holds every number exactly.",
)
@click.option("--gzip", "compress", is_flag=True, help="Compress the files.")
@click.option(
    "--parameter",
    "-p",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="One of the family's parameters, below with their defaults; repeatable.",
)
def generate(
    family: str,
    size: str | None,
    count: int,
    seed: int,
    out: Path,
    workers: int,
    file_format: FileFormat,
    compress: bool,
    assignments: tuple[str, ...],
) -> None:
    """Write random instances of FAMILY.

    The same seed gives the same instance on any machine. Run it again to resume: files that are there and whole are kept.
    """
    with wrong_input():
        chosen = families.get(family)
        dimensions = chosen.default_size if size is None else chosen.parse_size(size)
        parameters = chosen.read_parameters(assignments)
        if seed + count - 1 > MAX_SEED:
            raise ValueError(f"seeds end at {MAX_SEED}")
        wanted = InstanceSet(family, dimensions, parameters, range(seed, seed + count), file_format, compress)
        kept = 0
        console = Console(stderr=True)
        with Progress(
            TextColumn(f"{family} {dimensions}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        ) as progress:
            task = progress.add_task("", total=count)

            def on_file(_: int, was_there: bool) -> None:
                nonlocal kept
                kept += was_there
                progress.advance(task)

            try:
                write_set(wanted, out, workers, on_file)
            except OSError as error:
                raise InputError(f"{error.filename2 or error.filename or out}: {error.strerror or error}") from error
    click.echo(f"{count - kept} written, {kept} kept in {out}")

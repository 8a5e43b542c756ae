"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import click

from ..branching.settings import RULES

__all__ = ["POLICY_HELP", "SETTINGS_HELP", "positive_seconds", "workers_option"]

POLICY_HELP = (
    "auto, a policy that ships (revibranch doctor names them) or a checkpoint's path, each also with +guard, +nodes or both "
    f"behind it; or scip:RULE, where RULE is one of {', '.join(RULES)}."
)
SETTINGS_HELP = "default: SCIP as it comes; clean: cuts at the root only, no restarts; dfs: clean, depth first."


def positive_seconds(_context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A callback for limits of time."""
    if not value > 0:  # NaN is not positive either
        raise click.BadParameter(f"{value:g} is not a positive number of seconds", param=parameter)
    return value


def workers_option(text: str, *, least: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A number of processes, ``ray`` for a cluster on this machine, or the address of one.

    Args:
        text: of the help.
        least: smallest number.
    """

    def parse(context: click.Context, parameter: click.Parameter, value: str) -> int | str:  # noqa: ARG001
        if value == "ray" or value.startswith("ray://"):
            if find_spec("ray") is None:
                raise click.UsageError("--workers ray needs Ray: pip install 'revibranch[ray]'")
            return value
        if not value.isascii() or not value.isdigit() or int(value) < least:
            raise click.BadParameter(f"{value!r} is no number of processes, nor ray or ray://HOST")
        return int(value)

    return click.option("--workers", metavar="N|ray|ray://HOST", callback=parse, default="1", show_default=True, help=text)

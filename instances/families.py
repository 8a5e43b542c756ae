"""The registry of problem families: what the command line, recipes and file sets read."""

from __future__ import annotations

import difflib
from typing import Any

from . import auction, facility, general, independent_set, knapsack, setcover
from .family import Family, Instance, Parameters, Size

__all__ = ["Family", "Instance", "Parameters", "Size", "get", "names"]

_FAMILIES: dict[str, Family[Any]] = {
    module.FAMILY.name: module.FAMILY for module in (setcover, auction, facility, independent_set, knapsack, general)
}


def names() -> tuple[str, ...]:
    """Return the names of all families, the literature's five first."""
    return tuple(_FAMILIES)


def get(name: str) -> Family[Any]:
    """Return a family by its name.

    Raises:
        ValueError: there is no such family; the message names the nearest and lists all.
    """
    try:
        return _FAMILIES[name]
    except KeyError:
        near = difflib.get_close_matches(name, _FAMILIES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown family {name!r}{hint} (known: {', '.join(_FAMILIES)})") from None

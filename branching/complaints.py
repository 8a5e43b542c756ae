"""What pydantic finds wrong, as one line for a person."""

from __future__ import annotations

from pydantic import ValidationError

__all__ = ["first_complaint"]


def first_complaint(error: ValidationError) -> str:
    """The first thing that is wrong: where, if it is at some place, and what."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = " ".join(problem["msg"].removeprefix("Value error, ").splitlines())
    return f"{where}: {what}" if where else what

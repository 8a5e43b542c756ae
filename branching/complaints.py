"""What is wrong, as one line for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["first_complaint", "one_line"]


def first_complaint(error: ValidationError) -> str:
    """The first thing that pydantic finds wrong: where, if it is at some place, and what."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = " ".join(problem["msg"].removeprefix("Value error, ").splitlines())
    return f"{where}: {what}" if where else what


def one_line(message: object) -> str:
    """The text of an exception, or of anything else, without its line breaks."""
    return " ".join(str(message).split())

"""What shapes a network; read without torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from ..branching.state import row_column_names, variable_column_names

__all__ = ["NetworkConfig"]


class NetworkConfig(BaseModel):
    """Shape of a network. Together with the weights it is all that a network is. Column names may come as a list (TOML)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    width: Annotated[int, Field(ge=2, le=1024)] = 32
    """Width D of all embeddings; even, and a multiple of ``heads``."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of the decoder."""
    history_length: Annotated[int, Field(ge=0, le=4096)] = 0
    """Most revived steps that the decoder sees (see ``select_history``); 0 is a network without history."""
    classes: Annotated[int, Field(ge=0, le=1024)] = 0
    """Classes K of the head: it gives every candidate a distribution over log2 of its subtree's size (in nodes, or in levels
    of branching, as the learner counts), and the score is minus the mean. 0: the head gives one score."""
    highest: Annotated[FiniteFloat, Field(gt=0)] = 16.0
    """Centre of the last class; the first has 0, and all lie evenly. Not read without classes."""
    variable_columns: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = variable_column_names(extended=False)
    """Variable columns that are read, in this order: names out of ``VARIABLE_COLUMNS``."""
    row_columns: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = row_column_names()
    """Row columns that are read, in this order: names out of ``ROW_COLUMNS``."""

    @model_validator(mode="after")
    def _fits(self) -> NetworkConfig:
        if self.width % 2 or self.width % self.heads:
            raise ValueError(f"width {self.width} must be even and a multiple of heads ({self.heads})")
        if self.classes == 1:
            raise ValueError("classes must be 0 (one score) or at least 2")
        for kind, names, known in (
            ("variable", self.variable_columns, variable_column_names()),
            ("row", self.row_columns, row_column_names()),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ValueError(f"unknown {kind} columns {', '.join(unknown)}; known are {', '.join(known)}")
            if len(set(names)) != len(names):
                raise ValueError(f"{kind} columns named twice: {', '.join(names)}")
        return self

    @property
    def extended(self) -> bool:
        """Whether a variable column behind Ecole's 19 is read."""
        return not set(self.variable_columns) <= set(variable_column_names(extended=False))

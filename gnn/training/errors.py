"""What the user of a training can mend."""

from __future__ import annotations

__all__ = ["TrainingError"]


class TrainingError(ValueError):
    """A recipe, a folder or a file that does not fit; the message is one line. Other errors are ours."""

"""The manifest beside a set of generated files: what they are, and the checksums that tell whether they still are it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..branching.complaints import first_complaint
from ..branching.files import write_atomically

__all__ = ["MANIFEST_NAME", "InstanceError", "Manifest", "ManifestEntry"]

MANIFEST_NAME = "manifest.json"


class InstanceError(ValueError):
    """Instances that are asked for are not there or not readable; the message is one line for the user."""


class ManifestEntry(BaseModel):
    """One generated file.

    Attributes:
        name: the instance's name.
        seed: what it was drawn with.
        file: file name, beside the manifest.
        sha256: of the file.
        problem: of the problem's arrays, the same whatever the file format.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seed: int = Field(ge=0)
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    problem: str = Field(pattern="^[0-9a-f]{64}$")

    @field_validator("file")
    @classmethod
    def _beside(cls, value: str) -> str:
        if Path(value).name != value or value in ("", ".", ".."):
            raise ValueError("files stand beside their manifest")
        return value


class Manifest(BaseModel):
    """A set of files of one family, size and parameters.

    Attributes:
        family: the family's name.
        size: the instances' size.
        version: the generator's version.
        parameters: the family's parameters.
        instances: the files, by seed.
    """

    model_config = ConfigDict(extra="forbid")

    family: str
    size: str
    version: int
    parameters: dict[str, Any]
    instances: list[ManifestEntry]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the files that are there."""
        return [entry.seed for entry in self.instances]

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read and check a manifest.

        Raises:
            InstanceError: it is not readable or not a manifest.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InstanceError(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            raise InstanceError(f"{path} is no manifest: {first_complaint(error)}") from error

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())

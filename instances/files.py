"""Sets of instances: files, manifests and families with seeds, resolved into sources that are cheap to send about."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import families
from .family import Family, Parameters, Size, check_seed
from .manifest import MANIFEST_NAME, InstanceError, Manifest
from .reading import SUFFIXES, ReadingError, instance_name, is_instance_name, is_text, read_model

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["InstanceError", "InstanceSource", "ParameterValue", "file_sha256", "load_file", "parse_seeds", "resolve", "resolve_all"]

_FORMATS = ", ".join(SUFFIXES)
_FAMILY_SPEC = re.compile(r"(?P<family>[A-Za-z][\w-]*):(?P<size>[^:]*):(?P<seeds>[^:]*)(?::(?P<parameters>[^:]*))?")
_SEEDS = re.compile(r"(\d+)(?:-(\d+))?")
_MAX_SOURCES = 1_000_000

ParameterValue = bool | int | float | str
"""What a generator's parameter can be."""


@dataclass(frozen=True)
class InstanceSource:
    """Where one instance comes from: a file, or a family with a size and a seed. Small, hashable and picklable.

    Attributes:
        name: unique within a resolved set.
        family: the generator's family, or for other files the name of their folder.
        path: the file, or None if the instance is generated.
        sha256: what the manifest says of the file, checked when it is loaded.
        size: the generated instance's size.
        seed: the generated instance's seed.
        parameters: the generated instance's, beyond its size; the literature's where left out.
    """

    name: str
    family: str
    path: str | None = None
    sha256: str | None = None
    size: tuple[int, ...] | None = None
    seed: int | None = None
    parameters: tuple[tuple[str, ParameterValue], ...] = ()

    @classmethod
    def generated(cls, family: Family[Any], size: Size, seed: int, parameters: Parameters) -> InstanceSource:
        """The instance of a family with this size, seed and parameters, which are the family's.

        Raises:
            ValueError: the seed is out of range.
        """
        check_seed(seed)
        special = parameters.model_dump(exclude_defaults=True)
        name = family.instance_name(size, seed, parameters)
        return cls(name, family.name, size=tuple(size), seed=seed, parameters=tuple(sorted(special.items())))

    def content(self) -> str:
        """What name, size and seed do not tell of the problem: the file's checksum as it is now, or the generator's version.

        Of a file that cannot be read ``load`` says why.
        """
        if self.path is None:
            return f"version {families.get(self.family).version}"
        try:
            status = os.stat(self.path)
            return _sha256_of(self.path, status.st_mtime_ns, status.st_size)
        except OSError:
            return "unreadable"

    def load(self) -> Model:
        """Build or read a silent model.

        Raises:
            InstanceError: the file cannot be read, or is not what the manifest says.
        """
        if self.path is not None:
            return load_file(self.path, self.sha256)
        assert self.size is not None
        assert self.seed is not None
        family = families.get(self.family)
        return family.generate(Size(self.size), self.seed, family.parameters(**dict(self.parameters))).to_model()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, as it is now, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def _sha256_of(path: str, changed: int, size: int) -> str:  # noqa: ARG001  # a training asks for each file at every turn
    return file_sha256(path)


def load_file(path: str | Path, sha256: str | None = None) -> Model:
    """Read a problem file into a silent model.

    Args:
        path: an .mps, .lp or .cip file, gzipped or not.
        sha256: checksum that the file must have.

    Raises:
        InstanceError: there is no such file, SCIP cannot read it, it is empty, or its checksum is another.
    """
    path = Path(path)
    try:
        if sha256 is not None and file_sha256(path) != sha256:
            raise InstanceError(f"{path} is not the file its manifest describes (checksum differs); generate it again")
        return read_model(path)
    except OSError as error:
        raise InstanceError(f"cannot read {path}: {error.strerror or error}") from error
    except ReadingError as error:
        raise InstanceError(str(error)) from error


def resolve(spec: str | Path) -> list[InstanceSource]:
    """Find the instances that a specification names.

    Args:
        spec: a folder (its instance files, not its subfolders'), a glob pattern, a manifest.json, one file, or
            ``family:size:seeds`` such as ``setcover:500x1000:0-19`` or ``auction:small:0,3,7-9``, generated on the fly, also
            with parameters of the family: ``setcover:500x1000:0-19:density=0.1,max_cost=10``.

    Returns:
        Sources in a fixed order: files by name with numbers in natural order, seeds as given.

    Raises:
        InstanceError: nothing is named, or what is named is not there.
    """
    return resolve_all([spec])


def resolve_all(specs: Sequence[str | Path]) -> list[InstanceSource]:
    """Find the instances of several specifications, each once.

    Names are unique across all: files of the same stem are told apart by their suffixes, and else by their paths.

    Raises:
        InstanceError: as for :func:`resolve`.
    """
    found = [source for spec in specs for source in _resolve_one(str(spec))]
    by_origin: dict[tuple[bool, str], InstanceSource] = {}
    for source in found:
        by_origin.setdefault((source.path is None, source.name if source.path is None else str(Path(source.path).resolve())), source)
    unique = list(by_origin.values())
    for source in unique:
        if source.path is not None and not is_text(source.path):
            raise InstanceError(f"{source.path!r}: a file's name must be valid UTF-8, for it goes into results")
    for longer_name in (_file_name, _path_name):
        counts = Counter(source.name for source in unique)
        unique = [longer_name(source) if counts[source.name] > 1 else source for source in unique]
    return unique


def parse_seeds(text: str) -> list[int]:
    """Read ``3``, ``0-19`` or ``0,4,7-9`` into seeds, in the order given, each once.

    Raises:
        InstanceError: it is no such list, or a range runs backwards.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        if match is None:
            raise InstanceError(f"seeds are written 3, 0-19 or 0,4,7-9, not {text!r}")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise InstanceError(f"seeds {part.strip()} run backwards")
        if last - first + len(seeds) >= _MAX_SOURCES:
            raise InstanceError(f"seeds {part.strip()} are more than {_MAX_SOURCES}")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)


def _resolve_one(spec: str) -> Iterable[InstanceSource]:
    path = Path(spec)
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_manifest(path) if path.suffix == ".json" else _from_files([path])
    if glob.has_magic(spec):  # before families, which have no such signs
        paths = [Path(name) for name in glob.glob(spec, recursive=True) if is_instance_name(name)]
        if not paths:
            raise InstanceError(f"no instance file matches {spec!r}")
        return _from_files(paths)
    if (match := _FAMILY_SPEC.fullmatch(spec)) is not None:
        return _from_family(match["family"], match["size"], match["seeds"], match["parameters"])
    if spec in families.names():
        family = families.get(spec)
        raise InstanceError(f"{spec} is a family: name size and seeds too, e.g. {spec}:{family.default_size}:0-19")
    raise InstanceError(f"{spec!r} is no folder, file, pattern or family:size:seeds (families: {', '.join(families.names())})")


def _from_family(name: str, size: str, seeds: str, assignments: str | None) -> list[InstanceSource]:
    try:
        family = families.get(name)
        dimensions = family.parse_size(size)
        parameters = family.read_parameters(assignments.split(",") if assignments else ())
        return [InstanceSource.generated(family, dimensions, seed, parameters) for seed in parse_seeds(seeds)]
    except ValueError as error:
        raise InstanceError(str(error)) from None


def _from_folder(folder: Path) -> list[InstanceSource]:
    paths = [path for path in folder.iterdir() if is_instance_name(path.name) and path.is_file() and not path.name.startswith(".")]
    if not paths:
        raise InstanceError(f"{folder} holds no instance file ({_FORMATS})")
    return _from_files(paths)


def _from_files(paths: Sequence[Path]) -> list[InstanceSource]:
    """Files in natural order; what a manifest beside them knows of them comes from there."""
    known: dict[Path, InstanceSource] = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        if (folder / MANIFEST_NAME).is_file():
            known.update((Path(source.path or ""), source) for source in _from_manifest(folder / MANIFEST_NAME, complete=False))
    return [known.get(path) or _from_file(path) for path in sorted(paths, key=_natural)]


def _from_file(path: Path) -> InstanceSource:
    if not is_instance_name(path.name):
        raise InstanceError(f"{path}: instances are files in {_FORMATS}, also gzipped")
    return InstanceSource(instance_name(path), path.resolve().parent.name, path=str(path))


def _from_manifest(path: Path, complete: bool = True) -> list[InstanceSource]:
    """The files that a manifest lists; where it need not be complete, those that are missing do not matter."""
    manifest = Manifest.read(path)
    sources = []
    for entry in manifest.instances:
        file = path.parent / entry.file
        if complete and not file.is_file():
            raise InstanceError(f"{path} lists {entry.file}, which is not there; generate the set again")
        sources.append(InstanceSource(entry.name, manifest.family, path=str(file), sha256=entry.sha256))
    if complete and not sources:
        raise InstanceError(f"{path} lists no instances")
    return sources


def _natural(path: Path) -> tuple[str, list[tuple[int, int | str]]]:
    parts = re.split(r"(\d+)", path.name)
    return str(path.parent), [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def _file_name(source: InstanceSource) -> InstanceSource:
    return source if source.path is None else replace(source, name=Path(source.path).name)


def _path_name(source: InstanceSource) -> InstanceSource:
    return source if source.path is None else replace(source, name=source.path)

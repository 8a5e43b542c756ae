"""Writing sets of generated instances: in parallel, resumable, whole files only."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from ..branching.files import locked, write_atomically
from ..branching.workers.processes import starting
from . import families
from .family import Parameters, Size
from .files import file_sha256
from .manifest import MANIFEST_NAME, InstanceError, Manifest, ManifestEntry
from .mps import mps_text

__all__ = ["FORMATS", "FileFormat", "InstanceSet", "write_set"]

FileFormat = Literal["mps", "lp", "cip"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
_MANIFEST_EVERY = 64
_LOCK_NAME = f".{MANIFEST_NAME}.lock"


@dataclass(frozen=True)
class InstanceSet:
    """What is to be written.

    Attributes:
        family: the family's name.
        size: the instances' size.
        parameters: the family's parameters.
        seeds: one instance each.
        file_format: ``mps`` (exact), or what SCIP writes as ``lp`` or ``cip`` (15 digits; lp splits ranged rows in two).
        compress: gzip the files.
    """

    family: str
    size: Size
    parameters: Parameters
    seeds: Sequence[int]
    file_format: FileFormat = "mps"
    compress: bool = False

    def instance_name(self, seed: int) -> str:
        """Name of the instance with this seed."""
        return families.get(self.family).instance_name(self.size, seed, self.parameters)

    def file_name(self, seed: int) -> str:
        """Name of the file with this seed."""
        return f"{self.instance_name(seed)}.{self.file_format}{'.gz' if self.compress else ''}"


def write_set(wanted: InstanceSet, folder: Path, workers: int = 1, on_file: Callable[[int, bool], None] | None = None) -> Manifest:
    """Write files and their manifest; files that are there with a good checksum are kept.

    An interrupt (KeyboardInterrupt) waits for the files being written, writes the manifest of all that are there, and
    goes on to the caller. Others may write files of the same set into the folder at the same time.

    Args:
        wanted: family, size, seeds and format.
        folder: made if need be. A manifest in it must be of the same family, size, parameters and generator version.
        workers: processes; 1 stays in this one.
        on_file: called with the seed and whether the file was there already.

    Returns:
        The manifest of all files, earlier ones included.

    Raises:
        InstanceError: the folder holds another set, or a worker died.
        ValueError: the family cannot be drawn with this size and these parameters.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _opened(wanted, folder)
    known = {entry.file: entry for entry in manifest.instances if (folder / entry.file).exists()}
    missing = []
    for seed in wanted.seeds:
        name = wanted.file_name(seed)
        if name in known and _is_good(folder / name, known[name]):
            if on_file is not None:
                on_file(seed, True)
            continue
        missing.append(seed)
        # What is damaged and not wanted stays known: whoever reads it is to be told.
        known.pop(name, None)
    manifest.instances = list(known.values())
    written, stored = 0, b""

    def finished(entry: ManifestEntry) -> None:
        nonlocal written, stored
        manifest.instances.append(entry)
        written += 1
        if on_file is not None:
            on_file(entry.seed, False)
        if written % _MANIFEST_EVERY == 0:
            stored = _store(wanted, manifest, folder, stored)

    try:
        _write_all(wanted, missing, folder, workers, finished)
    finally:
        _store(wanted, manifest, folder, stored)
    return manifest


def _store(wanted: InstanceSet, manifest: Manifest, folder: Path, last: bytes) -> bytes:
    """Write the manifest, with what others have added to the one in the folder since we read it.

    Args:
        wanted: what the manifest describes.
        manifest: takes in what others have added.
        folder: where it stands.
        last: what this gave last time; saves reading a long manifest that nobody else has touched.

    Returns:
        The file's content.
    """
    path = folder / MANIFEST_NAME
    if not manifest.instances and not path.exists():
        return last
    # Without locks an entry is lost where two write within the same few milliseconds.
    with locked(folder / _LOCK_NAME, wait=True):
        ours = {entry.file: entry for entry in manifest.instances}
        touched = path.exists() and path.read_bytes() != last
        theirs = [entry for entry in _opened(wanted, folder).instances if entry.file not in ours] if touched else []
        there = [entry for entry in theirs if (folder / entry.file).exists()]
        manifest.instances = sorted([*ours.values(), *there], key=lambda entry: (entry.seed, entry.file))
        manifest.write(path)
        return path.read_bytes()


def _opened(wanted: InstanceSet, folder: Path) -> Manifest:
    """The folder's manifest if it fits, else a new one."""
    fresh = Manifest(
        family=wanted.family,
        size=str(wanted.size),
        version=families.get(wanted.family).version,
        parameters=wanted.parameters.model_dump(mode="json"),
        instances=[],
    )
    path = folder / MANIFEST_NAME
    if not path.exists():
        return fresh
    there = Manifest.read(path)
    with suppress(ValidationError):  # parameters that came later have their defaults in older manifests
        there.parameters = type(wanted.parameters)(**there.parameters).model_dump(mode="json")
    for label in ("family", "size", "parameters", "version"):
        old, new = getattr(there, label), getattr(fresh, label)
        if old != new:
            raise InstanceError(f"{folder} holds instances of {label} {_brief(old)}, not {_brief(new)}; name another folder")
    return there


def _brief(value: Any) -> str:
    return ", ".join(f"{key}={item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _is_good(path: Path, entry: ManifestEntry) -> bool:
    return path.is_file() and file_sha256(path) == entry.sha256


def _write_all(wanted: InstanceSet, seeds: Sequence[int], folder: Path, workers: int, finished: Callable[[ManifestEntry], None]) -> None:
    """Write the files and report them in the order in which they are finished."""
    if workers == 1 or len(seeds) < 2:
        for seed in seeds:
            finished(_write_one(wanted, seed, folder))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(seeds)), mp_context=context) as pool:
        running: set[Future[ManifestEntry]] = set()
        queue = iter(seeds)
        try:
            while True:
                # A short queue: an interrupt then waits for a few files, not for all.
                while len(running) < 2 * workers and (following := next(queue, None)) is not None:
                    with starting(signal.SIGINT):  # workers start as jobs are handed in
                        running.add(pool.submit(_write_one, wanted, following, folder))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    finished(future.result())
        except BrokenProcessPool:
            raise InstanceError("a worker process died while it wrote an instance; finished files are kept") from None
        except KeyboardInterrupt:
            for future in running:
                future.cancel()
            for future in wait(running).done:
                if not future.cancelled() and future.exception() is None:
                    finished(future.result())
            raise


def _write_one(wanted: InstanceSet, seed: int, folder: Path) -> ManifestEntry:
    instance = families.get(wanted.family).generate(wanted.size, seed, wanted.parameters)
    if wanted.file_format == "mps":
        content = mps_text(instance.problem, instance.name).encode()
    else:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / f"model.{wanted.file_format}"
            instance.to_model().writeProblem(str(path), trans=False, genericnames=False, verbose=False)
            content = path.read_bytes()
    if wanted.compress:
        content = gzip.compress(content, mtime=0)
    path = folder / wanted.file_name(seed)
    write_atomically(path, content)
    return ManifestEntry(
        name=instance.name,
        seed=seed,
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        problem=instance.problem.checksum(),
    )

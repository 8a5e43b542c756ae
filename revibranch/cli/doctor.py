"""``revibranch doctor``: what is installed, on what machine, and does it work."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..gnn.pretrained import pretrained_names
from ..instances.native_output import stdout_to_stderr
from . import EXIT_FAILURE

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["Report", "doctor", "examine"]

_PACKAGES = {
    "revibranch": "revibranch",
    "PySCIPOpt": "pyscipopt",
    "NumPy": "numpy",
    "PyTorch": "torch",
    "PyG": "torch-geometric",
}
_FOR_TRAINING = {"PyTorch", "PyG"}
_INSTRUCTION_SETS = {  # as the kernel calls them: as users do
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512F",
    "avx512dq": "AVX-512DQ",
    "asimd": "NEON",
    "sve": "SVE",
}


@dataclass
class Report:
    """What ``doctor`` found; ``problems`` is empty where all works."""

    versions: dict[str, str | None] = field(default_factory=dict)
    """By name; None for what is missing."""
    libscip: str | None = None
    """Path of the libscip in use."""
    machine: str = ""
    processor: str = ""
    instruction_sets: list[str] = field(default_factory=list)
    vectors: str = ""
    """Floats in the vectors that the network's kernels take."""
    devices: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)
    """Names of the policies that ship."""
    self_test: str = "not run"
    problems: list[str] = field(default_factory=list)
    """One sentence for each thing that is broken."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Print versions, libscip, instruction sets, devices and policies, and solve a small problem as a self-test.

    The exit code is 1 where something is broken.
    """
    with stdout_to_stderr():
        report = examine()
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        _print(report)
    if report.problems:
        context.exit(EXIT_FAILURE)


def examine() -> Report:
    """Look at the installation; what fails becomes a problem in the report, never an exception."""
    report = Report(machine=f"{platform.system()} {platform.machine()}")
    report.versions["Python"] = platform.python_version()
    for name, distribution in _PACKAGES.items():
        try:
            report.versions[name] = version(distribution)
        except PackageNotFoundError:
            report.versions[name] = None
            if name not in _FOR_TRAINING:
                report.problems.append(f"{name} is not installed")
    report.processor, report.instruction_sets = _processor()
    _look_at_scip(report)
    _look_at_kernels(report)
    _look_at_torch(report)
    report.policies = list(pretrained_names())
    if not report.policies:
        report.problems.append("no trained policy is installed")
    _self_test(report)
    return report


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """Model of the first processor and its instruction sets; empty where the system does not tell."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return platform.processor(), []
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags.group(1).split()) if flags else set()
    instruction_sets = [name for flag, name in _INSTRUCTION_SETS.items() if flag in present]
    return model.group(1).strip() if model else platform.processor(), instruction_sets


def _look_at_scip(report: Report) -> None:
    report.versions["SCIP"] = None
    try:
        from ..branching import _scip
    except Exception as error:
        report.problems.append(f"the SCIP bridge cannot be loaded: {error}")
        return
    report.versions["SCIP"] = _scip.scip_release()
    report.libscip = _scip.library_path()


def _look_at_kernels(report: Report) -> None:
    try:
        from ..gnn._network import VECTORS, vectors
    except Exception as error:
        report.problems.append(f"the network's kernels cannot be loaded: {error}")
        return
    report.vectors = vectors()
    wanted = os.environ.get("REVIBRANCH_VECTORS")
    if wanted not in (None, *VECTORS):
        report.problems.append(f"REVIBRANCH_VECTORS={wanted} asks for none of {', '.join(VECTORS)}, so it is not heeded")


def _look_at_torch(report: Report) -> None:
    report.devices = ["cpu"]
    if report.versions.get("PyTorch") is None:
        return  # only training and GPUs need it
    try:
        import torch

        from ..gnn.devices import cuda_problem, gpu_present

        problem = cuda_problem()
        if problem is None:
            report.devices += [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
        elif gpu_present():  # no defect: everything runs on the CPU
            report.devices.append(f"no GPU, though there is a driver: {problem}")
    except Exception as error:
        report.problems.append(f"PyTorch cannot be loaded: {error}")


def _problem() -> Model:
    """Build a set cover with a tree of a few nodes, solved within a second."""
    from ..instances import families

    return families.get("setcover").generate("100x200", seed=1).to_model()


def _self_test(report: Report) -> None:
    """Solve one problem with the policy and with SCIP's rule: both must end, and agree."""
    try:
        from ..benchmarks.agreement import disagreements
        from ..benchmarks.run import run

        rows = [run(_problem, policy, settings="clean") for policy in ("auto", "scip:default")]
        learned = rows[0]
        failures = [f"{row.policy} ended with status {row.status}" for row in rows if row.status != "optimal"]
        failures += disagreements(rows)
        if not learned.decisions:
            failures.append("the policy took no decision")
        if learned.fallbacks:
            failures.append(f"the policy failed at {learned.fallbacks} nodes")
    except Exception as error:
        failures = [f"{type(error).__name__}: {error}"]
    if failures:
        report.self_test = "failed"
        report.problems += [f"self-test: {' '.join(failure.split())}" for failure in failures]
    else:
        report.self_test = f"passed ({learned.decisions} decisions, optimum {learned.objective:g} as with SCIP's own rule)"


def _print(report: Report) -> None:
    for name, number in report.versions.items():
        click.echo(f"{name:<18}{number or ('not installed (training and GPUs need it)' if name in _FOR_TRAINING else 'missing')}")
    for name, value in (
        ("libscip", report.libscip or "not found"),
        ("machine", report.machine),
        ("processor", report.processor or "unknown"),
        ("instruction sets", ", ".join(report.instruction_sets) or "unknown"),
        ("kernels' vectors", report.vectors or "unknown"),
        ("devices", ", ".join(report.devices)),
        ("policies", ", ".join(report.policies) or "none"),
        ("self-test", report.self_test),
    ):
        click.echo(f"{name:<18}{value}")
    for problem in report.problems:
        click.echo(f"BROKEN: {problem}")

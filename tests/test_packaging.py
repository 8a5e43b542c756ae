"""What a user installs: a wheel built from an sdist works elsewhere and leaves one package in site-packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CHECK = """
import sys, pathlib
for extra in ("torch", "torch_geometric", "tensorboardX", "matplotlib", "pyarrow", "scipy"):
    sys.modules[extra] = None  # none of the extras is there: importing it is an ImportError
import revibranch
from revibranch.branching import _bipartite, _scip
from revibranch.benchmarks.run import run
from revibranch.instances import families
from revibranch.cli import main

site = pathlib.Path(sys.argv[1]).resolve()
for module in (revibranch, _bipartite, _scip):
    assert pathlib.Path(module.__file__).resolve().is_relative_to(site), module.__file__
row = run(families.get("setcover").generate("100x200", seed=1).to_model, "scip:default")
assert row.status == "optimal", row
model = families.get("setcover").generate("100x200", seed=1).to_model()
model.setParams({"presolving/maxrounds": 0, "separating/maxroundsroot": 0, "limits/totalnodes": 50})
model.hideOutput()
brancher = revibranch.include(model, strict=True)  # the shipped weights, in the native network
revibranch.optimize(model)
assert brancher.statistics.decisions > 0 and brancher.statistics.fallbacks == 0, brancher.statistics
assert main(["--version"]) == 0
assert main(["generate", "setcover", "--size", "50x100", "--count", "1", "--out", "made"]) == 0
assert main(["solve", "made/setcover-50x100-s0.mps"]) == 0
"""


def call(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def committed() -> bool:
    """Whether git knows these sources: without it there is no sdist to be made of them."""
    try:
        return subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not committed(), reason="an sdist is made of what is committed, and there is no git checkout")
def test_wheel_from_an_sdist_works_in_an_empty_environment(tmp_path: Path) -> None:
    """The sdist holds what is committed: uncommitted files are not in it."""
    sources, wheels, elsewhere = tmp_path / "sources", tmp_path / "wheels", tmp_path / "elsewhere"
    for folder in (sources, wheels, elsewhere):
        folder.mkdir()
    sdist = call(sys.executable, "-c", f"import mesonpy; print(mesonpy.build_sdist({str(sources)!r}))", cwd=ROOT).split()[-1]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, sources / sdist, cwd=elsewhere)
    (wheel,) = wheels.glob("revibranch-*.whl")

    empty = tmp_path / "venv"
    venv.create(empty)
    python = empty / "bin" / "python"
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))", cwd=elsewhere).strip())
    call(*pip, "--python", python, "install", "--no-deps", wheel, cwd=elsewhere)
    landed = sorted(path.name for path in site.iterdir() if not path.name.endswith(".dist-info"))
    assert landed == ["revibranch"]
    assert not [path for path in site.rglob("*") if path.suffix in (".pyx", ".c", ".pxd") or path.name == "tests"]

    # The dependencies are borrowed from this environment, behind the empty one's own packages. Its editable install of
    # revibranch lives in a .pth file, which a plain path entry does not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("platlib") + "\n")
    call(python, "-c", CHECK, site, cwd=elsewhere)
    help_text = call(empty / "bin" / "revibranch", "--help", cwd=elsewhere)
    assert "solve" in help_text


def test_sources_in_the_working_directory_are_not_taken_for_the_package() -> None:
    """After ``pip install .`` Python finds ``revibranch/`` in the checkout first; -S leaves out site-packages."""
    done = subprocess.run([sys.executable, "-S", "-c", "import revibranch"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert "is a part of the sources" in done.stderr


def test_version_is_stated_once_and_the_same() -> None:
    import tomllib
    from importlib.metadata import version

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version("revibranch") == stated
    assert f"version: '{stated}'" in (ROOT / "meson.build").read_text()


def test_every_declared_dependency_is_pinned() -> None:
    import re
    import tomllib

    def name(requirement: str) -> str:
        return re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        declared += extra
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    assert {name(requirement) for requirement in declared} <= {name(pin) for pin in pins}

"""``revibranch doctor``: it names what is there, and fails where something is broken."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pyscipopt
import pytest

from revibranch.cli import doctor as module
from revibranch.cli import main
from revibranch.gnn import devices


def test_versions_are_those_that_run(capfd: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    report = json.loads(capfd.readouterr().out)
    model = pyscipopt.Model()
    assert report["versions"]["Python"] == platform.python_version()
    assert report["versions"]["PySCIPOpt"] == pyscipopt.__version__
    assert report["versions"]["SCIP"] == f"{model.getMajorVersion()}.{model.getMinorVersion()}.{model.getTechVersion()}"
    assert "libscip" in Path(report["libscip"]).name
    assert "cpu" in report["devices"]


def test_a_gpu_that_cannot_be_used_is_no_defect_and_not_hidden(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")  # without it there is nothing to say of a GPU
    monkeypatch.setattr(devices, "gpu_present", lambda: True)
    monkeypatch.setattr(devices, "cuda_problem", lambda: "no usable CUDA device: a reason")
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["devices"]
    assert found == ["cpu", "no GPU, though there is a driver: no usable CUDA device: a reason"]


def test_the_vectors_of_the_kernels_are_told_and_a_misspelt_wish_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REVIBRANCH_VECTORS", raising=False)
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["vectors"] in ("x4", "x8", "x16")
    monkeypatch.setenv("REVIBRANCH_VECTORS", "avx2")
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["problems"] == ["REVIBRANCH_VECTORS=avx2 asks for none of x4, x8, x16, so it is not heeded"]


def test_failed_self_test_fails_the_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> pyscipopt.Model:
        raise RuntimeError("no problem\nto be had")

    monkeypatch.setattr(module, "_problem", broken)
    assert main(["doctor"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert any(line.startswith("BROKEN: self-test") for line in lines)


def test_missing_package_fails_the_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(module._PACKAGES, "Unheard", "a-distribution-nobody-made")
    assert main(["doctor"]) == 1
    assert "BROKEN: Unheard is not installed" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "model", "instruction_sets"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx avx2 fma avx512f\n", "Some CPU", ["AVX", "AVX2", "FMA", "AVX-512F"]),
        ("processor\t: 0\nFeatures\t: fp asimd sve\n", None, ["NEON", "SVE"]),
        ("flags\t\t: fpu sse2\n", None, []),
    ],
)
def test_instruction_sets_are_read_from_the_kernel(tmp_path: Path, text: str, model: str | None, instruction_sets: list[str]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    found, sets = module._processor(path)
    assert sets == instruction_sets
    assert model is None or found == model

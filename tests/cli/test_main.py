"""The command line as such: light to start, one line for wrong input, honest exit codes."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

import revibranch
from revibranch import cli
from revibranch.cli import main


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('MODULES', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def test_import_loads_neither_torch_nor_scip() -> None:
    assert not {"torch", "pyscipopt", "numpy"} & modules_after("import revibranch; revibranch.__version__; dir(revibranch)")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["solve", "--help"], ["doctor", "--help"]])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    assert "torch" not in modules_after(f"from revibranch.cli import main; assert main({arguments}) == 0")


def test_public_names_exist_and_no_others() -> None:
    for name in revibranch.__all__:
        assert getattr(revibranch, name) is not None
    assert set(revibranch.__all__) <= set(dir(revibranch))
    with pytest.raises(AttributeError, match="no attribute 'inclued'"):
        revibranch.inclued  # noqa: B018


def test_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "revibranch", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"revibranch {revibranch.__version__}\n"


@pytest.mark.parametrize("name", sorted(cli._COMMANDS))
def test_every_listed_command_can_be_called(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"revibranch {name}" in capsys.readouterr().out


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in cli._COMMANDS)


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["doctor", "surplus"], ["solve"]])
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("revibranch: error: ")
    assert output.err.count("\n") == 1


def failing_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli._LazyGroup, "get_command", lambda *_: click.Command("solve", callback=fail))


def test_unexpected_failure_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("REVIBRANCH_DEBUG", raising=False)
    failing_with(monkeypatch, ZeroDivisionError("two\nlines"))
    assert main(["solve"]) == 1
    assert capsys.readouterr().err == "revibranch: error: ZeroDivisionError: two lines (REVIBRANCH_DEBUG=1 shows where)\n"


def test_unexpected_failure_is_raised_for_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIBRANCH_DEBUG", "1")
    failing_with(monkeypatch, ZeroDivisionError("as planned"))
    with pytest.raises(ZeroDivisionError, match="as planned"):
        main(["solve"])


def test_for_debugging_wrong_input_shows_its_cause_and_wrong_usage_stays_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REVIBRANCH_DEBUG", "1")
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1

    def fail() -> None:
        with cli.wrong_input():
            raise FileNotFoundError("nowhere")

    monkeypatch.setattr(cli._LazyGroup, "get_command", lambda *_: click.Command("solve", callback=fail))
    with pytest.raises(cli.InputError) as caught:
        main(["solve"])
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing_with(monkeypatch, KeyboardInterrupt())
    assert main(["solve"]) == 130
    assert capsys.readouterr().err.strip() == "revibranch: interrupted"

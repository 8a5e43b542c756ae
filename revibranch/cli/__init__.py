"""The command line: ``revibranch COMMAND``.

A command is a module of this package with a ``click`` command of the same name, imported when it is called. It says what
is wrong with its input by raising ``ValueError`` or ``OSError`` inside ``wrong_input()``, or a ``click`` exception.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TextIO

import click

__all__ = ["EXIT_FAILURE", "EXIT_INTERRUPTED", "EXIT_WRONG_INPUT", "InputError", "main", "wrong_input"]

EXIT_FAILURE = 1
EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT

_PROGRAM = "revibranch"

# Name and help text stand here so that `revibranch --help` imports no command.
_COMMANDS = {
    "solve": "Solve one problem file with a policy, beside SCIP's own rules.",
    "generate": "Write random instances of a problem family.",
    "evaluate": "Run policies and SCIP's rules on many instances and seeds.",
    "report": "Show tables, tests and figures of an evaluation.",
    "train": "Train a policy, from a recipe or on a folder of instances.",
    "doctor": "Say what is installed, and whether it works.",
}


class InputError(click.ClickException):
    """The user's input is wrong: one line on standard error, exit code 2."""

    exit_code = EXIT_WRONG_INPUT


@contextmanager
def wrong_input(*kinds: type[Exception]) -> Iterator[None]:
    """Within this block errors of these kinds (ValueError and OSError if none are given) are the user's mistake, not ours."""
    expected = kinds or (ValueError, OSError)
    try:
        yield
    except expected as error:
        raise InputError(str(error)) from error


class _LazyGroup(click.Group):
    """A group whose commands are modules, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f".{cmd_name}", __name__), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def _group(context: click.Context, version: bool) -> None:
    """ReviBranch: a learned branching rule for SCIP."""
    if version:
        from .. import __version__

        click.echo(f"{_PROGRAM} {__version__}")
    elif context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        Exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted. With ``REVIBRANCH_DEBUG=1`` in the environment the
        exception behind a failure or behind wrong input is raised instead.
    """
    _log_to_stderr()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = _group.main(args=arguments, prog_name=_PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        if _debugging() and error.__cause__ is not None:
            raise
        _say("error", error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `revibranch ... | head`: nobody reads on, and nothing may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except Exception as error:
        if _debugging():
            raise
        _say("error", f"{type(error).__name__}: {error} (REVIBRANCH_DEBUG=1 shows where)")
        return EXIT_FAILURE
    return code if isinstance(code, int) else 0


def _debugging() -> bool:
    return os.environ.get("REVIBRANCH_DEBUG") == "1"


def _say(kind: str, text: str = "") -> None:
    """Print one line on standard error."""
    click.echo(" ".join(f"{_PROGRAM}: {kind}{': ' if text else ''}{text}".split()), err=True)


def _show_warning(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Print a warning as one line; the place in our sources means nothing to a user."""
    _say("warning", str(message))


class _LineHandler(logging.Handler):
    """What the library logs, one line on standard error each."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(record.levelname.lower(), record.getMessage())


def _log_to_stderr() -> None:
    logger = logging.getLogger(_PROGRAM)
    if not any(isinstance(handler, _LineHandler) for handler in logger.handlers):
        logger.addHandler(_LineHandler())
        logger.propagate = False

"""``revibranch train``: from a recipe to a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..branching.settings import SETTINGS
from ..gnn.devices import DEVICES, Device
from . import wrong_input
from .display import Display
from .options import SETTINGS_HELP, workers_option

__all__ = ["train"]

_BUDGET = 3600.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_NEEDED = {"torch": "train", "torch_geometric": "train", "tensorboardX": "train", "pyarrow": "bench"}
"""The extra that brings a module."""


def _seconds(_context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """``90``, ``90s``, ``60m`` or ``1.5h`` in seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value.strip())
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{value!r} is no time such as 45m or 2h", param=parameter)
    return float(match[1]) * _UNITS[match[2]]


@contextmanager
def _extras() -> Iterator[None]:
    """Within this block a missing module is something to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        raise click.UsageError(f"training needs {error.name}: pip install 'revibranch[{_NEEDED[missing]}]'") from error


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option("--instances", metavar="SPEC", help="Instead of a recipe: folder, glob or manifest of your own instances.")
@click.option(
    "--budget", metavar="TIME", callback=_seconds, help="With --instances: wall time of it all, such as 60m or 2h.  [default: 60m]"
)
@click.option("--settings", type=click.Choice(tuple(SETTINGS)), help=f"With --instances. {SETTINGS_HELP}  [default: default]")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a key, such as optimiser.epochs=3; repeatable.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run.  [default: runs/NAME; with --instances runs/own]"
)
@click.option("--samples", type=click.Path(path_type=Path, file_okay=False), help="Folder of samples to share.  [default: OUT/samples]")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in the folder: the same RECIPE and --set options, or --instances, --budget and --settings, once more.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="cpu",
    show_default=True,
    help="Where gradient steps run; auto takes a GPU, if there is one.",
)
@workers_option("Processes that collect samples or roll out episodes; 0, with a RECIPE, does it in this one.", least=0)
@click.pass_context
def train(
    context: click.Context,
    recipe: Path | None,
    instances: str | None,
    budget: float | None,
    settings: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    samples: Path | None,
    resume: bool,
    device: Device,
    workers: int | str,
) -> None:
    """Train a policy as RECIPE says, by imitation or by reinforcement learning, and write NAME.safetensors.

    Ctrl-C and SIGTERM stop it; with a RECIPE --resume goes on, and ends with the same weights as a run that was never stopped (on a
    GPU up to rounding).

    With --instances and no RECIPE: split your instances in three, imitate strong branching and reinforce within --budget, and
    judge the better of the two policies, under the guard, against SCIP's default on the instances that were held back. It writes
    policy.safetensors and says whether to use it. How far it comes depends on the machine; --resume goes on with the same options.
    """
    if (recipe is None) == (instances is None):
        raise click.UsageError("give either a RECIPE or --instances")
    if recipe is None:
        assert instances is not None
        if overrides or samples is not None or isinstance(workers, str):
            raise click.UsageError("--set, --samples and Ray are for a RECIPE, not for --instances")
        if workers == 0:
            raise click.UsageError("--instances needs at least one process: --workers 1")
        _tailor(context, instances, budget or _BUDGET, settings or "default", out or Path("runs/own"), resume, device, workers)
        return
    if budget is not None or settings is not None:
        raise click.UsageError("--budget and --settings are for --instances; a RECIPE has its own")
    # Only now: these load torch.
    with _extras():
        from ..gnn.description import CheckpointError
        from ..gnn.training.errors import TrainingError
        from ..gnn.training.interruption import Interrupted
        from ..gnn.training.recipe import ReinforcementRecipe, load_recipe
        from ..gnn.training.run_folder import recipe_text, require_run
        from ..gnn.training.train import train as imitate
        from ..gnn.training.train_reinforcement import train_reinforcement
    with wrong_input(TrainingError, CheckpointError, OSError):
        made = load_recipe(recipe, overrides)
        text = recipe_text(recipe, overrides)
        folder = out or Path("runs") / made.name
        reinforced = isinstance(made, ReinforcementRecipe)
        if reinforced and samples is not None:
            raise click.UsageError(f"--samples is for imitation; {recipe} trains by {made.learner}")
        if not reinforced and isinstance(workers, str):
            raise click.UsageError("imitation collects on processes of this machine: --workers N")
        if resume:
            require_run(folder)
    # A disk that is full after hours is no wrong input.
    with wrong_input(TrainingError, CheckpointError), Display() as display:
        try:
            if isinstance(made, ReinforcementRecipe):
                result = train_reinforcement(made, text, folder, display, resume=resume, workers=workers, device=device)
                verdict = f"{result.best.nodes:.1f} nodes, {result.best.lp_iterations:.0f} LP iterations at validation"
                verdict += f", {result.best.unsolved} of {result.best.instances} instances at a limit" if result.best.unsolved else ""
                verdict += f", {result.best.lost} instances lost" if result.best.lost else ""
                if result.best.nodes <= 1.0:
                    display.say("warning: no validation instance needed branching, so that validation could not tell weights apart")
                checkpoint = result.checkpoint
            else:
                assert isinstance(workers, int)
                imitated = imitate(made, text, folder, display, samples=samples, resume=resume, workers=workers, device=device)
                best, checkpoint = imitated.best, imitated.checkpoint
                verdict = f"epoch {best.epoch}, validation loss {best.loss:.4f}, acc@1 {best.accuracy_1:.3f}, acc@5 {best.accuracy_5:.3f}"
        except Interrupted as stop:
            display.say(f"{stop}; --resume goes on")
            context.exit(128 + stop.number)
    click.echo(f"{checkpoint}: {verdict}")


def _tailor(
    context: click.Context, spec: str, seconds: float, settings: str, out: Path, resume: bool, device: Device, workers: int
) -> None:
    """Train on the user's own instances, and print what is to be thought of the policy."""
    with _extras():
        from ..benchmarks.page import document
        from ..benchmarks.report import build_report
        from ..benchmarks.store import StoreError
        from ..benchmarks.tailor import tailor
        from ..benchmarks.verdict import BASELINE
        from ..gnn.description import CheckpointError
        from ..gnn.training.errors import TrainingError
        from ..gnn.training.interruption import Interrupted
        from ..instances.files import InstanceError, resolve
    with wrong_input(InstanceError, OSError):
        sources = resolve(spec)
    with wrong_input(TrainingError, InstanceError, StoreError, CheckpointError), Display() as display:
        try:
            verdict = tailor(sources, out, seconds, display, settings=settings, workers=workers, device=device, resume=resume)
        except Interrupted as stop:
            display.say(f"{stop}; --resume goes on")
            context.exit(128 + stop.number)
    click.echo(document(build_report(verdict.rows, baseline=BASELINE, illustrated=False), "markdown"))
    click.echo(f"Use it: {verdict.reason}." if verdict.use else f"Keep SCIP's rule: {verdict.reason}.")
    click.echo(
        f"{verdict.checkpoint}: {'the policy; include and --policy take it by its path' if verdict.use else 'the policy, all the same'}"
    )

"""``revibranch train``: from a recipe to a checkpoint."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from . import wrong_input
from .workers import workers_option

if TYPE_CHECKING:
    from ..gnn.training.collect import SolveReport
    from ..gnn.training.imitation import EpochReport
    from ..gnn.training.reports import RoundReport, ValidationReport

__all__ = ["train"]


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a key, such as optimiser.epochs=3; repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run.  [default: runs/NAME]")
@click.option("--samples", type=click.Path(path_type=Path, file_okay=False), help="Folder of samples to share.  [default: OUT/samples]")
@click.option("--resume", is_flag=True, help="Go on with the run that the folder holds.")
@workers_option("Processes that collect samples or roll out episodes; 0 does it in this one.", least=0)
@click.pass_context
def train(
    context: click.Context,
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    samples: Path | None,
    resume: bool,
    workers: int | str,
) -> None:
    """Train a policy as RECIPE says, by imitation or by reinforcement learning, and write NAME.safetensors.

    Ctrl-C and SIGTERM stop it; --resume goes on, and ends with the same weights as a run that was never stopped.
    """
    # Only now: these load torch.
    try:
        from ..gnn.description import CheckpointError
        from ..gnn.training.errors import TrainingError
        from ..gnn.training.interruption import Interrupted
        from ..gnn.training.recipe import ReinforcementRecipe, load_recipe
        from ..gnn.training.train import train as imitate
        from ..gnn.training.train_reinforcement import train_reinforcement
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"torch", "torch_geometric"}:
            raise
        raise click.UsageError(f"training needs {error.name}: pip install 'revibranch[train]'") from error
    with wrong_input(TrainingError, CheckpointError, OSError):
        settings = load_recipe(recipe, overrides)
        text = recipe.read_text(encoding="utf-8") + "".join(f"# changed: {override}\n" for override in overrides)
        folder = out or Path("runs") / settings.name
        reinforced = isinstance(settings, ReinforcementRecipe)
        if reinforced and samples is not None:
            raise click.UsageError(f"--samples is for imitation; {recipe} trains by {settings.learner}")
        if not reinforced and isinstance(workers, str):
            raise click.UsageError("imitation collects on processes of this machine: --workers N")
        with _Display() as display:
            try:
                if isinstance(settings, ReinforcementRecipe):
                    result = train_reinforcement(settings, text, folder, display, resume=resume, workers=workers)
                    verdict = f"{result.best.nodes:.1f} nodes, {result.best.lp_iterations:.0f} LP iterations at validation"
                    checkpoint = result.checkpoint
                else:
                    assert isinstance(workers, int)
                    imitated = imitate(settings, text, folder, display, samples=samples, resume=resume, workers=workers)
                    best, checkpoint = imitated.best, imitated.checkpoint
                    verdict = (
                        f"epoch {best.epoch}, validation loss {best.loss:.4f}, acc@1 {best.accuracy_1:.3f}, acc@5 {best.accuracy_5:.3f}"
                    )
            except Interrupted as stop:
                display.say(f"{stop}; --resume goes on")
                context.exit(128 + stop.number)
    click.echo(f"{checkpoint}: {verdict}")


class _Display:
    """Bars on a terminal, plain lines elsewhere; all on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._samples = 0
        self._purpose = ""

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(Exception):
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def collecting(self, purpose: str, goal: int) -> None:
        """Collection begins."""
        self._purpose, self._samples = purpose, 0
        self._begin(f"{purpose} samples", goal)
        self.say(f"collecting {goal} {purpose} samples")

    def collected(self, report: SolveReport) -> None:
        """An instance is done."""
        if report.error is not None:
            self.say(f"{self._purpose} instance {report.seed} is left out: {report.error}")
        self._samples += report.samples
        self._move(self._samples)
        if not self._console.is_terminal and not report.reused:
            self.say(f"{self._purpose} instance {report.seed}: {report.samples} samples, {self._samples} in all")

    def training(self, samples: int, decisions: int) -> None:
        """Training begins."""
        self.say(f"training on {samples} samples ({decisions} recorded decisions)")

    def stepped(self, step: int, steps: int, loss: float) -> None:
        """A gradient step is done."""
        if self._purpose:
            self._purpose = ""
            self._begin("steps", steps)
        self._move(step, f"loss {loss:.3f}")

    def epoch(self, report: EpochReport) -> None:
        """An epoch is done."""
        self.say(
            f"epoch {report.epoch}: training loss {report.training_loss:.4f}, validation loss {report.loss:.4f}, "
            f"acc@1 {report.accuracy_1:.3f}, acc@5 {report.accuracy_5:.3f}"
        )

    def rollouts(self, decisions: int) -> None:
        """Reinforcement learning begins."""
        self._begin("decisions", decisions)

    def round_ended(self, report: RoundReport) -> None:
        """A round of rollouts and gradient steps is done."""
        note = f"round {report.round}, nodes {report.nodes:.1f}, loss {report.loss:.3f}"
        self._move(report.decisions, note)
        if not self._console.is_terminal:
            self.say(
                f"{note}, {report.decisions} decisions, {report.steps} steps, {report.rollout_seconds + report.learning_seconds:.1f} s"
            )

    def validated(self, report: ValidationReport) -> None:
        """A validation is done."""
        unsolved = f", {report.unsolved} at the node limit" if report.unsolved else ""
        self.say(
            f"after {report.decisions} decisions: {report.nodes:.1f} nodes, {report.lp_iterations:.0f} LP iterations "
            f"on {report.instances} validation instances{unsolved}"
        )

    def lost(self, seed: int, cause: str) -> None:
        """An episode was lost."""
        self.say(f"instance {seed} is lost: {cause}")

    def _begin(self, description: str, total: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=total, note="")

    def _move(self, completed: int, note: str = "") -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=completed, note=note)

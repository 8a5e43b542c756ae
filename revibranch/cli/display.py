"""How a training is shown: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from ..gnn.training.collect import SolveReport
    from ..gnn.training.imitation import EpochReport
    from ..gnn.training.reports import RoundReport, ValidationReport

__all__ = ["Display"]


class Display:
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

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(Exception):
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def collecting(self, purpose: str, goal: int | None) -> None:
        """Collection begins; None for as many samples as there is time for."""
        self._purpose, self._samples = purpose, 0
        self._begin(f"{purpose} samples", goal)
        self.say(f"collecting {purpose} samples" if goal is None else f"collecting {goal} {purpose} samples")

    def collected(self, report: SolveReport) -> None:
        """An instance is done."""
        if report.error is not None:
            self.say(f"{self._purpose} instance {report.instance} is left out: {report.error}")
        self._samples += report.samples
        self._move(self._samples)
        if not self._console.is_terminal and not report.reused:
            self.say(f"{self._purpose} instance {report.instance}: {report.samples} samples, {self._samples} in all")

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

    def rollouts(self, decisions: int | None) -> None:
        """Reinforcement learning begins."""
        self._begin("decisions", decisions)

    def round_ended(self, report: RoundReport) -> None:
        """A round of rollouts and gradient steps is done."""
        loss = f"{report.loss:.3f}" if report.round_steps else "-"
        note = f"round {report.round}, nodes {report.nodes:.1f}, loss {loss}"
        self._move(report.decisions, note)
        if not self._console.is_terminal:
            self.say(
                f"{note}, {report.decisions} decisions, {report.steps} steps, {report.rollout_seconds + report.learning_seconds:.1f} s"
            )

    def validated(self, report: ValidationReport) -> None:
        """A validation is done."""
        unsolved = f", {report.unsolved} at a limit" if report.unsolved else ""
        lost = f"; {report.lost} were lost: it is not compared with others" if report.lost else ""
        self.say(
            f"after {report.decisions} decisions: {report.nodes:.1f} nodes, {report.lp_iterations:.0f} LP iterations "
            f"on {report.instances} validation instances{unsolved}{lost}"
        )

    def lost(self, instance: str, cause: str) -> None:
        """An episode was lost."""
        self.say(f"{instance} is lost: {cause}")

    def _begin(self, description: str, total: int | None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=total, note="")

    def _move(self, completed: int, note: str = "") -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=completed, note=note)

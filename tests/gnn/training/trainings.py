"""Small trainings by reinforcement, of seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import torch

from revibranch.branching.workers.pool import Outcome
from revibranch.gnn.network import BranchingNetwork
from revibranch.gnn.training.recipe import ReinforcementRecipe, load_recipe
from revibranch.gnn.training.reinforcement import Reinforcement
from revibranch.gnn.training.rollout import RolloutResult, RolloutTask, roll_out
from revibranch.gnn.training.tasks import SerialTasks

Rollout: TypeAlias = Outcome[RolloutTask, RolloutResult]

LEARNERS = ("revibranch", "bbmdp", "treedqn", "retro", "tmdp", "finetune")
TEXT = """
name = "tiny"
learner = "revibranch"
[instances]
family = "auction"
size = "30x120"
[network]
width = 8
heads = 2
[rollout]
decisions = 100
episodes = 3
warm_up = 3
[learning]
batch = 16
target_every = 4
[validation]
instances = 2
every = 60
"""


def recipe(folder: Path, learner: str = "revibranch", *changes: str) -> ReinforcementRecipe:
    path = folder / "tiny.toml"
    path.write_text(TEXT)
    overrides = [f"learner={learner}", *changes]
    if learner in ("revibranch", "bbmdp"):
        overrides.insert(0, "network.classes=12")
    if learner in ("revibranch", "finetune"):
        overrides.insert(0, "network.history_length=4")
    if learner == "finetune":
        overrides.insert(0, "start=somewhere")
    result = load_recipe(path, overrides)
    assert isinstance(result, ReinforcementRecipe)
    return result


def beginning(settings: ReinforcementRecipe) -> BranchingNetwork | None:
    """A network to start from, where the learner wants one."""
    if settings.start is None:
        return None
    torch.manual_seed(5)
    return BranchingNetwork(settings.network)


def run(settings: ReinforcementRecipe, out: Path, pool: Any = None, **observers: Any) -> Reinforcement:
    out.mkdir(exist_ok=True)
    return Reinforcement(settings, out, pool or SerialTasks(roll_out), start=beginning(settings), **observers)

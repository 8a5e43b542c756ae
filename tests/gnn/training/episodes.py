"""A small recipe, and episodes of random states in files."""

from __future__ import annotations

from pathlib import Path

from revibranch.gnn.training.recipe import Recipe

from ...branching.episodes import chain

RECIPE = {
    "name": "tiny",
    "instances": {"family": "setcover", "size": "20x40"},
    "network": {"width": 8, "heads": 2},
    "optimiser": {"epochs": 3, "batch": 4, "learning_rate": 1e-2},
}


def recipe(**optimiser: float) -> Recipe:
    return Recipe.model_validate({**RECIPE, "optimiser": {**RECIPE["optimiser"], **optimiser}})


def with_history(plain: Recipe, length: int) -> Recipe:
    return plain.model_copy(update={"network": plain.network.model_copy(update={"history_length": length})})


def write_episodes(folder: Path, count: int, first: int = 0, size: int = 6) -> list[Path]:
    """Chains of decisions, every one a sample; one a file."""
    paths = [folder / f"{seed}.npz" for seed in range(first, first + count)]
    for seed, path in enumerate(paths, start=first):
        chain(seed, size)[0].episode({"scip_version": "10.0"}).save(path)
    return paths

"""The recipe of a training by reinforcement learning."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..config import NetworkConfig
from ..native import MAX_WIDTH, fits
from .instance_section import InstanceSettings
from .learners import LEARNERS
from .sections import (
    MOST,
    Natural,
    NodeLimit,
    PolicyName,
    Positive,
    PositiveFloat,
    Probability,
    Section,
    Seed,
    SettingsNames,
    Threads,
    Weight,
)

__all__ = [
    "CurriculumStage",
    "LearningSettings",
    "ReinforcementRecipe",
    "ReplaySettings",
    "RolloutSettings",
    "ValidationSettings",
]


class RolloutSettings(Section):
    """How episodes are made: a round of solves with frozen weights, then gradient steps, then the next round."""

    settings: SettingsNames = "clean"
    """Name of the set of SCIP parameters, or names of several, of which one is drawn for every instance."""
    decisions: Positive = 20_000
    """Budget of decisions of all training episodes together; the round that reaches it is the last."""
    episodes: Positive = 8
    """Episodes of a round."""
    warm_up: Natural = 16
    """Episodes of the first round; they branch at random, unless the training starts from a checkpoint."""
    node_limit: NodeLimit = 2000
    """Nodes after which a solve stops; its tree then counts as far as it grew."""
    time_limit: PositiveFloat = 120.0
    """CPU seconds after which a solve stops: a safety net, for a solve that meets it is not reproducible."""
    temperature: PositiveFloat = 0.1
    """Candidates are drawn from softmax(score / temperature); scores are -log2 of the subtree's nodes or, with
    ``importance = "gap"``, of its levels; or logits."""
    last_temperature: PositiveFloat = 0.1
    """The temperature after ``exploration_share`` of the budget; it moves there on a geometric line."""
    epsilon: Probability = 0.1
    """Probability of a candidate drawn evenly."""
    last_epsilon: Probability = 0.01
    """The probability after ``exploration_share`` of the budget; it moves there on a straight line."""
    exploration_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    probing: Probability = 0.0
    """Probability that strong branching probes the policy's best candidates at a decision (``revibranch``; see ``value_learning``)."""
    probes: Annotated[int, Field(ge=2, le=MOST)] = 8
    """Candidates that are probed, two LPs each."""


class LearningSettings(Section):
    """Targets, losses and gradient steps. What a learner does not use has no effect on it."""

    batch: Positive = 64
    """Decisions of a gradient step, give or take a path."""
    paths_per_episode: Positive = 8
    """Paths of one episode that a batch takes together: they share ancestors, whose graphs are encoded once."""
    updates_per_decision: PositiveFloat = 0.1
    """Gradient steps for each decision that rollouts add."""
    passes: Positive = 2
    """Times a round's decisions are gone through by learners that use each round once."""
    learning_rate: PositiveFloat = 1e-3
    last_learning_rate: PositiveFloat = 1e-4
    """The rate at the end of the budget; it moves there on a cosine."""
    clip: PositiveFloat = 1.0
    """Largest norm of the gradient."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay, for each gradient step, of the running mean of the weights (after Polyak & Juditsky 1992) that is validated and is what
    the training returns; it also branches in rollouts, but not for policy gradients, which must learn from what they do themselves.
    0: the latest weights, everywhere."""
    target_every: Positive = 200
    """Gradient steps between two copies of the weights into the target network."""
    steps: Positive = 3
    """Decisions between a decision and where its target bootstraps (k)."""
    discount: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Only the learner ``retro`` discounts."""
    importance: Literal["gap", "subtree", "bound", "attention", "uniform"] = "gap"
    """How the reward is redistributed: over the decisions of a path by weights (see ``branching.rewards``), or to each by how
    little it closed of its gap to the optimum (``gap``, for ``revibranch`` and ``finetune``; see ``gap_targets``)."""
    alpha: Probability = 1.0
    """Share of the reward that is redistributed; the rest stays at the end of the path (``gap``: with the subtree)."""
    sigma: PositiveFloat = 0.75
    """Width of the Gaussian that an HL-Gauss target spreads over, in classes."""
    ranking: Weight = 1.0
    """Weight of the loss of ranking among probed candidates (``rollout.probing``)."""
    ranking_temperature: PositiveFloat = 0.2
    """Difference of scores (log2 of levels; with weights of paths, of nodes) that makes a factor e between two probed candidates' shares
    in that loss."""
    entropy: Weight = 0.01
    """Weight of the policy's entropy in the losses of policy gradients."""
    ratio_clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far a probability ratio moves before its gradient is cut (clipped policy gradient)."""
    pull: Weight = 0.1
    """Weight of the divergence from the initial policy in the loss of ``finetune``."""


class ReplaySettings(Section):
    """What is kept for learners that use an episode more than once."""

    megabytes: Positive = 1000
    """Memory of the episodes; the oldest leave first."""
    priority: Probability = 0.0
    """Exponent of prioritised replay (Schaul et al. 2016) on the absolute error; 0 is uniform."""
    correction: Probability = 0.4
    """Exponent of its importance correction."""


class ValidationSettings(Section):
    """Greedy solves of fixed instances; the weights that solve the most of them are kept, of equals those of the fewest nodes."""

    instances: Positive = 20
    every: Positive = 2000
    """Decisions of training between two validations; there is one at the end in any case."""
    node_limit: NodeLimit = 5000


class CurriculumStage(Section):
    """A size of instances, up to a share of the budget of decisions."""

    size: str
    until: Annotated[float, Field(gt=0, le=1)]


class ReinforcementRecipe(Section):
    """A training by reinforcement learning, from the first instance to the checkpoint."""

    name: PolicyName
    """Name of the policy: that of its file."""
    learner: Literal["revibranch", "bbmdp", "treedqn", "retro", "tmdp", "finetune"]
    seed: Seed = 0
    """Seed of the weights, of exploration, and of the draws from replay."""
    threads: Threads = 1
    """Threads of torch."""
    mixes_pseudocosts: bool = False
    """``Policy.mixes_pseudocosts`` of the policy that is made; training itself never mixes."""
    start: str | None = None
    """A checkpoint to start from (a path, or the name of a pretrained policy); its network must be that of the recipe."""
    instances: InstanceSettings
    network: NetworkConfig = NetworkConfig()
    rollout: RolloutSettings = RolloutSettings()
    learning: LearningSettings = LearningSettings()
    replay: ReplaySettings = ReplaySettings()
    validation: ValidationSettings = ValidationSettings()
    curriculum: tuple[CurriculumStage, ...] = ()
    """Sizes on the way to that of ``instances``, which follows the last stage; ascending in ``until``."""

    @model_validator(mode="after")
    def _fits(self) -> ReinforcementRecipe:
        learner = LEARNERS[self.learner]
        if learner.classes != (self.network.classes > 0):
            wanted = "classes (network.classes >= 2)" if learner.classes else "one score (network.classes = 0)"
            raise ValueError(f"learner {self.learner} needs a network with {wanted}, not {self.network.classes}")
        if self.network.history_length and not learner.history:
            raise ValueError(f"learner {self.learner} uses no history (network.history_length = 0)")
        if self.learner == "finetune" and self.start is None:
            raise ValueError("learner finetune needs a checkpoint to start from (start)")
        if self.learning.importance == "attention" and (learner.on_policy or not self.network.history_length):
            raise ValueError("importance 'attention' needs the learner revibranch and a network with history (network.history_length)")
        if self.rollout.probing and self.learner != "revibranch":
            raise ValueError(f"learner {self.learner} learns nothing from probes (rollout.probing = 0)")
        if not fits(self.network):
            raise ValueError(
                f"rollouts run the native network: a width that is a multiple of 8, at most {MAX_WIDTH}, not {self.network.width}"
            )
        if self.curriculum and self.instances.family is None:
            raise ValueError("a curriculum grows the instances of one family; for others leave it out")
        for stage in self.curriculum:
            self.instances.training(0, stage.size)
        shares = [stage.until for stage in self.curriculum]
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("the stages of a curriculum must be ascending in 'until'")
        return self

    def size_at(self, share: float) -> str | None:
        """The size of instances when this share of the budget of decisions is used up; None for that of ``instances``."""
        return next((stage.size for stage in self.curriculum if share < stage.until), None)

"""The learners: each is a choice of paths, target and loss. What two of them share stands once, elsewhere.

=============== ===================================================================================================
learner         source, and where it departs from it
=============== ===================================================================================================
``revibranch``  The ReviBranch paper: revived history, rewards redistributed by importance, HL-Gauss classes. Ours: each
                decision's reward is how little it closed of its gap to the optimum (``gap_targets``). With weights over a
                path instead (``learning.importance``): k-step Double DQN (van Hasselt et al. 2016) along heavy paths;
                what lies off the path is counted as it was.
``bbmdp``       Strang et al. 2025 (BBMDP): k-step Double DQN on subtrees in depth-first order, HL-Gauss classes over log2
                of the subtree's size. Departs: the order is that in which SCIP processed the subtree's nodes.
``treedqn``     Sorokin et al. 2023: tree Bellman target 1 + sum of the children's, loss (log Q - log target)^2. Departs:
                replay by rounds of episodes; children that were fathomed count one node each.
``retro``       Parsonson et al. 2022: DQN along retrospective paths, -1 a step and 0 where a branching leaves no child.
``tmdp``        Scavuzzo et al. 2022: REINFORCE on the tree MDP, return = -subtree size. Departs: returns are
                standardised over a batch, since plain ones differ by orders of magnitude between trees, and a round is
                gone through as often as ``learning.passes`` says.
``finetune``    Ours: clipped policy gradient (Schulman et al. 2017) from an imitation policy, advantages from
                redistributed rewards against a learned critic, and a pull back to the initial policy.
=============== ===================================================================================================

Every learner draws its instances, rollouts, replay and validation from the same code, under the same budget of decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["LEARNERS", "Learner"]


@dataclass(frozen=True, slots=True)
class Learner:
    """What makes a learner."""

    paths: Literal["heavy", "retro", "single"]
    """How an episode's decisions are grouped: whole paths, or one by one."""
    target: Literal["path", "subtree", "children", "steps", "return"]
    """What a decision is compared with (see ``targets``)."""
    loss: Literal["classes", "log_squared", "squared", "policy_gradient", "clipped"]
    """What the comparison costs (see ``losses``)."""
    double: bool = False
    """Whether today's network chooses where the target network is asked."""
    history: bool = False
    """Whether the network may look at revived steps."""

    @property
    def classes(self) -> bool:
        """Whether the network's head has classes."""
        return self.loss == "classes"

    @property
    def on_policy(self) -> bool:
        """Whether a round's episodes are used in that round only."""
        return self.loss in ("policy_gradient", "clipped")


LEARNERS: Mapping[str, Learner] = {
    "revibranch": Learner("heavy", "path", "classes", double=True, history=True),
    "bbmdp": Learner("single", "subtree", "classes", double=True),
    "treedqn": Learner("single", "children", "log_squared"),
    "retro": Learner("retro", "steps", "squared"),
    "tmdp": Learner("single", "return", "policy_gradient"),
    "finetune": Learner("heavy", "return", "clipped", history=True),
}
"""All learners of reinforcement learning by name; imitation has a loop of its own (``imitation``)."""

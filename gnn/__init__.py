"""The learner's side: the network, its checkpoints, and networks as branching policies.

Importing this package does not import torch; its modules do.
"""

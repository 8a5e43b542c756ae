"""Where runs and rollouts are done: on processes of this machine or on a Ray cluster. Whoever hands out tasks is a room above."""

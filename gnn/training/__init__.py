"""Training: recipes, samples and their collection, worker processes, and the learners."""

"""Node and LP counts: one run, evaluations, their statistics and reports, and speed measurements."""

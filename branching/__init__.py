"""The solver's side: states, the branching plugin, experts and settings. Knows SCIP, never imports torch."""

"""Do two generators draw from one distribution? Measures of many of their instances, and Kolmogorov-Smirnov tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pyscipopt import Model
from scipy.stats import ks_2samp

SAMPLES = 150
LEAST_P = 0.001  # six measures on six families: a true agreement fails one in thirty times, on seeds other than these


def measures(model: Model) -> dict[str, float]:
    """Sizes, costs, how evenly the rows are filled, and the value of the LP relaxation."""
    model.hideOutput()
    rows = model.getConss()
    entries = [len(model.getValsLinear(row)) for row in rows]
    costs = [variable.getObj() for variable in model.getVars()]
    found = {
        "variables": float(model.getNVars()),
        "rows": float(len(rows)),
        "density": sum(entries) / (len(rows) * model.getNVars()),
        "spread of rows": float(np.std(entries)),
        "mean cost": float(np.mean(costs)),
        "spread of costs": float(np.std(costs)),
    }
    for variable in model.getVars():
        model.chgVarType(variable, "C")
    model.optimize()
    assert model.getStatus() == "optimal"
    return {**found, "LP bound": model.getObjVal()}


def p_values(first: Iterator[Model], second: Iterator[Model]) -> dict[str, float]:
    """How likely each measure differs as much between the first ``SAMPLES`` of both, were they alike."""
    samples = [[measures(next(models)) for _ in range(SAMPLES)] for models in (first, second)]
    return {key: ks_2samp(*([row[key] for row in sample] for sample in samples)).pvalue for key in samples[0][0]}

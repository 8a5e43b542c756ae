"""What anyone would write to count a solve, with nothing of ours: python ten_lines.py FILE RULE SEED."""

import sys

from pyscipopt import Model

path, rule, seed = sys.argv[1:]
model = Model()
model.hideOutput()
model.readProblem(path)
model.setParams({"separating/maxrounds": 0, "presolving/maxrestarts": 0, f"branching/{rule}/priority": 536870910})
model.setParams({f"randomization/{name}": int(seed) for name in ("randomseedshift", "permutationseed", "lpseed")})
model.optimize()
print(model.getNTotalNodes(), model.getNLPIterations(), model.getNStrongbranchLPIterations())

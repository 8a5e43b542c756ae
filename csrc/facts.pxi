# Textually included by _network.pyx: the vector of a node's facts, at every decision.

from libc.math cimport INFINITY, fabs, isfinite, log1p

cdef enum:
    _N_FACTS = 11  # gnn/facts.py names them


def node_fact_vector(facts, int64_t n_candidates, int64_t n_variables):
    """The node's facts as the network reads them.

    Bounds enter relative to each other only, so that the vector does not change with the unit of the objective. Counts
    of LPs and the number of the run are left out: they depend on cut rounds and restarts more than on the tree.

    Args:
        facts: ``NodeFacts`` of the state at hand; bounds may be infinite or NaN.
        n_candidates: branching candidates of the state.
        n_variables: variables of the state.

    Returns:
        (len(NODE_FACTS),) float32, finite, in [0, 1].
    """
    cdef double root = facts.root_dual_bound, here = facts.lp_objective
    cdef double primal = facts.primal_bound, dual = facts.dual_bound
    cdef double depth = facts.depth
    result = np.empty(_N_FACTS, np.float32)
    cdef float* out = <float*> cnp.PyArray_DATA(result)
    out[0] = <float> (depth / (depth + 10.0))
    out[1] = 1.0 if isfinite(primal) else 0.0
    out[2] = <float> _position(here, root, primal)
    out[3] = <float> _relative(here, root, 0.0)
    out[4] = <float> _relative(primal, here, 1.0)
    out[5] = <float> _relative(primal, dual, 1.0)
    out[6] = <float> _squash(facts.n_nodes)
    out[7] = <float> _squash(facts.n_open)
    out[8] = <float> _squash(facts.n_solutions)
    out[9] = <float> _squash(n_candidates)
    out[10] = <float> _clip(<double> n_candidates / <double> n_variables) if n_variables else 0.0
    return result


cdef inline double _clip(double value) noexcept nogil:
    return 0.0 if value < 0.0 else 1.0 if value > 1.0 else value


cdef inline double _position(double value, double lower, double upper) noexcept nogil:
    """(value - lower) / (upper - lower), clipped to [0, 1]; 0 where it means nothing."""
    if not (isfinite(value) and isfinite(lower) and isfinite(upper)):
        return 0.0
    # Quartered, because the difference of two huge bounds may overflow; two denormal ones become equal by it.
    value, lower, upper = value / 4, lower / 4, upper / 4
    return _clip((value - lower) / (upper - lower)) if upper > lower else 0.0


cdef inline double _relative(double upper, double lower, double missing) noexcept nogil:
    """(upper - lower) / max(|upper|, |lower|), clipped to [0, 1]."""
    cdef double magnitude
    if not (isfinite(upper) and isfinite(lower)):
        return missing
    magnitude = max(fabs(upper), fabs(lower))
    return _clip(upper / magnitude - lower / magnitude) if magnitude > 0 else 0.0


cdef inline double _squash(double count) noexcept nogil:
    """Logarithm of a count, bounded: half at about 50, 0.7 at 10,000."""
    cdef double logarithm = log1p(max(count, 0.0))
    return logarithm / (logarithm + 4.0)

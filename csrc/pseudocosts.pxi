# Included by _scip.pyx: what SCIP's pseudocosts say of the candidates at hand.

cdef class Pseudocosts:
    """What SCIP's pseudocosts promise of the focus node's LP candidates: gains in the dual bound, down and up.

    The candidates are those of the best priority, in the order of ``BranchState.candidates``. The model is held weakly; all methods
    raise RuntimeError outside SCIP's solving stage or when it was freed.
    """

    cdef _Handle handle

    def __init__(self, model):
        self.handle = _Handle(model)

    def promise(self):
        """The gains, down and up, of the candidate with the best branching score among those that both pseudocosts have been
        observed of at least once.

        Returns:
            (down, up), or None where there is no such candidate, or no solved LP (any more).
        """
        cdef SCIP* scip = self.handle.solving("promise()")
        cdef _Candidates candidates
        cdef int i
        cdef double down, up, score, best = -1.0, best_down = 0.0, best_up = 0.0
        if not _lp_is_optimal(scip):
            return None
        candidates = _candidates(scip)
        for i in range(candidates.count):
            if _observations(scip, candidates.variables[i]) < 1.0:
                continue
            _gains(scip, candidates.variables[i], candidates.fractions[i], &down, &up)
            score = scip_api.SCIPgetBranchScore(scip, candidates.variables[i], down, up)
            if score > best:
                best, best_down, best_up = score, down, up
        return (best_down, best_up) if best >= 0.0 else None

    def mixed(self, const double[::1] scores, double weight, double half):
        """Scores with those of the pseudocosts beside them, each the more the better its pseudocosts are known:

            z(s)_i + weight * n_i / (n_i + half) * z(g)_i,    g_i = log2(max(down_i, a)) + log2(max(up_i, b)),

        where n_i counts the observations in the direction that has fewer, a and b are a tenth of the mean gain down and up of the
        candidates, and z takes off the mean and divides by the standard deviation; all of this over the candidates whose score is
        finite.

        Args:
            scores: (k,) float64; what is not finite becomes NaN.
            weight: of pseudocosts that are known for certain.
            half: observations that give half of it.

        Returns:
            The mixture, (k,) float64, and whether another candidate is the best of it than was of ``scores``; None where there is
            no solved LP (any more).

        Raises:
            ValueError: not one score for each candidate.
        """
        cdef SCIP* scip = self.handle.solving("mixed()")
        cdef _Candidates candidates
        cdef int i, k, finite = 0, best = -1, best_mixed = -1
        cdef double down, up, least_down, least_up, known
        cdef double sum_down = 0.0, sum_up = 0.0
        cdef _Moments own, theirs
        cdef double[::1] out
        if not _lp_is_optimal(scip):
            return None
        candidates = _candidates(scip)
        k = candidates.count
        if scores.shape[0] != k:
            raise ValueError(f"mixed() was given {scores.shape[0]} scores for {k} candidates")
        result = np.empty(k)
        out = result
        for i in range(k):
            if isfinite(scores[i]):
                _gains(scip, candidates.variables[i], candidates.fractions[i], &down, &up)
                sum_down += down
                sum_up += up
                finite += 1
        least_down = max(_LEAST_SHARE * sum_down / max(finite, 1), _LEAST_GAIN)
        least_up = max(_LEAST_SHARE * sum_up / max(finite, 1), _LEAST_GAIN)
        memset(&own, 0, sizeof(_Moments))
        memset(&theirs, 0, sizeof(_Moments))
        for i in range(k):
            out[i] = NAN
            if isfinite(scores[i]):
                _gains(scip, candidates.variables[i], candidates.fractions[i], &down, &up)
                out[i] = log2(max(down, least_down)) + log2(max(up, least_up))
                _observe(&own, scores[i])
                _observe(&theirs, out[i])
        for i in range(k):
            if isfinite(scores[i]):
                known = _observations(scip, candidates.variables[i])
                out[i] = _standard(&own, scores[i]) + weight * known / (known + half) * _standard(&theirs, out[i])
                if best < 0 or scores[i] > scores[best]:
                    best = i
                if best_mixed < 0 or out[i] > out[best_mixed]:
                    best_mixed = i
        return result, best != best_mixed


cdef double _LEAST_SHARE = 0.1
cdef double _LEAST_GAIN = 1e-9


cdef struct _Moments:
    double count
    double mean
    double squares


cdef void _observe(_Moments* moments, double value) noexcept nogil:
    """Welford's recurrence, which does not lose a small spread around a large mean."""
    cdef double step = value - moments.mean
    moments.count += 1.0
    moments.mean += step / moments.count
    moments.squares += step * (value - moments.mean)


cdef double _standard(const _Moments* moments, double value) noexcept nogil:
    """How many standard deviations the value lies above the mean; 0 where all values are equal."""
    cdef double deviation = sqrt(moments.squares / moments.count)
    return (value - moments.mean) / deviation if deviation > 0.0 else 0.0


cdef void _gains(SCIP* scip, SCIP_VAR* variable, double fraction, double* down, double* up) noexcept nogil:
    """Gains that the pseudocosts promise; for a direction that was never observed, those of all variables together."""
    down[0] = fraction * scip_api.SCIPgetVarPseudocost(scip, variable, 0)
    up[0] = (1.0 - fraction) * scip_api.SCIPgetVarPseudocost(scip, variable, 1)


cdef double _observations(SCIP* scip, SCIP_VAR* variable) noexcept nogil:
    """Observations in the direction that has fewer."""
    return min(scip_api.SCIPgetVarPseudocostCount(scip, variable, 0), scip_api.SCIPgetVarPseudocostCount(scip, variable, 1))

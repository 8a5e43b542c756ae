# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, nonecheck=True
"""What branching asks of SCIP beside the LP's graph: the focus node, its ancestors, branching, strong branching, pseudocosts, counts."""

from typing import NamedTuple

from cpython.pythread cimport PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock, WAIT_LOCK
from libc.math cimport INFINITY, NAN, isfinite, log2, sqrt
from libc.stdint cimport INT32_MAX, int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

import numpy as np

from scip_api cimport *

include "bridge.pxi"

cdef extern from "pythread.h":
    void PyThread_free_lock(PyThread_type_lock) noexcept nogil  # Cython's own declaration asks for Python's lock, which it needs not


cdef struct _Candidates:
    SCIP_VAR** variables
    double* fractions
    int count


def scip_version():
    """SCIP's version as (major, minor, patch)."""
    return scip_api.SCIPmajorVersion(), scip_api.SCIPminorVersion(), scip_api.SCIPtechVersion()


def scip_release():
    """SCIP's version as it is written: ``10.0.2``."""
    return ".".join(str(part) for part in scip_version())


def library_path():
    """Path of the libscip in use; None where the system does not tell."""
    cdef const char* path = revi_scip_path()
    return _os.fsdecode(path) if path != NULL else None


class SearchCounts(NamedTuple):
    """What a solve cost, over all restarts."""

    nodes: int
    """Nodes processed (SCIPgetNTotalNodes)."""
    lp_iterations: int
    """Simplex iterations, those of strong branching left out (SCIPgetNLPIterations)."""
    strong_branching_lp_iterations: int
    """Simplex iterations of strong branching, which SCIP counts apart."""
    rule_domain_reductions: int
    """Domain reductions that branching rules found while they probed."""
    rule_cutoffs: int
    """Nodes that branching rules cut off."""


def search_counts(model):
    """The counts of the model's last solve, in any stage from transformed on.

    Raises:
        RuntimeError: the model was freed, or its problem is not transformed.
    """
    cdef _Handle handle = _Handle(model)
    cdef SCIP* scip = handle.get()
    cdef SCIP_BRANCHRULE** rules
    cdef long long reductions = 0, cutoffs = 0
    cdef int i, stage = scip_api.SCIPgetStage(scip)
    if not 3 <= stage <= 10:  # SCIP_STAGE_TRANSFORMED .. SCIP_STAGE_SOLVED
        raise RuntimeError(f"search_counts() needs a transformed problem; the model is in stage {stage}")
    rules = scip_api.SCIPgetBranchrules(scip)
    for i in range(scip_api.SCIPgetNBranchrules(scip)):
        reductions += scip_api.SCIPbranchruleGetNDomredsFound(rules[i])
        cutoffs += scip_api.SCIPbranchruleGetNCutoffs(rules[i])
    return SearchCounts(
        scip_api.SCIPgetNTotalNodes(scip),
        scip_api.SCIPgetNLPIterations(scip),
        # SCIP complains aloud when it is asked for this count before the search began.
        scip_api.SCIPgetNStrongbranchLPIterations(scip) if stage >= REVI_STAGE_SOLVING else 0,
        reductions,
        cutoffs,
    )


cdef class Search:
    """The running search of one model, held weakly.

    All but ``solving``, ``stage`` and ``disturbance`` raise RuntimeError outside SCIP's solving stage or when the model was freed.
    """

    cdef _Handle handle

    def __init__(self, model):
        self.handle = _Handle(model)

    @property
    def solving(self):
        """Whether the model lives and is in SCIP's solving stage."""
        return self.stage == REVI_STAGE_SOLVING

    @property
    def stage(self):
        """SCIP's stage, as ``pyscipopt.SCIP_STAGE`` counts them; -1 where the model was freed."""
        cdef SCIP* scip
        try:
            scip = self.handle.get()
        except RuntimeError:
            return -1
        return scip_api.SCIPgetStage(scip)

    @property
    def run(self):
        """SCIP's run; a restart begins the next one, and node numbers begin anew."""
        return scip_api.SCIPgetNRuns(self.handle.solving("run"))

    @property
    def focus(self):
        """Number of the focus node."""
        cdef SCIP* scip = self.handle.solving("focus")
        cdef SCIP_NODE* node = scip_api.SCIPgetFocusNode(scip)
        return scip_api.SCIPnodeGetNumber(node) if node != NULL else -1

    @property
    def parent(self):
        """Number of the focus node's parent; -1 at the root."""
        cdef SCIP_NODE* node = scip_api.SCIPgetFocusNode(self.handle.solving("parent"))
        return _number(scip_api.SCIPnodeGetParent(node)) if node != NULL else -1

    @property
    def entered(self):
        """Which child of its parent the focus node is: 0 down, 1 up; -1 at the root and where it was not branched like that."""
        cdef SCIP_NODE* node = scip_api.SCIPgetFocusNode(self.handle.solving("entered"))
        cdef SCIP_VAR* variable
        cdef double bound
        cdef int upper, n = 0
        if node != NULL:
            scip_api.SCIPnodeGetParentBranchings(node, &variable, &bound, &upper, &n, 1)
        if n != 1:
            return -1
        return 0 if upper else 1

    @property
    def n_children(self):
        """Children of the focus node so far."""
        return scip_api.SCIPgetNChildren(self.handle.solving("n_children"))

    def lp_is_optimal(self):
        """Whether the focus node has an LP that is solved to optimality."""
        return bool(_lp_is_optimal(self.handle.solving("lp_is_optimal()")))

    def disturbance(self, int64_t number):
        """What somebody did to SCIP that only a brancher may do, since it was at this focus node without children; "" for
        nothing. A mode in which nobody may branch is ended."""
        cdef SCIP* scip
        cdef SCIP_NODE* node
        if not self.solving:
            return "took SCIP out of its solving stage"
        mode = self.leave_modes()
        if mode:
            return f"left SCIP in {mode} mode"
        scip = self.handle.get()
        node = scip_api.SCIPgetFocusNode(scip)
        if node == NULL or scip_api.SCIPnodeGetNumber(node) != number:
            return "changed SCIP's focus node"
        if scip_api.SCIPgetNChildren(scip) > 0:
            return "branched by itself"
        return ""

    def ancestors(self):
        """Numbers of the focus node's ancestors, root first, the focus node itself last."""
        cdef SCIP_NODE* node = scip_api.SCIPgetFocusNode(self.handle.solving("ancestors()"))
        cdef list numbers = []
        while node != NULL:
            numbers.append(scip_api.SCIPnodeGetNumber(node))
            node = scip_api.SCIPnodeGetParent(node)
        numbers.reverse()
        return numbers

    def open_ancestors(self):
        """Numbers of all nodes that are an ancestor of an open node or of the focus node."""
        cdef SCIP* scip = self.handle.solving("open_ancestors()")
        cdef SCIP_NODE** groups[3]
        cdef int sizes[3]
        cdef SCIP_NODE* node
        cdef int group, i
        cdef set numbers = set(self.ancestors())
        _check(
            scip_api.SCIPgetOpenNodesData(
                scip, &groups[0], &groups[1], &groups[2], &sizes[0], &sizes[1], &sizes[2]
            ),
            "SCIPgetOpenNodesData",
        )
        for group in range(3):
            for i in range(sizes[group]):
                node = scip_api.SCIPnodeGetParent(groups[group][i])
                while node != NULL:
                    number = scip_api.SCIPnodeGetNumber(node)
                    if number in numbers:
                        break
                    numbers.add(number)
                    node = scip_api.SCIPnodeGetParent(node)
        return numbers

    def branch(self, int position):
        """Branch on the variable at this place of SCIPgetVars.

        Returns:
            Numbers of the down child, the up child, and the middle child of an integer value; -1 where there is none.
        """
        cdef SCIP* scip = self.handle.solving("branch()")
        cdef SCIP_NODE* down = NULL
        cdef SCIP_NODE* middle = NULL
        cdef SCIP_NODE* up = NULL
        if not 0 <= position < scip_api.SCIPgetNVars(scip):
            raise IndexError(f"no variable at place {position}")
        _check(scip_api.SCIPbranchVar(scip, scip_api.SCIPgetVars(scip)[position], &down, &middle, &up), "SCIPbranchVar")
        return _number(down), _number(up), _number(middle)

    def cover(self):
        """Give the focus node one more child, which is the node itself: with it the children hold all that the node holds."""
        cdef SCIP* scip = self.handle.solving("cover()")
        cdef SCIP_NODE* child = NULL
        _check(scip_api.SCIPcreateChild(scip, &child, 0.0, scip_api.SCIPgetLocalTransEstimate(scip)), "SCIPcreateChild")

    def leave_modes(self):
        """End the modes of SCIP in which nobody may branch, where somebody left one on.

        Returns:
            The mode's name, "probing" or "diving"; "" where none was on.
        """
        cdef SCIP* scip = self.handle.solving("leave_modes()")
        if scip_api.SCIPinProbing(scip):
            _check(scip_api.SCIPendProbing(scip), "SCIPendProbing")
            return "probing"
        if scip_api.SCIPinDive(scip):
            _check(scip_api.SCIPendDive(scip), "SCIPendDive")
            return "diving"
        return ""

    def strong_branch(self, int iteration_limit=-1, places=None, int patience=-1, bint learning=False):
        """Strong branching on the k LP candidates of the best priority, or on some of them.

        Args:
            iteration_limit: simplex iterations for each child's LP; -1 for no limit.
            places: places among the candidates of those to try, in this order; None for all.
            patience: stop after so many candidates in a row that do not better the best score so far; -1 for never.
            learning: SCIP keeps what it learns: its counts of strong branching, and conflicts from infeasible children, which it
                adds once the node is done. Otherwise its counts and pseudocosts stay as they were. (The LP's basis may not:
                degenerate LPs of later nodes may come out at another of their optima.)

        Returns:
            (4, k) float64: score, down gain, up gain, and flags (1: down infeasible, 2: up infeasible, 3: both).
            NaN where SCIP gave no valid result, or where it was stopped before the candidate's turn.

        Raises:
            IndexError: no candidate has that place.
        """
        cdef SCIP* scip = self.handle.solving("strong_branch()")
        cdef _Candidates candidates
        cdef int code, limit = 2**31 - 1 if iteration_limit < 0 else iteration_limit
        cdef long long[::1] order
        cdef double[:, ::1] out
        candidates = _candidates(scip)
        chosen = np.arange(candidates.count) if places is None else np.array(places, dtype=np.int64)
        if chosen.ndim != 1 or ((chosen < 0) | (chosen >= candidates.count)).any():
            raise IndexError(f"strong_branch() was asked for candidates {chosen.tolist()} of {candidates.count}")
        order = chosen
        result = np.full((4, candidates.count), np.nan)
        out = result
        _check(scip_api.SCIPstartStrongbranch(scip, 0), "SCIPstartStrongbranch")
        if _python_writes(scip):
            code = _strong_branch(scip, candidates.variables, order, limit, patience, learning, out)
        else:
            with nogil:
                code = _strong_branch(scip, candidates.variables, order, limit, patience, learning, out)
        _check(scip_api.SCIPendStrongbranch(scip), "SCIPendStrongbranch")
        _check(code, "SCIPgetVarStrongbranchFrac")
        return result


cdef bint _lp_is_optimal(SCIP* scip) noexcept:
    return scip_api.SCIPhasCurrentNodeLP(scip) and scip_api.SCIPgetLPSolstat(scip) == REVI_LPSOLSTAT_OPTIMAL


cdef _Candidates _candidates(SCIP* scip) except *:
    """The focus node's LP candidates of the best priority. RuntimeError where its LP is not solved to optimality."""
    cdef _Candidates found
    cdef double* values
    cdef int n_all, n_implied
    if not _lp_is_optimal(scip):
        raise RuntimeError("the candidates are those of a node whose LP is solved to optimality")
    _check(
        scip_api.SCIPgetLPBranchCands(scip, &found.variables, &values, &found.fractions, &n_all, &found.count, &n_implied),
        "SCIPgetLPBranchCands",
    )
    return found


cdef int _strong_branch(
    SCIP* scip, SCIP_VAR** candidates, const long long[::1] order, int limit, int patience, bint learning, double[:, ::1] out
) noexcept nogil:
    """The loop of ``Search.strong_branch``; SCIP's return code."""
    cdef Py_ssize_t turn
    cdef long long i
    cdef int code, waited = 0
    cdef double down, up, best = -1.0, objective = scip_api.SCIPgetLPObjval(scip)
    cdef unsigned int down_valid, up_valid, down_infeasible, up_infeasible, down_conflict, up_conflict, lp_error
    for turn in range(order.shape[0]):
        if scip_api.SCIPisStopped(scip) or waited == patience:
            break
        i = order[turn]
        waited += 1
        down_valid = up_valid = down_infeasible = up_infeasible = 0
        down_conflict = up_conflict = lp_error = 0
        code = scip_api.SCIPgetVarStrongbranchFrac(
            scip, candidates[i], limit, not learning, &down, &up, &down_valid, &up_valid,
            &down_infeasible, &up_infeasible, &down_conflict, &up_conflict, &lp_error,
        )
        if code != REVI_OKAY:
            return code
        if lp_error or not (down_valid or down_infeasible) or not (up_valid or up_infeasible):
            continue
        out[1, i] = max(down - objective, 0.0)
        out[2, i] = max(up - objective, 0.0)
        out[3, i] = (1 if down_infeasible else 0) + (2 if up_infeasible else 0)
        out[0, i] = scip_api.SCIPgetBranchScore(scip, candidates[i], out[1, i], out[2, i])
        if out[0, i] > best:
            best = out[0, i]
            waited = 0
    return REVI_OKAY


cdef long long _number(SCIP_NODE* node) noexcept:
    return scip_api.SCIPnodeGetNumber(node) if node != NULL else -1


include "interpreter.pxi"
include "pseudocosts.pxi"
include "tree_log.pxi"

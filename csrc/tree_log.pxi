# Textually included by _scip.pyx: an event handler in C that takes the search tree down. It needs no Python while SCIP
# runs, so a solve without the global interpreter lock stays without it. Another thread may ask for the tree meanwhile: who
# touches what it reads holds the log's own lock, under which no Python runs.

cdef enum:
    # As in branching/tree.py, which checks it.
    _IS_BRANCHED = 0
    _IS_FEASIBLE = 1
    _IS_INFEASIBLE = 2
    _IS_CUT_OFF = 3
    _IS_NEVER_PROCESSED = 4
    _IS_UNFINISHED = 5
    _IS_GONE = 6  # not told outside: deleted before SCIP said what became of its parent

TREE_OUTCOMES = ("BRANCHED", "FEASIBLE", "INFEASIBLE", "CUT_OFF", "NEVER_PROCESSED", "UNFINISHED")


cdef struct _Node:
    double lower_bound
    int64_t number
    int64_t order
    int64_t lp_iterations
    int32_t run
    int32_t parent
    int32_t depth
    int32_t outcome


cdef struct _Log:
    # Two hold it: the Python object and SCIP's event handler. Either may go first, both under Python's lock.
    int holders
    PyThread_type_lock lock  # of nodes, n_nodes and failed; the rest is the solving thread's alone
    int run
    unsigned long long focused, feasible, infeasible, branched, deleted  # event types; they differ between SCIP's versions
    bint in_run, catching
    int failed  # 1: out of memory, 2: a node whose parent was never seen
    int64_t n_nodes, node_capacity, n_processed, place_capacity
    int64_t iterations_before  # of all nodes' LPs, when the focus node was taken up
    _Node* nodes
    int32_t* places  # place + 1 of a node by its number in this run; 0: not met yet


cdef void _log_release(_Log* log) noexcept nogil:
    log.holders -= 1
    if log.holders == 0:
        free(log.nodes)
        free(log.places)
        if log.lock != NULL:
            PyThread_free_lock(log.lock)
        free(log)


cdef _Node* _log_snapshot(_Log* log, int64_t* n_nodes, int* failed) noexcept nogil:
    """A copy of the nodes so far, to be freed; NULL where memory is out."""
    cdef _Node* nodes
    PyThread_acquire_lock(log.lock, WAIT_LOCK)
    n_nodes[0] = log.n_nodes
    failed[0] = log.failed
    nodes = <_Node*> malloc((log.n_nodes + 1) * sizeof(_Node))
    if nodes != NULL and log.n_nodes > 0:
        memcpy(nodes, log.nodes, log.n_nodes * sizeof(_Node))
    PyThread_release_lock(log.lock)
    return nodes


cdef bint _log_reserve(_Log* log, int64_t number) noexcept nogil:
    """Make room for one more node, and for this number."""
    cdef int64_t capacity
    cdef void* grown
    if log.n_nodes == log.node_capacity:
        capacity = 2 * log.node_capacity + 256
        grown = NULL
        if capacity <= INT32_MAX:
            grown = realloc(log.nodes, capacity * sizeof(_Node))
        if grown == NULL:
            log.failed = 1
            return False
        log.nodes = <_Node*> grown
        log.node_capacity = capacity
    if number >= log.place_capacity:
        capacity = 2 * number + 256
        grown = realloc(log.places, capacity * sizeof(int32_t))
        if grown == NULL:
            log.failed = 1
            return False
        log.places = <int32_t*> grown
        memset(log.places + log.place_capacity, 0, (capacity - log.place_capacity) * sizeof(int32_t))
        log.place_capacity = capacity
    return True


cdef double _finite_bound(SCIP* scip, SCIP_NODE* node) noexcept nogil:
    cdef double bound = scip_api.SCIPnodeGetLowerbound(node)
    cdef double infinity = scip_api.SCIPinfinity(scip)
    if -infinity < bound < infinity:
        return bound
    return INFINITY if bound > 0 else -INFINITY


cdef _Node* _log_node(_Log* log, SCIP* scip, SCIP_NODE* node) noexcept nogil:
    """The record of a node of this run, which may be new; NULL where memory is out. Its bound is brought up to date."""
    cdef int64_t number = scip_api.SCIPnodeGetNumber(node), above_number
    cdef SCIP_NODE* above
    cdef _Node* record
    if not _log_reserve(log, number):
        return NULL
    if log.places[number] == 0:
        record = log.nodes + log.n_nodes
        log.n_nodes += 1
        log.places[number] = <int32_t> log.n_nodes
        record.number = number
        record.run = log.run
        record.depth = scip_api.SCIPnodeGetDepth(node)
        record.order = -1
        record.lp_iterations = 0
        record.outcome = _IS_NEVER_PROCESSED
        record.parent = -1
        above = scip_api.SCIPnodeGetParent(node)
        if above != NULL:
            # A parent was processed, so it is known. SCIP may still branch after it called a node feasible or infeasible.
            above_number = scip_api.SCIPnodeGetNumber(above)
            if above_number < log.place_capacity and log.places[above_number] > 0:
                record.parent = log.places[above_number] - 1
                log.nodes[record.parent].outcome = _IS_BRANCHED
            else:
                log.failed = 2
    record = log.nodes + (log.places[number] - 1)
    record.lower_bound = _finite_bound(scip, node)
    return record


cdef bint _log_processed(_Log* log, SCIP_NODE* node) noexcept nogil:
    cdef int64_t number = scip_api.SCIPnodeGetNumber(node)
    return number < log.place_capacity and log.places[number] > 0 and log.nodes[log.places[number] - 1].order >= 0


cdef void _log_gone_children(_Log* log, int64_t place) noexcept nogil:
    """Its processing ended in the usual way, so children that are gone were cut off. The last nodes are its children."""
    cdef int64_t child = log.n_nodes - 1
    while child > place and log.nodes[child].parent == place:
        if log.nodes[child].outcome == _IS_GONE:
            log.nodes[child].outcome = _IS_CUT_OFF
        child -= 1


cdef int _log_children(_Log* log, SCIP* scip) noexcept nogil:
    cdef SCIP_NODE** children = NULL
    cdef int count = 0, i, code
    code = scip_api.SCIPgetChildren(scip, &children, &count)
    if code != REVI_OKAY:
        return code
    for i in range(count):
        _log_node(log, scip, children[i])
    return REVI_OKAY


cdef int _log_event(SCIP* scip, SCIP_EVENTHDLR* handler, SCIP_EVENT* event, SCIP_EVENTDATA* data) noexcept nogil:
    cdef _Log* log = <_Log*> scip_api.SCIPeventhdlrGetData(handler)
    cdef int code
    PyThread_acquire_lock(log.lock, WAIT_LOCK)
    code = _log_take_down(log, scip, event)
    PyThread_release_lock(log.lock)
    return code


cdef int _log_take_down(_Log* log, SCIP* scip, SCIP_EVENT* event) noexcept nogil:
    cdef unsigned long long kind = scip_api.SCIPeventGetType(event)
    cdef SCIP_NODE* node = scip_api.SCIPeventGetNode(event)
    cdef _Node* record
    cdef int64_t n_before
    # A run's open nodes are deleted after its exitsol: those were neither processed nor cut off.
    if not log.in_run or log.failed or scip_api.SCIPnodeGetType(node) == REVI_NODETYPE_PROBING:
        return REVI_OKAY
    if kind == log.focused:
        # Not counted here, for a restart within presolving makes a run without a tree.
        log.run = scip_api.SCIPgetNRuns(scip)
    elif kind == log.deleted and (scip_api.SCIPnodeGetParent(node) == NULL or _log_processed(log, node)):
        # The bound of a processed node stays what it was then. A root that is not processed is no node of the search: SCIP
        # had solved the problem before.
        return REVI_OKAY
    n_before = log.n_nodes
    record = _log_node(log, scip, node)
    if record == NULL:
        return REVI_OKAY
    if kind == log.focused:
        log.iterations_before = scip_api.SCIPgetNNodeLPIterations(scip)
        if record.order < 0:
            record.order = log.n_processed
            log.n_processed += 1
            record.outcome = _IS_UNFINISHED
    elif kind == log.deleted:
        record.outcome = _IS_CUT_OFF if log.n_nodes == n_before else _IS_GONE
    else:
        _log_gone_children(log, record - log.nodes)
        record.lp_iterations = scip_api.SCIPgetNNodeLPIterations(scip) - log.iterations_before
        if kind == log.branched:
            record.outcome = _IS_BRANCHED
            return _log_children(log, scip)
        if record.outcome == _IS_UNFINISHED:  # else it had children, which are gone already
            record.outcome = _IS_FEASIBLE if kind == log.feasible else _IS_INFEASIBLE
    return REVI_OKAY


cdef unsigned long long _log_events(_Log* log) noexcept nogil:
    return log.focused | log.feasible | log.infeasible | log.branched | log.deleted


cdef int _log_init(SCIP* scip, SCIP_EVENTHDLR* handler) noexcept nogil:
    """A solve begins."""
    cdef _Log* log = <_Log*> scip_api.SCIPeventhdlrGetData(handler)
    cdef int code
    PyThread_acquire_lock(log.lock, WAIT_LOCK)
    log.n_nodes = log.n_processed = 0
    log.in_run = False
    log.failed = 0
    PyThread_release_lock(log.lock)
    code = scip_api.SCIPcatchEvent(scip, _log_events(log), handler, NULL, NULL)
    log.catching = code == REVI_OKAY
    return code


cdef int _log_exit(SCIP* scip, SCIP_EVENTHDLR* handler) noexcept nogil:
    """A solve's data is being freed."""
    cdef _Log* log = <_Log*> scip_api.SCIPeventhdlrGetData(handler)
    if not log.catching:
        return REVI_OKAY
    log.catching = False
    return scip_api.SCIPdropEvent(scip, _log_events(log), handler, NULL, -1)


cdef int _log_initsol(SCIP* scip, SCIP_EVENTHDLR* handler) noexcept nogil:
    """A run begins: node numbers start anew."""
    cdef _Log* log = <_Log*> scip_api.SCIPeventhdlrGetData(handler)
    if log.places != NULL:
        memset(log.places, 0, log.place_capacity * sizeof(int32_t))
    log.in_run = True
    return REVI_OKAY


cdef int _log_exitsol(SCIP* scip, SCIP_EVENTHDLR* handler) noexcept nogil:
    """A run ends."""
    cdef _Log* log = <_Log*> scip_api.SCIPeventhdlrGetData(handler)
    log.in_run = False
    return REVI_OKAY


cdef int _log_free(SCIP* scip, SCIP_EVENTHDLR* handler) noexcept nogil:
    """The model is being freed."""
    _log_release(<_Log*> scip_api.SCIPeventhdlrGetData(handler))
    return REVI_OKAY


cdef class TreeLog:
    """The search tree of a model's solves, taken down by an event handler that this object includes into the model.

    It refers to no model, and no model to it. One solve may run at a time, as SCIP itself wants it.

    Raises:
        RuntimeError: the model is being solved, or was and is not freed of its transformed problem.
    """

    cdef _Log* log

    def __init__(self, model):
        from pyscipopt import SCIP_EVENTTYPE

        cdef SCIP* scip = _Handle(model).get()
        cdef SCIP_EVENTHDLR* handler = NULL
        cdef int others = 0
        cdef int stage = scip_api.SCIPgetStage(scip)
        if stage > 1:  # SCIP_STAGE_PROBLEM. SCIP 9 takes event handlers later too, too late for a whole tree.
            raise RuntimeError(f"a search tree is recorded from before the solve on; the model is in stage {stage}")
        if self.log != NULL:
            raise RuntimeError("a tree log is made once")
        name = b"revibranch_tree"
        while scip_api.SCIPfindEventhdlr(scip, name) != NULL:
            others += 1
            name = b"revibranch_tree%d" % (others + 1)
        self.log = <_Log*> calloc(1, sizeof(_Log))
        if self.log == NULL:
            raise MemoryError
        self.log.holders = 1
        self.log.lock = PyThread_allocate_lock()
        if self.log.lock == NULL:
            raise MemoryError
        self.log.focused, self.log.deleted = SCIP_EVENTTYPE.NODEFOCUSED, SCIP_EVENTTYPE.NODEDELETE
        self.log.feasible, self.log.infeasible = SCIP_EVENTTYPE.NODEFEASIBLE, SCIP_EVENTTYPE.NODEINFEASIBLE
        self.log.branched = SCIP_EVENTTYPE.NODEBRANCHED
        _check(
            scip_api.SCIPincludeEventhdlrBasic(
                scip, &handler, name, b"records the search tree", _log_event, <SCIP_EVENTHDLRDATA*> self.log
            ),
            "SCIPincludeEventhdlrBasic",
        )
        _check(scip_api.SCIPsetEventhdlrFree(scip, handler, _log_free), "SCIPsetEventhdlrFree")
        self.log.holders = 2
        _check(scip_api.SCIPsetEventhdlrInit(scip, handler, _log_init), "SCIPsetEventhdlrInit")
        _check(scip_api.SCIPsetEventhdlrExit(scip, handler, _log_exit), "SCIPsetEventhdlrExit")
        _check(scip_api.SCIPsetEventhdlrInitsol(scip, handler, _log_initsol), "SCIPsetEventhdlrInitsol")
        _check(scip_api.SCIPsetEventhdlrExitsol(scip, handler, _log_exitsol), "SCIPsetEventhdlrExitsol")

    def __dealloc__(self):
        if self.log != NULL:
            _log_release(self.log)

    def columns(self):
        """Copies of the columns so far, as ``SearchTree`` names them, one entry a node.

        Raises:
            MemoryError: there was no room for the tree.
            RuntimeError: SCIP's events did not make a tree.
        """
        cdef int64_t n_nodes = 0
        cdef int failed = 0
        cdef _Node* nodes
        cdef unsigned char[::1] bytes_
        if self.log == NULL or self.log.lock == NULL:
            raise RuntimeError("the log was not made for any model")
        with nogil:  # an event that holds the log's lock needs no Python, so nobody waits for the other
            nodes = _log_snapshot(self.log, &n_nodes, &failed)
        try:
            if failed == 2:
                raise RuntimeError("SCIP branched at a node that it never focused")
            if failed or nodes == NULL:
                raise MemoryError(f"there was no room for a search tree of more than {n_nodes} nodes")
            raw = np.empty(n_nodes, dtype=_NODE_TYPE)
            if n_nodes:
                bytes_ = raw.view(np.uint8)
                memcpy(&bytes_[0], nodes, n_nodes * sizeof(_Node))
        finally:
            free(nodes)
        # The others are gone because their run was given up.
        raw["outcome"][raw["outcome"] == _IS_GONE] = _IS_NEVER_PROCESSED
        return {name: raw[name].astype(kind) for name, kind in _COLUMN_TYPES.items()}


_COLUMN_TYPES = {
    "run": np.int32, "number": np.int64, "parent": np.int32, "depth": np.int32,
    "lower_bound": np.float64, "outcome": np.int8, "order": np.int64, "lp_iterations": np.int64,
}
_NODE_TYPE = np.dtype([
    ("lower_bound", np.float64), ("number", np.int64), ("order", np.int64), ("lp_iterations", np.int64),
    ("run", np.int32), ("parent", np.int32), ("depth", np.int32), ("outcome", np.int32),
])
assert _NODE_TYPE.itemsize == sizeof(_Node)

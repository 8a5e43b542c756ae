/* SCIP's entry points, found at run time.
 *
 * PySCIPOpt's wheel bundles libscip without headers, so the signatures below are written down here, as SCIP 9 and 10
 * share them. They use C types only: SCIP_Real is double, SCIP_Longint is long long, SCIP_Bool is unsigned int, enums are
 * int, and every SCIP object is an opaque pointer.
 *
 * One list, REVI_SCIP_FUNCTIONS, makes the table's fields, the names that are looked up, and nothing else.
 */
#ifndef REVIBRANCH_SCIP_API_H
#define REVIBRANCH_SCIP_API_H

typedef struct Scip SCIP;
typedef struct SCIP_Var SCIP_VAR;
typedef struct SCIP_Col SCIP_COL;
typedef struct SCIP_Row SCIP_ROW;
typedef struct SCIP_Sol SCIP_SOL;
typedef struct SCIP_Node SCIP_NODE;
typedef struct SCIP_Branchrule SCIP_BRANCHRULE;
typedef struct SCIP_Eventhdlr SCIP_EVENTHDLR;
typedef struct SCIP_EventhdlrData SCIP_EVENTHDLRDATA;
typedef struct SCIP_Event SCIP_EVENT;
typedef struct SCIP_EventData SCIP_EVENTDATA;
typedef struct SCIP_Messagehdlr SCIP_MESSAGEHDLR;

typedef int revi_event_exec(SCIP *, SCIP_EVENTHDLR *, SCIP_EVENT *, SCIP_EVENTDATA *); /* SCIP_DECL_EVENTEXEC */
typedef int revi_event_hook(SCIP *, SCIP_EVENTHDLR *); /* SCIP_DECL_EVENTINIT and its like */

#define REVI_OKAY 1                /* SCIP_OKAY */
#define REVI_STAGE_SOLVING 9       /* SCIP_STAGE_SOLVING */
#define REVI_LPSOLSTAT_OPTIMAL 1   /* SCIP_LPSOLSTAT_OPTIMAL */
#define REVI_VARSTATUS_COLUMN 2    /* SCIP_VARSTATUS_COLUMN */
#define REVI_NODETYPE_PROBING 1    /* SCIP_NODETYPE_PROBINGNODE */

#define REVI_SCIP_FUNCTIONS(X)                                                                                  \
    /* version, stage, tolerances */                                                                            \
    X(int, SCIPmajorVersion, (void))                                                                            \
    X(int, SCIPminorVersion, (void))                                                                            \
    X(int, SCIPtechVersion, (void))                                                                             \
    X(int, SCIPgetStage, (SCIP *))                                                                              \
    X(double, SCIPinfinity, (SCIP *))                                                                           \
    X(double, SCIPepsilon, (SCIP *))                                                                            \
    X(double, SCIPfeastol, (SCIP *))                                                                            \
    X(unsigned int, SCIPisStopped, (SCIP *))                                                                    \
    /* variables and columns */                                                                                 \
    X(SCIP_VAR **, SCIPgetVars, (SCIP *))                                                                       \
    X(int, SCIPgetNVars, (SCIP *))                                                                              \
    X(int, SCIPgetNActivePricers, (SCIP *))                                                                     \
    X(int, SCIPvarGetStatus, (SCIP_VAR *))                                                                      \
    X(int, SCIPvarGetType, (SCIP_VAR *))                                                                        \
    X(double, SCIPvarGetObj, (SCIP_VAR *))                                                                      \
    X(double, SCIPvarGetLbLocal, (SCIP_VAR *))                                                                  \
    X(double, SCIPvarGetUbLocal, (SCIP_VAR *))                                                                  \
    X(double, SCIPvarGetLPSol, (SCIP_VAR *))                                                                    \
    X(double, SCIPvarGetAvgSol, (SCIP_VAR *))                                                                   \
    X(double, SCIPvarGetRootSol, (SCIP_VAR *))                                                                  \
    X(int, SCIPvarGetProbindex, (SCIP_VAR *))                                                                   \
    X(SCIP_COL *, SCIPvarGetCol, (SCIP_VAR *))                                                                  \
    X(unsigned int, SCIPcolIsInLP, (SCIP_COL *))                                                                \
    X(int, SCIPcolGetVarProbindex, (SCIP_COL *))                                                                \
    X(int, SCIPcolGetIndex, (SCIP_COL *))                                                                       \
    X(int, SCIPcolGetBasisStatus, (SCIP_COL *))                                                                 \
    X(int, SCIPcolGetAge, (SCIP_COL *))                                                                         \
    X(double, SCIPgetColRedcost, (SCIP *, SCIP_COL *))                                                          \
    X(double, SCIPgetObjNorm, (SCIP *))                                                                         \
    X(double, SCIPgetVarPseudocost, (SCIP *, SCIP_VAR *, int))                                                  \
    X(double, SCIPgetVarPseudocostCount, (SCIP *, SCIP_VAR *, int))                                             \
    X(double, SCIPgetVarAvgInferences, (SCIP *, SCIP_VAR *, int))                                               \
    X(double, SCIPgetVarAvgConflictlength, (SCIP *, SCIP_VAR *, int))                                           \
    /* rows */                                                                                                  \
    X(SCIP_ROW **, SCIPgetLPRows, (SCIP *))                                                                     \
    X(int, SCIPgetNLPRows, (SCIP *))                                                                            \
    X(int, SCIProwGetIndex, (SCIP_ROW *))                                                                       \
    X(int, SCIProwGetNNonz, (SCIP_ROW *))                                                                       \
    X(SCIP_COL **, SCIProwGetCols, (SCIP_ROW *))                                                                \
    X(double *, SCIProwGetVals, (SCIP_ROW *))                                                                   \
    X(double, SCIProwGetLhs, (SCIP_ROW *))                                                                      \
    X(double, SCIProwGetRhs, (SCIP_ROW *))                                                                      \
    X(double, SCIProwGetConstant, (SCIP_ROW *))                                                                 \
    X(double, SCIProwGetNorm, (SCIP_ROW *))                                                                     \
    X(double, SCIProwGetDualsol, (SCIP_ROW *))                                                                  \
    X(int, SCIProwGetAge, (SCIP_ROW *))                                                                         \
    X(double, SCIPgetRowLPActivity, (SCIP *, SCIP_ROW *))                                                       \
    /* the LP at the focus node */                                                                              \
    X(unsigned int, SCIPhasCurrentNodeLP, (SCIP *))                                                             \
    X(int, SCIPgetLPSolstat, (SCIP *))                                                                          \
    X(double, SCIPgetLPObjval, (SCIP *))                                                                        \
    X(long long, SCIPgetNLPs, (SCIP *))                                                                         \
    X(int, SCIPgetLPBranchCands, (SCIP *, SCIP_VAR ***, double **, double **, int *, int *, int *))             \
    /* solutions and bounds, transformed space */                                                               \
    X(SCIP_SOL *, SCIPgetBestSol, (SCIP *))                                                                     \
    X(double, SCIPgetSolVal, (SCIP *, SCIP_SOL *, SCIP_VAR *))                                                  \
    X(int, SCIPsolGetIndex, (SCIP_SOL *))                                                                       \
    X(int, SCIPgetNSols, (SCIP *))                                                                              \
    X(double, SCIPgetUpperbound, (SCIP *))                                                                      \
    X(double, SCIPgetLowerbound, (SCIP *))                                                                      \
    X(double, SCIPgetLowerboundRoot, (SCIP *))                                                                  \
    /* the tree */                                                                                              \
    X(int, SCIPgetNRuns, (SCIP *))                                                                              \
    X(long long, SCIPgetNNodes, (SCIP *))                                                                       \
    X(long long, SCIPgetNTotalNodes, (SCIP *))                                                                  \
    X(int, SCIPgetNNodesLeft, (SCIP *))                                                                         \
    X(int, SCIPgetNChildren, (SCIP *))                                                                          \
    X(int, SCIPgetChildren, (SCIP *, SCIP_NODE ***, int *))                                                     \
    X(SCIP_NODE *, SCIPgetFocusNode, (SCIP *))                                                                  \
    X(SCIP_NODE *, SCIPnodeGetParent, (SCIP_NODE *))                                                            \
    X(long long, SCIPnodeGetNumber, (SCIP_NODE *))                                                              \
    X(int, SCIPnodeGetDepth, (SCIP_NODE *))                                                                     \
    X(void, SCIPnodeGetParentBranchings, (SCIP_NODE *, SCIP_VAR **, double *, int *, int *, int))               \
    X(int, SCIPnodeGetType, (SCIP_NODE *))                                                                      \
    X(double, SCIPnodeGetLowerbound, (SCIP_NODE *))                                                             \
    X(int, SCIPgetOpenNodesData,                                                                                \
      (SCIP *, SCIP_NODE ***, SCIP_NODE ***, SCIP_NODE ***, int *, int *, int *))                               \
    /* branching, probing, strong branching */                                                                  \
    X(int, SCIPbranchVar, (SCIP *, SCIP_VAR *, SCIP_NODE **, SCIP_NODE **, SCIP_NODE **))                       \
    X(int, SCIPcreateChild, (SCIP *, SCIP_NODE **, double, double))                                             \
    X(double, SCIPgetLocalTransEstimate, (SCIP *))                                                              \
    X(unsigned int, SCIPinProbing, (SCIP *))                                                                    \
    X(int, SCIPendProbing, (SCIP *))                                                                            \
    X(unsigned int, SCIPinDive, (SCIP *))                                                                       \
    X(int, SCIPendDive, (SCIP *))                                                                               \
    X(int, SCIPstartStrongbranch, (SCIP *, unsigned int))                                                       \
    X(int, SCIPendStrongbranch, (SCIP *))                                                                       \
    X(int, SCIPgetVarStrongbranchFrac,                                                                          \
      (SCIP *, SCIP_VAR *, int, unsigned int, double *, double *, unsigned int *, unsigned int *,               \
       unsigned int *, unsigned int *, unsigned int *, unsigned int *, unsigned int *))                         \
    X(double, SCIPgetBranchScore, (SCIP *, SCIP_VAR *, double, double))                                         \
    /* events; an event type is a 64-bit mask */                                                                \
    X(SCIP_EVENTHDLR *, SCIPfindEventhdlr, (SCIP *, const char *))                                              \
    X(int, SCIPincludeEventhdlrBasic,                                                                           \
      (SCIP *, SCIP_EVENTHDLR **, const char *, const char *, revi_event_exec *, SCIP_EVENTHDLRDATA *))         \
    X(int, SCIPsetEventhdlrInit, (SCIP *, SCIP_EVENTHDLR *, revi_event_hook *))                                 \
    X(int, SCIPsetEventhdlrExit, (SCIP *, SCIP_EVENTHDLR *, revi_event_hook *))                                 \
    X(int, SCIPsetEventhdlrInitsol, (SCIP *, SCIP_EVENTHDLR *, revi_event_hook *))                              \
    X(int, SCIPsetEventhdlrExitsol, (SCIP *, SCIP_EVENTHDLR *, revi_event_hook *))                              \
    X(int, SCIPsetEventhdlrFree, (SCIP *, SCIP_EVENTHDLR *, revi_event_hook *))                                 \
    X(SCIP_EVENTHDLRDATA *, SCIPeventhdlrGetData, (SCIP_EVENTHDLR *))                                           \
    X(int, SCIPcatchEvent, (SCIP *, unsigned long long, SCIP_EVENTHDLR *, SCIP_EVENTDATA *, int *))             \
    X(int, SCIPdropEvent, (SCIP *, unsigned long long, SCIP_EVENTHDLR *, SCIP_EVENTDATA *, int))                \
    X(unsigned long long, SCIPeventGetType, (SCIP_EVENT *))                                                     \
    X(SCIP_NODE *, SCIPeventGetNode, (SCIP_EVENT *))                                                            \
    /* messages */                                                                                              \
    X(SCIP_MESSAGEHDLR *, SCIPgetMessagehdlr, (SCIP *))                                                         \
    X(void, SCIPmessagePrintInfo, (SCIP_MESSAGEHDLR *, const char *, ...))                                      \
    X(void, SCIPmessagePrintError, (const char *, ...))                                                         \
    /* what the search cost */                                                                                  \
    X(long long, SCIPgetNLPIterations, (SCIP *))                                                                \
    X(long long, SCIPgetNNodeLPIterations, (SCIP *))                                                            \
    X(long long, SCIPgetNStrongbranchLPIterations, (SCIP *))                                                    \
    X(SCIP_BRANCHRULE **, SCIPgetBranchrules, (SCIP *))                                                         \
    X(int, SCIPgetNBranchrules, (SCIP *))                                                                       \
    X(long long, SCIPbranchruleGetNDomredsFound, (SCIP_BRANCHRULE *))                                           \
    X(long long, SCIPbranchruleGetNCutoffs, (SCIP_BRANCHRULE *))

typedef struct {
#define REVI_FIELD(result, name, arguments) result (*name) arguments;
    REVI_SCIP_FUNCTIONS(REVI_FIELD)
#undef REVI_FIELD
} revi_scip_api;

/* The table; all NULL until revi_scip_load succeeded. Each extension module has its own. */
extern revi_scip_api scip_api;

/* Fill the table from the libscip that the shared object `host` (PySCIPOpt's extension module) was linked with.
 *
 * Returns NULL on success. Otherwise a static string: the missing symbol's name, or "" where `host` is not loaded in
 * this process. */
const char *revi_scip_load(const char *host);

/* Path of the libscip the table points into, or NULL where the system does not tell. */
const char *revi_scip_path(void);

#endif

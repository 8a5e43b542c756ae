"""Cython's view of scip_api.h: the table of SCIP's entry points and the few constants that go with it."""


cdef extern from "scip_api.h" nogil:
    ctypedef struct SCIP:
        pass
    ctypedef struct SCIP_VAR:
        pass
    ctypedef struct SCIP_COL:
        pass
    ctypedef struct SCIP_ROW:
        pass
    ctypedef struct SCIP_SOL:
        pass
    ctypedef struct SCIP_NODE:
        pass
    ctypedef struct SCIP_BRANCHRULE:
        pass
    ctypedef struct SCIP_EVENTHDLR:
        pass
    ctypedef struct SCIP_EVENTHDLRDATA:
        pass
    ctypedef struct SCIP_EVENT:
        pass
    ctypedef struct SCIP_EVENTDATA:
        pass
    ctypedef struct SCIP_MESSAGEHDLR:
        pass
    ctypedef int revi_event_exec(SCIP*, SCIP_EVENTHDLR*, SCIP_EVENT*, SCIP_EVENTDATA*) noexcept nogil
    ctypedef int revi_event_hook(SCIP*, SCIP_EVENTHDLR*) noexcept nogil

    int REVI_OKAY
    int REVI_STAGE_SOLVING
    int REVI_LPSOLSTAT_OPTIMAL
    int REVI_VARSTATUS_COLUMN
    int REVI_NODETYPE_PROBING

    ctypedef struct revi_scip_api:
        int (*SCIPmajorVersion)() noexcept nogil
        int (*SCIPminorVersion)() noexcept nogil
        int (*SCIPtechVersion)() noexcept nogil
        int (*SCIPgetStage)(SCIP*) noexcept nogil
        double (*SCIPinfinity)(SCIP*) noexcept nogil
        double (*SCIPepsilon)(SCIP*) noexcept nogil
        double (*SCIPfeastol)(SCIP*) noexcept nogil
        unsigned int (*SCIPisStopped)(SCIP*) noexcept nogil
        SCIP_VAR** (*SCIPgetVars)(SCIP*) noexcept nogil
        int (*SCIPgetNVars)(SCIP*) noexcept nogil
        int (*SCIPgetNActivePricers)(SCIP*) noexcept nogil
        int (*SCIPvarGetStatus)(SCIP_VAR*) noexcept nogil
        int (*SCIPvarGetType)(SCIP_VAR*) noexcept nogil
        double (*SCIPvarGetObj)(SCIP_VAR*) noexcept nogil
        double (*SCIPvarGetLbLocal)(SCIP_VAR*) noexcept nogil
        double (*SCIPvarGetUbLocal)(SCIP_VAR*) noexcept nogil
        double (*SCIPvarGetLPSol)(SCIP_VAR*) noexcept nogil
        double (*SCIPvarGetAvgSol)(SCIP_VAR*) noexcept nogil
        double (*SCIPvarGetRootSol)(SCIP_VAR*) noexcept nogil
        int (*SCIPvarGetProbindex)(SCIP_VAR*) noexcept nogil
        SCIP_COL* (*SCIPvarGetCol)(SCIP_VAR*) noexcept nogil
        unsigned int (*SCIPcolIsInLP)(SCIP_COL*) noexcept nogil
        int (*SCIPcolGetVarProbindex)(SCIP_COL*) noexcept nogil
        int (*SCIPcolGetIndex)(SCIP_COL*) noexcept nogil
        int (*SCIPcolGetBasisStatus)(SCIP_COL*) noexcept nogil
        int (*SCIPcolGetAge)(SCIP_COL*) noexcept nogil
        double (*SCIPgetColRedcost)(SCIP*, SCIP_COL*) noexcept nogil
        double (*SCIPgetObjNorm)(SCIP*) noexcept nogil
        double (*SCIPgetVarPseudocost)(SCIP*, SCIP_VAR*, int) noexcept nogil
        double (*SCIPgetVarPseudocostCount)(SCIP*, SCIP_VAR*, int) noexcept nogil
        double (*SCIPgetVarAvgInferences)(SCIP*, SCIP_VAR*, int) noexcept nogil
        double (*SCIPgetVarAvgConflictlength)(SCIP*, SCIP_VAR*, int) noexcept nogil
        SCIP_ROW** (*SCIPgetLPRows)(SCIP*) noexcept nogil
        int (*SCIPgetNLPRows)(SCIP*) noexcept nogil
        int (*SCIProwGetIndex)(SCIP_ROW*) noexcept nogil
        int (*SCIProwGetNNonz)(SCIP_ROW*) noexcept nogil
        SCIP_COL** (*SCIProwGetCols)(SCIP_ROW*) noexcept nogil
        double* (*SCIProwGetVals)(SCIP_ROW*) noexcept nogil
        double (*SCIProwGetLhs)(SCIP_ROW*) noexcept nogil
        double (*SCIProwGetRhs)(SCIP_ROW*) noexcept nogil
        double (*SCIProwGetConstant)(SCIP_ROW*) noexcept nogil
        double (*SCIProwGetNorm)(SCIP_ROW*) noexcept nogil
        double (*SCIProwGetDualsol)(SCIP_ROW*) noexcept nogil
        int (*SCIProwGetAge)(SCIP_ROW*) noexcept nogil
        double (*SCIPgetRowLPActivity)(SCIP*, SCIP_ROW*) noexcept nogil
        unsigned int (*SCIPhasCurrentNodeLP)(SCIP*) noexcept nogil
        int (*SCIPgetLPSolstat)(SCIP*) noexcept nogil
        double (*SCIPgetLPObjval)(SCIP*) noexcept nogil
        long long (*SCIPgetNLPs)(SCIP*) noexcept nogil
        int (*SCIPgetLPBranchCands)(SCIP*, SCIP_VAR***, double**, double**, int*, int*, int*) noexcept nogil
        SCIP_SOL* (*SCIPgetBestSol)(SCIP*) noexcept nogil
        double (*SCIPgetSolVal)(SCIP*, SCIP_SOL*, SCIP_VAR*) noexcept nogil
        int (*SCIPsolGetIndex)(SCIP_SOL*) noexcept nogil
        int (*SCIPgetNSols)(SCIP*) noexcept nogil
        double (*SCIPgetUpperbound)(SCIP*) noexcept nogil
        double (*SCIPgetLowerbound)(SCIP*) noexcept nogil
        double (*SCIPgetLowerboundRoot)(SCIP*) noexcept nogil
        int (*SCIPgetNRuns)(SCIP*) noexcept nogil
        long long (*SCIPgetNNodes)(SCIP*) noexcept nogil
        long long (*SCIPgetNTotalNodes)(SCIP*) noexcept nogil
        int (*SCIPgetNNodesLeft)(SCIP*) noexcept nogil
        int (*SCIPgetNChildren)(SCIP*) noexcept nogil
        int (*SCIPgetChildren)(SCIP*, SCIP_NODE***, int*) noexcept nogil
        SCIP_NODE* (*SCIPgetFocusNode)(SCIP*) noexcept nogil
        SCIP_NODE* (*SCIPnodeGetParent)(SCIP_NODE*) noexcept nogil
        long long (*SCIPnodeGetNumber)(SCIP_NODE*) noexcept nogil
        int (*SCIPnodeGetDepth)(SCIP_NODE*) noexcept nogil
        void (*SCIPnodeGetParentBranchings)(SCIP_NODE*, SCIP_VAR**, double*, int*, int*, int) noexcept nogil
        int (*SCIPnodeGetType)(SCIP_NODE*) noexcept nogil
        double (*SCIPnodeGetLowerbound)(SCIP_NODE*) noexcept nogil
        int (*SCIPgetOpenNodesData)(
            SCIP*, SCIP_NODE***, SCIP_NODE***, SCIP_NODE***, int*, int*, int*) noexcept nogil
        int (*SCIPcreateChild)(SCIP*, SCIP_NODE**, double, double) noexcept nogil
        double (*SCIPgetLocalTransEstimate)(SCIP*) noexcept nogil
        int (*SCIPbranchVar)(SCIP*, SCIP_VAR*, SCIP_NODE**, SCIP_NODE**, SCIP_NODE**) noexcept nogil
        unsigned int (*SCIPinProbing)(SCIP*) noexcept nogil
        int (*SCIPendProbing)(SCIP*) noexcept nogil
        unsigned int (*SCIPinDive)(SCIP*) noexcept nogil
        int (*SCIPendDive)(SCIP*) noexcept nogil
        int (*SCIPstartStrongbranch)(SCIP*, unsigned int) noexcept nogil
        int (*SCIPendStrongbranch)(SCIP*) noexcept nogil
        int (*SCIPgetVarStrongbranchFrac)(
            SCIP*, SCIP_VAR*, int, unsigned int, double*, double*, unsigned int*, unsigned int*,
            unsigned int*, unsigned int*, unsigned int*, unsigned int*, unsigned int*) noexcept nogil
        double (*SCIPgetBranchScore)(SCIP*, SCIP_VAR*, double, double) noexcept nogil
        SCIP_EVENTHDLR* (*SCIPfindEventhdlr)(SCIP*, const char*) noexcept nogil
        int (*SCIPincludeEventhdlrBasic)(
            SCIP*, SCIP_EVENTHDLR**, const char*, const char*, revi_event_exec*, SCIP_EVENTHDLRDATA*) noexcept nogil
        int (*SCIPsetEventhdlrInit)(SCIP*, SCIP_EVENTHDLR*, revi_event_hook*) noexcept nogil
        int (*SCIPsetEventhdlrExit)(SCIP*, SCIP_EVENTHDLR*, revi_event_hook*) noexcept nogil
        int (*SCIPsetEventhdlrInitsol)(SCIP*, SCIP_EVENTHDLR*, revi_event_hook*) noexcept nogil
        int (*SCIPsetEventhdlrExitsol)(SCIP*, SCIP_EVENTHDLR*, revi_event_hook*) noexcept nogil
        int (*SCIPsetEventhdlrFree)(SCIP*, SCIP_EVENTHDLR*, revi_event_hook*) noexcept nogil
        SCIP_EVENTHDLRDATA* (*SCIPeventhdlrGetData)(SCIP_EVENTHDLR*) noexcept nogil
        int (*SCIPcatchEvent)(SCIP*, unsigned long long, SCIP_EVENTHDLR*, SCIP_EVENTDATA*, int*) noexcept nogil
        int (*SCIPdropEvent)(SCIP*, unsigned long long, SCIP_EVENTHDLR*, SCIP_EVENTDATA*, int) noexcept nogil
        unsigned long long (*SCIPeventGetType)(SCIP_EVENT*) noexcept nogil
        SCIP_NODE* (*SCIPeventGetNode)(SCIP_EVENT*) noexcept nogil
        SCIP_MESSAGEHDLR* (*SCIPgetMessagehdlr)(SCIP*) noexcept nogil
        void (*SCIPmessagePrintInfo)(SCIP_MESSAGEHDLR*, const char*, ...) noexcept nogil
        void (*SCIPmessagePrintError)(const char*, ...) noexcept nogil
        long long (*SCIPgetNLPIterations)(SCIP*) noexcept nogil
        long long (*SCIPgetNNodeLPIterations)(SCIP*) noexcept nogil
        long long (*SCIPgetNStrongbranchLPIterations)(SCIP*) noexcept nogil
        SCIP_BRANCHRULE** (*SCIPgetBranchrules)(SCIP*) noexcept nogil
        int (*SCIPgetNBranchrules)(SCIP*) noexcept nogil
        long long (*SCIPbranchruleGetNDomredsFound)(SCIP_BRANCHRULE*) noexcept nogil
        long long (*SCIPbranchruleGetNCutoffs)(SCIP_BRANCHRULE*) noexcept nogil

    revi_scip_api scip_api
    const char* revi_scip_load(const char* host)
    const char* revi_scip_path()

/* The columns of the LP's graph that change at every node. */
#include "lp_graph.h"

#include <math.h>
#include <stddef.h>

/* SCIP_INVALID is 1e99; anything this large is no value of a variable. */
#define INVALID 1e98

/* Asking SCIP for a solution's value costs as much as all other columns of a variable together, and the incumbent rarely
 * changes. */
static void read_incumbent(revi_lp_graph *graph, SCIP *scip)
{
    SCIP_SOL *best = scip_api.SCIPgetBestSol(scip);
    int index = best ? scip_api.SCIPsolGetIndex(best) : -1;
    if (best && (best != graph->incumbent || index != graph->incumbent_index))
        for (int i = 0; i < graph->n_variables; ++i)
            graph->incumbent_values[i] = (float)scip_api.SCIPgetSolVal(scip, best, graph->variables[i]);
    graph->incumbent = best;
    graph->incumbent_index = index;
}

static void write_ecole_columns(revi_lp_graph *graph, SCIP *scip, double lp_scale)
{
    double epsilon = scip_api.SCIPepsilon(scip), feastol = scip_api.SCIPfeastol(scip);
    double scale = graph->objective_norm > 0.0 ? graph->objective_norm : 1.0;
    float *out = graph->variable_features;
    for (int i = 0; i < graph->n_variables; ++i) {
        SCIP_VAR *variable = graph->variables[i];
        SCIP_COL *column = NULL;
        /* Loose variables (pricing, or in no row) have no column to ask. */
        if (scip_api.SCIPvarGetStatus(variable) == REVI_VARSTATUS_COLUMN) {
            column = scip_api.SCIPvarGetCol(variable);
            if (!scip_api.SCIPcolIsInLP(column))
                column = NULL;
        }
        double lower = scip_api.SCIPvarGetLbLocal(variable), upper = scip_api.SCIPvarGetUbLocal(variable);
        double value = scip_api.SCIPvarGetLPSol(variable);
        out[5] = lower > -graph->infinity;
        out[6] = upper < graph->infinity;
        out[7] = column ? (float)(scip_api.SCIPgetColRedcost(scip, column) / scale) : 0.0f;
        out[8] = (float)value;
        /* EPSFRAC and EPSEQ of SCIP, written out: two calls a variable less */
        out[9] = out[4] == 0.0f ? (float)(value - floor(value + feastol)) : 0.0f;
        out[10] = fabs(value - lower) <= epsilon;
        out[11] = fabs(value - upper) <= epsilon;
        out[12] = column ? (float)(scip_api.SCIPcolGetAge(column) / lp_scale) : 0.0f;
        out[13] = graph->incumbent ? graph->incumbent_values[i] : NAN;
        out[14] = graph->incumbent ? (float)scip_api.SCIPvarGetAvgSol(variable) : NAN;
        int basis = column ? scip_api.SCIPcolGetBasisStatus(column) : -1;
        for (int k = 0; k < 4; ++k)
            out[15 + k] = basis == k;
        out += graph->n_columns;
    }
}

static void write_extended_columns(revi_lp_graph *graph, SCIP *scip)
{
    /* SCIP keeps the root's solution when it leaves the root; until then it has zeros, or those of an earlier run. */
    int at_root = scip_api.SCIPnodeGetDepth(scip_api.SCIPgetFocusNode(scip)) == 0;
    float *out = graph->variable_features;
    for (int i = 0; i < graph->n_variables; ++i) {
        SCIP_VAR *variable = graph->variables[i];
        double root = at_root ? scip_api.SCIPvarGetLPSol(variable) : scip_api.SCIPvarGetRootSol(variable);
        for (int up = 0; up < 2; ++up) {
            out[19 + up] = (float)scip_api.SCIPgetVarPseudocost(scip, variable, up);
            out[21 + up] = (float)scip_api.SCIPgetVarPseudocostCount(scip, variable, up);
            out[23 + up] = (float)scip_api.SCIPgetVarAvgInferences(scip, variable, up);
            out[25 + up] = (float)scip_api.SCIPgetVarAvgConflictlength(scip, variable, up);
        }
        out[27] = fabs(root) < INVALID ? (float)root : NAN;
        out += graph->n_columns;
    }
}

static void write_row_columns(revi_lp_graph *graph, SCIP *scip, double lp_scale)
{
    SCIP_ROW **rows = scip_api.SCIPgetLPRows(scip);
    double epsilon = scip_api.SCIPepsilon(scip);
    double objective_scale = graph->objective_norm > 0.0 ? graph->objective_norm : 1.0;
    float *out = graph->row_features;
    for (int i = 0; i < graph->n_lp_rows; ++i) {
        const revi_row_key *key = &graph->keys[i];
        int has_lhs = key->lhs > -graph->infinity, has_rhs = key->rhs < graph->infinity;
        if (!has_lhs && !has_rhs)
            continue;
        double norm = key->norm > 0.0 ? key->norm : 1.0;
        double activity = scip_api.SCIPgetRowLPActivity(scip, rows[i]);
        float dual = (float)(scip_api.SCIProwGetDualsol(rows[i]) / (norm * objective_scale));
        float age = (float)(scip_api.SCIProwGetAge(rows[i]) / lp_scale);
        if (has_lhs) {
            out[2] = fabs(activity - key->lhs) <= epsilon;
            out[3] = -dual;
            out[4] = age;
            out += REVI_ROW_COLUMNS;
        }
        if (has_rhs) {
            out[2] = fabs(activity - key->rhs) <= epsilon;
            out[3] = dual;
            out[4] = age;
            out += REVI_ROW_COLUMNS;
        }
    }
}

void revi_lp_write_dynamic(revi_lp_graph *graph, SCIP *scip)
{
    double lp_scale = (double)scip_api.SCIPgetNLPs(scip) + 5.0;
    read_incumbent(graph, scip);
    write_ecole_columns(graph, scip, lp_scale);
    if (graph->n_columns == REVI_ALL_COLUMNS)
        write_extended_columns(graph, scip);
    write_row_columns(graph, scip, lp_scale);
}

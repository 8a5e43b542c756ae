/* The LP's bipartite graph at a node, written into memory that the caller provides: variables and row sides are nodes,
 * entries of the matrix are edges. branching/state.py says what the arrays and columns mean.
 *
 * What stays while the rows stay (lp_structure.c) is apart from what changes at every node (lp_columns.c).
 */
#ifndef REVIBRANCH_LP_GRAPH_H
#define REVIBRANCH_LP_GRAPH_H

#include <stdint.h>

#include "scip_api.h"

#define REVI_ECOLE_COLUMNS 19
#define REVI_ALL_COLUMNS 28
#define REVI_ROW_COLUMNS 5

/* What tells one row of the LP from another. SCIP reuses addresses, so the unique index stands for the row; sides and norm
 * are there because SCIP lets constraint handlers change them in place. */
typedef struct {
    int index;
    int n_entries;
    double lhs;
    double rhs;
    double constant;
    double norm;
    /* SCIP sorts a row's entries by column index when it first needs to, in place. A row that was sorted when it was read
     * stays as it is (-1); of another one, or one with columns of variables that left the problem, the order is kept, from
     * here on in the array of unsorted columns. */
    int64_t unsorted;
} revi_row_key;

/* n variables, r LP rows, m sides of rows, nnz edges. */
typedef struct {
    int n_columns; /* of a variable: REVI_ECOLE_COLUMNS or REVI_ALL_COLUMNS */
    int run;
    int n_variables, n_lp_rows, n_sides;
    int64_t n_edges, n_entries;  /* before the rows are read: upper bound of the edges, entries of all rows */
    double infinity, objective_norm;
    const SCIP_SOL *incumbent;   /* whose values are kept; the index tells solutions at one address apart (-1: none kept) */
    int incumbent_index;

    float *variable_features;    /* (n, n_columns) */
    float *row_features;         /* (m, 5) */
    int64_t *row_offsets;        /* (m + 1) */
    int32_t *edge_variables;     /* (nnz) */
    float *edge_values;          /* (nnz) */
    int64_t *variable_offsets;   /* (n + 1) */
    int32_t *edge_rows;          /* (nnz) */
    int64_t *edge_order;         /* (nnz) */

    SCIP_VAR **variables;        /* (n) as SCIP listed them when the matrix was read */
    revi_row_key *keys;          /* (r) */
    SCIP_COL **unsorted;         /* (entries of unsorted rows) */
    double *objective;           /* (n) */
    float *incumbent_values;     /* (n) */
    int32_t *column_indices;     /* (n) SCIP's index of the variable's column, or -1 */
    int32_t *cursor;             /* (n) */
} revi_lp_graph;

/* ---- lp_structure.c ---- */

/* Whether the matrix read last is still the LP's. */
int revi_lp_is_kept(const revi_lp_graph *graph, SCIP *scip);

/* Whether SCIP lists the variables that it listed when the matrix was read last. */
int revi_lp_same_variables(const revi_lp_graph *graph, SCIP *scip);

/* Read the rows' keys (memory for `keys` must be there) and count sides, edges and entries. */
void revi_lp_read_keys(revi_lp_graph *graph, SCIP *scip);

/* Read everything that stays while the rows stay. All other memory must be there. */
void revi_lp_read_structure(revi_lp_graph *graph, SCIP *scip);

/* ---- lp_columns.c ---- */

/* Write the columns that change at every node. */
void revi_lp_write_dynamic(revi_lp_graph *graph, SCIP *scip);

#endif

/* The part of the LP's graph that stays while the LP's rows stay: edges in both orders, static columns. */
#include "lp_graph.h"

#include <string.h>

static void read_key(SCIP_ROW *row, revi_row_key *key)
{
    key->index = scip_api.SCIProwGetIndex(row);
    key->n_entries = scip_api.SCIProwGetNNonz(row);
    key->lhs = scip_api.SCIProwGetLhs(row);
    key->rhs = scip_api.SCIProwGetRhs(row);
    key->constant = scip_api.SCIProwGetConstant(row);
    key->norm = scip_api.SCIProwGetNorm(row);
    key->unsorted = -1;
}

int revi_lp_same_variables(const revi_lp_graph *graph, SCIP *scip)
{
    return scip_api.SCIPgetNVars(scip) == graph->n_variables && scip_api.SCIPgetNRuns(scip) == graph->run &&
           scip_api.SCIPgetNActivePricers(scip) == 0 &&
           memcmp(scip_api.SCIPgetVars(scip), graph->variables, graph->n_variables * sizeof(SCIP_VAR *)) == 0;
}

int revi_lp_is_kept(const revi_lp_graph *graph, SCIP *scip)
{
    if (scip_api.SCIPgetNLPRows(scip) != graph->n_lp_rows || scip_api.SCIPgetObjNorm(scip) != graph->objective_norm ||
        !revi_lp_same_variables(graph, scip))
        return 0;
    SCIP_ROW **rows = scip_api.SCIPgetLPRows(scip);
    for (int i = 0; i < graph->n_lp_rows; ++i) {
        const revi_row_key *kept = &graph->keys[i];
        revi_row_key key;
        read_key(rows[i], &key);
        if (key.index != kept->index || key.n_entries != kept->n_entries || key.lhs != kept->lhs || key.rhs != kept->rhs ||
            key.constant != kept->constant || key.norm != kept->norm)
            return 0;
        if (kept->unsorted >= 0 &&
            memcmp(scip_api.SCIProwGetCols(rows[i]), graph->unsorted + kept->unsorted, key.n_entries * sizeof(SCIP_COL *)))
            return 0;
    }
    return 1;
}

void revi_lp_read_keys(revi_lp_graph *graph, SCIP *scip)
{
    SCIP_ROW **rows = scip_api.SCIPgetLPRows(scip);
    int64_t n_sides = 0;
    graph->n_edges = 0;
    graph->n_entries = 0;
    for (int i = 0; i < graph->n_lp_rows; ++i) {
        revi_row_key *key = &graph->keys[i];
        read_key(rows[i], key);
        int sides = (key->lhs > -graph->infinity) + (key->rhs < graph->infinity);
        n_sides += sides;
        graph->n_edges += (int64_t)sides * key->n_entries;
        graph->n_entries += key->n_entries;
    }
    graph->n_sides = (int)n_sides;
}

static void write_static_columns(revi_lp_graph *graph)
{
    double scale = graph->objective_norm > 0.0 ? graph->objective_norm : 1.0;
    float *out = graph->variable_features;
    for (int i = 0; i < graph->n_variables; ++i) {
        SCIP_VAR *variable = graph->variables[i];
        int kind = scip_api.SCIPvarGetType(variable); /* binary, integer, implied integer, continuous */
        int has_column = scip_api.SCIPvarGetStatus(variable) == REVI_VARSTATUS_COLUMN;
        graph->objective[i] = scip_api.SCIPvarGetObj(variable);
        graph->column_indices[i] = has_column ? scip_api.SCIPcolGetIndex(scip_api.SCIPvarGetCol(variable)) : -1;
        out[0] = (float)(graph->objective[i] / scale);
        for (int k = 0; k < 4; ++k)
            out[1 + k] = kind == k;
        out += graph->n_columns;
    }
}

/* Take down the edges of a row whose variables are all in the problem: how many each variable has, the row's product with the
 * objective. Returns whether the columns stand in the order of their indices, which no two share. Two sums, since one would
 * wait for itself at every entry. */
static int take_down(const revi_lp_graph *graph, const int32_t *positions, const double *values, int n, double *product)
{
    const int32_t *indices = graph->column_indices;
    const double *objective = graph->objective;
    int32_t *restrict cursor = graph->cursor;
    double even = 0.0, odd = 0.0;
    int last = -1, falls = 0, j = 0;
    for (; j + 1 < n; j += 2) {
        int p = positions[j], q = positions[j + 1];
        falls |= (last > indices[p]) | (indices[p] > indices[q]);
        last = indices[q];
        even += values[j] * objective[p];
        odd += values[j + 1] * objective[q];
        cursor[p] += 1;
        cursor[q] += 1;
    }
    if (j < n) {
        falls |= last > indices[positions[j]];
        even += values[j] * objective[positions[j]];
        cursor[positions[j]] += 1;
    }
    *product = even + odd;
    return !falls;
}

/* The same for a row with columns whose variables left the problem: they have no node to point at, and their edges go. */
static int take_down_some(const revi_lp_graph *graph, int32_t *positions, float *coefficients, const double *values, int n,
                          double *product)
{
    int kept = 0;
    *product = 0.0;
    for (int j = 0; j < n; ++j) {
        int position = positions[j];
        if (position < 0)
            continue;
        *product += values[j] * graph->objective[position];
        graph->cursor[position] += 1;
        coefficients[kept] = coefficients[j];
        positions[kept++] = position;
    }
    return kept;
}

/* Edges of the first side of a row, in the row's orientation, and the row's product with the objective. The calls lie in a
 * loop of their own, as no floating-point register outlives them. */
static int write_edges(revi_lp_graph *graph, SCIP_COL **columns, const double *values, revi_row_key *key, double sign,
                       int64_t *n_unsorted, int64_t edge, double *product)
{
    int32_t *positions = graph->edge_variables + edge;
    float *coefficients = graph->edge_values + edge;
    int (*position_of)(SCIP_COL *) = scip_api.SCIPcolGetVarProbindex;
    double norm = key->norm > 0.0 ? key->norm : 1.0;
    int n = key->n_entries, all = 0, sorted = 0;
    for (int j = 0; j < n; ++j) {
        positions[j] = position_of(columns[j]);
        all |= positions[j]; /* negative where one of them is */
        if (j % 8 == 0)      /* a line that the transposition reaches out of order: waiting for it there took half its time */
            __builtin_prefetch(graph->edge_order + edge + j, 1);
    }
    for (int j = 0; j < n; ++j)
        coefficients[j] = (float)(sign * values[j] / norm);
    if (all >= 0)
        sorted = take_down(graph, positions, values, n, product);
    else
        n = take_down_some(graph, positions, coefficients, values, n, product);
    if (!sorted) {
        key->unsorted = *n_unsorted;
        memcpy(graph->unsorted + *n_unsorted, columns, key->n_entries * sizeof(SCIP_COL *));
        *n_unsorted += key->n_entries;
    }
    return n;
}

/* The second side of a row: the first one's edges, turned round. */
static void copy_edges(revi_lp_graph *graph, int64_t first, int n, int64_t edge)
{
    for (int j = 0; j < n; ++j) {
        int position = graph->edge_variables[first + j];
        graph->edge_variables[edge + j] = position;
        graph->edge_values[edge + j] = -graph->edge_values[first + j];
        graph->cursor[position] += 1;
    }
}

static void write_rows(revi_lp_graph *graph, SCIP_ROW **rows)
{
    float *out = graph->row_features;
    int64_t *offset = graph->row_offsets;
    int64_t n_unsorted = 0;
    *offset = 0;
    memset(graph->cursor, 0, graph->n_variables * sizeof(int32_t)); /* edges of each variable, counted as they are written */
    for (int i = 0; i < graph->n_lp_rows; ++i) {
        revi_row_key *key = &graph->keys[i];
        double norm = key->norm > 0.0 ? key->norm : 1.0;
        double lengths = key->norm * graph->objective_norm, cosine = 0.0;
        int sides[2] = {key->lhs > -graph->infinity, key->rhs < graph->infinity};
        int n = -1;
        for (int which = 0; which < 2; ++which) {
            if (!sides[which])
                continue;
            double sign = which ? 1.0 : -1.0, side = which ? key->rhs : key->lhs;
            if (n < 0) {
                double product;
                n = write_edges(graph, scip_api.SCIProwGetCols(rows[i]), scip_api.SCIProwGetVals(rows[i]), key, sign, &n_unsorted,
                                *offset, &product);
                cosine = lengths > 1e-9 ? product / lengths : 0.0;
            } else {
                copy_edges(graph, *offset - n, n, *offset);
            }
            out[0] = (float)(sign * (side - key->constant) / norm);
            out[1] = (float)(sign * cosine);
            out += REVI_ROW_COLUMNS;
            offset[1] = offset[0] + n;
            ++offset;
        }
    }
    graph->n_edges = *offset;
}

/* The variable order of the edges, by counting: rows come out ascending within each variable. Row and place of an edge are
 * scattered as one number, since each line of memory that is reached out of order costs more than to part them after. */
static void transpose(revi_lp_graph *graph)
{
    const int64_t *row_offsets = graph->row_offsets;
    const int32_t *edge_variables = graph->edge_variables;
    int32_t *cursor = graph->cursor, *restrict edge_rows = graph->edge_rows;
    int64_t *restrict packed = graph->edge_order;
    int64_t n_sides = graph->n_sides, n_edges = graph->n_edges, first = 0;
    for (int i = 0; i < graph->n_variables; ++i) {
        int count = cursor[i];
        cursor[i] = (int32_t)first;
        graph->variable_offsets[i] = first;
        first += count;
    }
    graph->variable_offsets[graph->n_variables] = first;
    for (int64_t i = 0; i < n_sides; ++i)
        for (int64_t edge = row_offsets[i], end = row_offsets[i + 1]; edge < end; ++edge)
            packed[cursor[edge_variables[edge]]++] = i << 32 | edge;
    for (int64_t place = 0; place < n_edges; ++place) {
        uint64_t both = (uint64_t)packed[place]; /* unsigned, since that shift is one of a vector's on any machine */
        edge_rows[place] = (int32_t)(both >> 32);
        packed[place] = (int64_t)(both & 0xffffffff);
    }
}

void revi_lp_read_structure(revi_lp_graph *graph, SCIP *scip)
{
    memcpy(graph->variables, scip_api.SCIPgetVars(scip), graph->n_variables * sizeof(SCIP_VAR *));
    write_static_columns(graph);
    write_rows(graph, scip_api.SCIPgetLPRows(scip));
    transpose(graph);
}

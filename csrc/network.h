/* The whole branching network for one graph at a time: normalisation, embeddings, two half-convolutions, step embeddings,
 * decoder. float32, one thread, no allocation once the scratch memory has grown.
 *
 * Weights come folded (see gnn/native.py): each struct says what its layers read and write. D is the width.
 */
#ifndef REVIBRANCH_NETWORK_H
#define REVIBRANCH_NETWORK_H

#include <stdint.h>

#include "dense.h"

/* Input normalisation: column `place[c]` of the input, log-transformed where asked for, minus mean, times inverse scale,
 * clipped; NaN becomes 0 and, where flag[c] >= 0, sets column flag[c] of the output to 1. */
typedef struct {
    int n_columns;           /* columns read */
    int width;               /* columns written: those read, then the flags */
    const int *place;        /* (n_columns) */
    const int *logarithmic;  /* (n_columns) 0/1 */
    const int *flag;         /* (n_columns) column of the output, or -1 */
    const float *mean;       /* (n_columns) */
    const float *inverse_scale;
    float limit;
} revi_normalisation;

typedef struct {
    revi_layer source;  /* D -> D, centred, no bias needed (zeros) */
    revi_layer target;  /* D -> D, centred, with the edge values' mean in its bias */
    const float *edge;  /* (D), centred, divided by the edge values' deviation */
    const float *gamma; /* (D) */
    const float *beta;  /* (D) */
    float epsilon;
    revi_layer update1; /* [target, sum, degree] (2D + 1) -> D; the message's last layer and the sum's scale are in it */
    revi_layer update2; /* D -> D */
} revi_halfconv_weights;

typedef struct {
    int width;
    int heads;
    revi_normalisation variables, rows;
    revi_layer variables1, variables2; /* embeddings */
    revi_layer rows1, rows2;
    revi_halfconv_weights to_rows, to_variables;
    revi_layer query;        /* D -> D, divided by sqrt(D / heads) */
    revi_layer key, value;   /* D -> D */
    const float *null_token; /* (D) */
    revi_layer score1;       /* [candidate, attended] (2D) -> D; the answer's layer is in it */
    int classes;             /* 0: score2 gives the score */
    float class_distance;    /* between the centres of neighbouring classes; the first has 0 */
    revi_layer score2;       /* D -> 1, or D -> logits of the classes, padded to a multiple of 8 */
    int n_facts;
    revi_layer step1;        /* [chosen, mean, facts] (2D + n_facts) -> D, no ReLU */
    const float *step_child; /* (3, D): added for each child before the ReLU */
    revi_layer step2;        /* D -> D */
} revi_network;

/* Pointers into a BranchState. */
typedef struct {
    int64_t n_variables, n_rows, n_candidates;
    int variable_columns; /* columns of variable_features */
    int row_columns;
    const float *variable_features, *row_features;
    const int64_t *row_offsets;
    const int32_t *edge_variables;
    const float *edge_values;
    const int64_t *variable_offsets;
    const int32_t *edge_rows;
    const float *variable_edge_values; /* (nnz) edge values in variable order */
    const int32_t *candidates;
} revi_state;

/* Floats of scratch that a graph needs. */
int64_t revi_network_scratch(const revi_network *network, int64_t n_variables, int64_t n_rows, int64_t n_steps);

/* Embeddings of variables, (n, D) where `everything`, otherwise of the candidates only, (k, D).
 *
 * scratch: revi_network_scratch(...) floats. Room for the edges of all candidates, used only where not everything:
 * candidate_offsets (k + 1), candidate_sources and candidate_values (their number of edges). */
void revi_network_encode(const revi_network *network, const revi_state *state, int everything, float *scratch,
                         int64_t *candidate_offsets, int32_t *candidate_sources, float *candidate_values,
                         float *embeddings);

/* Scores (k) of candidates; with classes, minus the mean of their centres. `embeddings` (.., D): candidate i's stands in row places[i], or in row i where places is NULL.
 * memory (n_steps, D): revived steps, oldest first. */
void revi_network_decode(const revi_network *network, int64_t n_candidates, const float *embeddings,
                         const int32_t *places, int64_t n_steps, const float *memory, float *scratch, float *scores);

/* Steps (3, D) of a decision: embeddings (n, D), position of the chosen variable, facts (n_facts), and the sinusoidal
 * encoding of the depth (D). */
void revi_network_steps(const revi_network *network, int64_t n_variables, const float *embeddings, int64_t chosen,
                        const float *facts, const float *position, float *scratch, float *steps);

#endif

#include "network.h"

#include <math.h>
#include <string.h>

#include "halfconv.h"
#include "vector.h"

/* [target, sum, degree], padded to whole vectors: the input of a half-convolution's update. */
static int64_t update_stride(int width)
{
    return 2 * (int64_t)width + 8;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t revi_network_scratch(const revi_network *network, int64_t n_variables, int64_t n_rows, int64_t n_steps)
{
    const int64_t D = network->width;
    const int64_t most = larger(n_variables, n_rows);
    const int64_t encode = n_variables * (update_stride(network->width) + D)  /* variables' updates, sources */
                           + n_rows * (update_stride(network->width) + D)     /* rows' likewise */
                           + 2 * most * D                                     /* targets, sums */
                           + most * larger(larger(network->variables.width, network->rows.width), D);
    const int64_t decode = n_variables * (4 * D + network->score2.out) + (n_steps + 1) * (2 * D + 1);
    const int64_t step = 2 * D + network->n_facts + 4 * D;
    return larger(larger(encode, decode), step) + 64;
}

/* In loops without branches, so that they run on vectors; the few columns that need more are gone through one by one. */
REVI_DISPATCH static void normalise(const revi_normalisation *with, int64_t rows, const float *x, int64_t x_stride,
                                    float *restrict y)
{
    const int n = with->n_columns, width = with->width, *place = with->place;
    const float limit = with->limit, *mean = with->mean, *inverse_scale = with->inverse_scale;
    for (int64_t i = 0; i < rows; ++i) {
        for (int c = 0; c < n; ++c)
            y[i * width + c] = x[i * x_stride + place[c]];
        for (int c = n; c < width; ++c)
            y[i * width + c] = 0.0f;
    }
    for (int c = 0; c < n; ++c) {
        if (with->flag[c] >= 0)
            for (int64_t i = 0; i < rows; ++i)
                y[i * width + with->flag[c]] = y[i * width + c] != y[i * width + c] ? 1.0f : 0.0f;
        if (with->logarithmic[c])
            for (int64_t i = 0; i < rows; ++i) {
                const float value = y[i * width + c];
                if (value != 0.0f) /* most are zero, and the logarithm is the dearest step here */
                    y[i * width + c] = copysignf(log1pf(fabsf(value)), value);
            }
    }
    for (int64_t i = 0; i < rows; ++i)
        for (int c = 0; c < n; ++c) {
            const float value = (y[i * width + c] - mean[c]) * inverse_scale[c];
            const float clipped = value > limit ? limit : value < -limit ? -limit : value;
            y[i * width + c] = value != value ? 0.0f : clipped;
        }
}

/* Writes the sums and degrees into the updates of the targets, whose first D columns hold their embeddings already. */
static void sum_messages(const revi_halfconv_weights *half, int width, int64_t n_targets, int64_t n_sources,
                         const int64_t *offsets, const int32_t *sources, const float *values, const float *source,
                         float *updates, float *target, float *sums)
{
    const int64_t stride = update_stride(width);
    const revi_graph graph = {n_targets, n_sources, offsets, sources, width};
    revi_dense(&half->target, n_targets, updates, stride, target, width, 0);
    revi_halfconv_forward_f32(&graph, values, source, target, half->edge, half->gamma, half->beta, half->epsilon, sums);
    for (int64_t i = 0; i < n_targets; ++i) {
        memcpy(updates + i * stride + width, sums + i * width, (size_t)width * sizeof(float));
        updates[i * stride + 2 * width] = (float)(offsets[i + 1] - offsets[i]);
    }
}

void revi_network_encode(const revi_network *network, const revi_state *state, int everything, float *scratch,
                         int64_t *candidate_offsets, int32_t *candidate_sources, float *candidate_values,
                         float *embeddings)
{
    const int D = network->width;
    const int64_t stride = update_stride(D), n = state->n_variables, m = state->n_rows;
    const int64_t most = larger(n, m);
    float *variable_updates = scratch;
    float *row_updates = variable_updates + n * stride;
    float *variable_sources = row_updates + m * stride;
    float *row_sources = variable_sources + n * D;
    float *target = row_sources + m * D;
    float *sums = target + most * D;
    float *inputs = sums + most * D; /* normalised features, then hidden layers of width D */

    /* Embeddings, written where the updates read them. */
    normalise(&network->variables, n, state->variable_features, state->variable_columns, inputs);
    revi_dense(&network->variables1, n, inputs, network->variables.width, target, D, 1);
    revi_dense(&network->variables2, n, target, D, variable_updates, stride, 1);
    normalise(&network->rows, m, state->row_features, state->row_columns, inputs);
    revi_dense(&network->rows1, m, inputs, network->rows.width, target, D, 1);
    revi_dense(&network->rows2, m, target, D, row_updates, stride, 1);

    revi_dense(&network->to_rows.source, n, variable_updates, stride, variable_sources, D, 0);
    sum_messages(&network->to_rows, D, m, n, state->row_offsets, state->edge_variables, state->edge_values,
                 variable_sources, row_updates, target, sums);
    revi_dense(&network->to_rows.update1, m, row_updates, stride, inputs, D, 1);
    revi_dense(&network->to_rows.update2, m, inputs, D, target, D, 1);
    revi_dense(&network->to_variables.source, m, target, D, row_sources, D, 0);

    const int64_t *offsets = state->variable_offsets;
    const int32_t *edge_rows = state->edge_rows;
    const float *values = state->variable_edge_values;
    int64_t n_targets = n;
    if (!everything) {
        /* Only candidates are scored: the others' second half-convolution would be thrown away. */
        int64_t edge = 0;
        n_targets = state->n_candidates;
        candidate_offsets[0] = 0;
        for (int64_t i = 0; i < n_targets; ++i) {
            const int32_t variable = state->candidates[i];
            const int64_t first = offsets[variable], count = offsets[variable + 1] - first;
            memcpy(candidate_sources + edge, edge_rows + first, (size_t)count * sizeof(int32_t));
            memcpy(candidate_values + edge, values + first, (size_t)count * sizeof(float));
            edge += count;
            candidate_offsets[i + 1] = edge;
            /* row_updates is free by now, and wide enough only by chance: the candidates get the variables' own place */
            memcpy(variable_sources + i * D, variable_updates + variable * stride, (size_t)D * sizeof(float));
        }
        for (int64_t i = 0; i < n_targets; ++i)
            memcpy(variable_updates + i * stride, variable_sources + i * D, (size_t)D * sizeof(float));
        offsets = candidate_offsets;
        edge_rows = candidate_sources;
        values = candidate_values;
    }
    sum_messages(&network->to_variables, D, n_targets, m, offsets, edge_rows, values, row_sources, variable_updates, target,
                 sums);
    revi_dense(&network->to_variables.update1, n_targets, variable_updates, stride, inputs, D, 1);
    revi_dense(&network->to_variables.update2, n_targets, inputs, D, embeddings, D, 1);
}

/* Attention of one query over all keys; logits has room for n_keys. */
static void attend(const revi_network *network, const float *query, int64_t n_keys, const float *keys, const float *values,
                   float *logits, float *answer)
{
    const int D = network->width, size = D / network->heads;
    for (int head = 0; head < network->heads; ++head) {
        const float *q = query + head * size;
        float largest = -INFINITY, total = 0.0f;
        for (int64_t t = 0; t < n_keys; ++t) {
            const float *key = keys + t * D + head * size;
            float logit = 0.0f;
            for (int j = 0; j < size; ++j)
                logit += q[j] * key[j];
            logits[t] = logit;
            largest = logit > largest ? logit : largest;
        }
        for (int j = 0; j < size; ++j)
            answer[head * size + j] = 0.0f;
        for (int64_t t = 0; t < n_keys; ++t) {
            const float weight = expf(logits[t] - largest);
            const float *value = values + t * D + head * size;
            total += weight;
            for (int j = 0; j < size; ++j)
                answer[head * size + j] += weight * value[j];
        }
        for (int j = 0; j < size; ++j)
            answer[head * size + j] /= total;
    }
}

/* Minus the mean class centre under the softmax of the logits. */
static float class_score(const revi_network *network, const float *logits)
{
    float largest = logits[0], total = 0.0f, sum = 0.0f;
    for (int c = 1; c < network->classes; ++c)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int c = 0; c < network->classes; ++c) {
        const float weight = expf(logits[c] - largest);
        total += weight;
        sum += weight * (float)c;
    }
    return -network->class_distance * sum / total;
}

void revi_network_decode(const revi_network *network, int64_t n_candidates, const float *embeddings,
                         const int32_t *places, int64_t n_steps, const float *memory, float *scratch, float *scores)
{
    const int D = network->width;
    const int64_t n_keys = n_steps + 1;
    float *pairs = scratch; /* [candidate, attended] */
    float *queries = pairs + n_candidates * 2 * D;
    float *hidden = queries + n_candidates * D;
    float *classes = hidden + n_candidates * D; /* logits of the classes */
    float *keys = classes + n_candidates * network->score2.out;
    float *values = keys + n_keys * D;
    float *logits = values + n_keys * D;

    for (int64_t i = 0; i < n_candidates; ++i)
        memcpy(pairs + i * 2 * D, embeddings + (places == NULL ? i : places[i]) * D, (size_t)D * sizeof(float));
    revi_dense(&network->key, 1, network->null_token, D, keys, D, 0);
    revi_dense(&network->value, 1, network->null_token, D, values, D, 0);
    if (n_steps > 0) {
        revi_dense(&network->key, n_steps, memory, D, keys + D, D, 0);
        revi_dense(&network->value, n_steps, memory, D, values + D, D, 0);
        revi_dense(&network->query, n_candidates, pairs, 2 * D, queries, D, 0);
    }
    for (int64_t i = 0; i < n_candidates; ++i) {
        if (n_steps > 0)
            attend(network, queries + i * D, n_keys, keys, values, logits, pairs + i * 2 * D + D);
        else /* one key: whatever the question, its value is the answer */
            memcpy(pairs + i * 2 * D + D, values, (size_t)D * sizeof(float));
    }
    revi_dense(&network->score1, n_candidates, pairs, 2 * D, hidden, D, 1);
    if (network->classes > 0) {
        revi_dense(&network->score2, n_candidates, hidden, D, classes, network->score2.out, 0);
        for (int64_t i = 0; i < n_candidates; ++i)
            scores[i] = class_score(network, classes + i * network->score2.out);
        return;
    }
    for (int64_t i = 0; i < n_candidates; ++i) {
        float score = network->score2.bias[0];
        for (int j = 0; j < D; ++j)
            score += hidden[i * D + j] * network->score2.weight[j];
        scores[i] = score;
    }
}

void revi_network_steps(const revi_network *network, int64_t n_variables, const float *embeddings, int64_t chosen,
                        const float *facts, const float *position, float *scratch, float *steps)
{
    const int D = network->width;
    float *input = scratch; /* [chosen, mean, facts] */
    float *shared = input + 2 * D + network->n_facts;
    float *hidden = shared + D; /* (3, D) */

    memcpy(input, embeddings + chosen * D, (size_t)D * sizeof(float));
    for (int j = 0; j < D; ++j)
        input[D + j] = 0.0f;
    for (int64_t i = 0; i < n_variables; ++i)
        for (int j = 0; j < D; ++j)
            input[D + j] += embeddings[i * D + j];
    for (int j = 0; j < D; ++j)
        input[D + j] /= (float)(n_variables > 0 ? n_variables : 1);
    memcpy(input + 2 * D, facts, (size_t)network->n_facts * sizeof(float));
    revi_dense(&network->step1, 1, input, 0, shared, D, 0);
    for (int child = 0; child < 3; ++child)
        for (int j = 0; j < D; ++j) {
            const float value = shared[j] + network->step_child[child * D + j];
            hidden[child * D + j] = value < 0.0f ? 0.0f : value; /* NaN stays */
        }
    revi_dense(&network->step2, 3, hidden, D, steps, D, 0);
    for (int child = 0; child < 3; ++child)
        for (int j = 0; j < D; ++j)
            steps[child * D + j] += position[j];
}

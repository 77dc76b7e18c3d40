// Parameters of the attention kernels.
#pragma once
#include "device/parameters.h"

// What is added to the scores.
enum AttentionMask {
  ATTENTION_MASK_NONE = 0,
  ATTENTION_MASK_CAUSAL = 1,          // Minus infinity for keys after the query.
  ATTENTION_MASK_RELATIVE_BIAS = 2,   // A bias by relative position.
};

enum AttentionSizes {
  ATTENTION_DISTANCES = 128,       // From this distance on T5's bias no longer changes.
  ATTENTION_STATISTICS_TILE = 32,  // The statistics of a stream are padded to a multiple of this many queries.
};

// One stream of tokens; an absent second stream has none.
typedef struct AttentionStream {
  DEVICE_POINTER(const bf16) qkv;   // [b, tokens, columns].
  DEVICE_POINTER(bf16) out;         // O, [b, tokens, heads * head_dim]; null if the stream asks nothing.
  uint32_t tokens;                  // Tokens of a sample.
  uint32_t columns;                 // Columns of qkv.
  uint32_t q;                       // First column of the queries.
  uint32_t k;                       // First column of the keys.
  uint32_t v;                       // First column of the values.
  uint32_t asks;                    // 1 if it has queries.
  uint32_t first_query;             // Place of its first query among those of all streams, in lse.
  uint32_t first_statistic;         // The same among the statistics, where every stream is padded.
} AttentionStream;

// O and log-sum-exp.
typedef struct AttentionParams {
  AttentionStream streams[2];
  DEVICE_POINTER(float) lse;               // [b, heads, queries].
  DEVICE_POINTER(const bf16) bias_table;   // [buckets, heads]; null without bias.
  DEVICE_POINTER(const int32_t) ids;       // [b, tokens], 0 is padding; null: nothing is.
  uint32_t heads;
  uint32_t head_dim;
  uint32_t queries;                        // Of all streams.
  uint32_t mask;                           // An AttentionMask.
  float scale;
  uint32_t aligned;                        // 1 if every head's part of a row starts at a multiple of sixteen bytes.
  uint8_t bucket_behind[ATTENTION_DISTANCES];   // Bucket of a key this far before the query, or at it.
  uint8_t bucket_ahead[ATTENTION_DISTANCES];    // Bucket of a key this far after the query.
} AttentionParams;

// The gradients of one stream.
typedef struct AttentionStreamGradient {
  DEVICE_POINTER(const bf16) dout;   // [b, tokens, heads * head_dim]; null if the stream asks nothing.
  DEVICE_POINTER(bf16) dqkv;         // [b, tokens, columns].
} AttentionStreamGradient;

// dQ, dK and dV.
typedef struct AttentionGradientParams {
  AttentionStream streams[2];
  AttentionStreamGradient gradients[2];
  DEVICE_POINTER(const float) lse;    // [b, heads, queries].
  DEVICE_POINTER(float) statistics;   // [b, heads, statistics_count, 2]: lse * log2(e), delta.
  uint32_t heads;
  uint32_t head_dim;
  uint32_t queries;                   // Of all streams.
  uint32_t statistics_count;          // The same, every stream padded to whole tiles.
  float scale;
  uint32_t batch;
  uint32_t aligned;                   // As in the forward pass.
  uint32_t reserved;
} AttentionGradientParams;

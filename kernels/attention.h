// Parameters of the attention kernels.
#pragma once
#include "device/parameters.h"

// One stream of tokens; an absent second stream has no tokens.
typedef struct AttentionStream {
  DEVICE_POINTER(const bf16) qkv;   // [b, tokens, columns]
  DEVICE_POINTER(bf16) out;         // [b, tokens, heads * head_dim]; null if the stream asks nothing
  uint32_t tokens;
  uint32_t columns;
  uint32_t q, k, v;                 // first columns
  uint32_t asks;                    // 1 if it has queries
  uint32_t first_query;             // of all queries, in lse
  uint32_t first_statistic;         // of all queries' statistics, where every stream is padded
} AttentionStream;

// What is added to the scores.
#define ATTENTION_MASK_NONE 0
#define ATTENTION_MASK_CAUSAL 1
#define ATTENTION_MASK_RELATIVE_BIAS 2

// Distances from which on T5's bias no longer changes.
#define ATTENTION_DISTANCES 128

typedef struct AttentionParams {
  AttentionStream streams[2];
  DEVICE_POINTER(float) lse;         // [b, heads, queries]
  DEVICE_POINTER(const bf16) bias_table;   // [buckets, heads]; null without bias
  DEVICE_POINTER(const int32_t) ids;       // [b, tokens], 0 is padding; null: nothing is
  uint32_t heads;
  uint32_t head_dim;
  uint32_t queries;                  // of all streams
  uint32_t mask;
  float scale;
  uint32_t aligned;                  // rows of heads start at multiples of sixteen bytes in every bf16 operand
  uint8_t bucket_behind[ATTENTION_DISTANCES];   // bias bucket of a key this far before the query, or at it
  uint8_t bucket_ahead[ATTENTION_DISTANCES];    // and after it
} AttentionParams;

// The gradients of one stream.
typedef struct AttentionStreamGradient {
  DEVICE_POINTER(const bf16) dout;   // [b, tokens, heads * head_dim]; null if the stream asks nothing
  DEVICE_POINTER(bf16) dqkv;         // [b, tokens, columns]
} AttentionStreamGradient;

typedef struct AttentionGradientParams {
  AttentionStream streams[2];
  AttentionStreamGradient gradients[2];
  DEVICE_POINTER(float) lse;          // [b, heads, queries]
  DEVICE_POINTER(float) statistics;   // [b, heads, statistics, 2]: lse * log2(e), delta
  uint32_t heads;
  uint32_t head_dim;
  uint32_t queries;                   // of all streams
  uint32_t statistics_count;          // of one head: every stream's queries, padded to whole tiles
  float scale;
  uint32_t batch;
  uint32_t aligned;                   // as above
  uint32_t reserved;
} AttentionGradientParams;

// Queries that the statistics of a stream are padded to a multiple of.
#define ATTENTION_STATISTICS_TILE 32

// Parameters of the attention kernels whose activations stay f32.
#pragma once
#include "attention.h"
#include "device/parameters.h"

// One stream of tokens, as AttentionStream.
typedef struct AttentionExactStream {
  DEVICE_POINTER(const float) qkv;   // [b, tokens, columns].
  DEVICE_POINTER(float) out;         // O, [b, tokens, heads * head_dim]; null if the stream asks nothing.
  uint32_t tokens;                   // Tokens of a sample.
  uint32_t columns;                  // Columns of qkv.
  uint32_t q;                        // First column of the queries.
  uint32_t k;                        // First column of the keys.
  uint32_t v;                        // First column of the values.
  uint32_t asks;                     // 1 if it has queries.
  uint32_t first_query;              // Place of its first query among those of all streams, in lse.
  uint32_t reserved;
} AttentionExactStream;

// O and log-sum-exp.
typedef struct AttentionExactParams {
  AttentionExactStream streams[2];
  DEVICE_POINTER(float) lse;                    // [b, heads, queries].
  DEVICE_POINTER(const bf16) bias_table;        // [buckets, heads]; null without bias, or where it is f32.
  DEVICE_POINTER(const float) bias_table_f32;   // The same.
  DEVICE_POINTER(const int32_t) ids;            // [b, tokens], 0 is padding; null: nothing is.
  uint32_t heads;
  uint32_t head_dim;
  uint32_t queries;                             // Of all streams.
  uint32_t mask;                                // An AttentionMask.
  float scale;
  uint32_t aligned;                             // 1 if every head's part of a row starts at a multiple of sixteen bytes.
  uint8_t bucket_behind[ATTENTION_DISTANCES];   // Bucket of a key this far before the query, or at it.
  uint8_t bucket_ahead[ATTENTION_DISTANCES];    // Bucket of a key this far after the query.
} AttentionExactParams;

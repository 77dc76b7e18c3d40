// AdamW with moments in 8 bits. A warp has a block of 256 elements that share a scale, eight a lane: it decodes the
// moments, does the step in f32, finds the new scales among its lanes, and codes the moments again. Codes lie eight
// bytes a lane, and no warp waits for another once the maps are in shared memory.
#include "adamw.h"
#include "adamw_step.cuh"
#include "block8.cuh"
#include "device/device.cuh"

namespace adamw {

template <typename T>
using Part = Vector<T, WIDTH>;

// The block's largest element by magnitude; of two that differ in sign, the positive one.
DEVICE float block_scale(const Part<float>& values) {
  float highest = 0.0f, deepest = 0.0f;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    highest = math::max(highest, values[i]);
    deepest = math::max(deepest, -values[i]);
  }
  highest = warp::max(highest);
  deepest = warp::max(deepest);
  return highest >= deepest ? highest : -deepest;
}

DEVICE Part<float> decode(const block8::Table& table, const Part<uint8_t>& codes, float scale) {
  Part<float> values;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) values[i] = table.entries[codes[i]] * scale;
  return values;
}

// Codes the warp's block, and writes the codes and the scale.
template <typename Map>
DEVICE void encode(uint8_t* codes, float* scale_of_block, const block8::Table& table,
                              const Part<float>& values) {
  const float scale = block_scale(values);
  Part<uint8_t> coded;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    coded[i] = uint8_t(block8::code<Map>(table, scale == 0.0f ? 0.0f : values[i] / scale));
  }
  coded.store(codes);
  if (warp::lane() == 0) *scale_of_block = scale;
}

// The step on the block at `first`.
DEVICE void step_block(const AdamWBlock8Params& p, const Step& step, const block8::Table& map1,
                                  const block8::Table& map2, uint64_t first) {
  const uint64_t at = first + warp::lane() * WIDTH, block = first / ADAMW_BLOCK;
  Part<float> gradients, parameters;
  Part<uint8_t> codes1, codes2;
  gradients.load(p.gradients + at);
  parameters.load(p.parameters + at);
  codes1.load(p.codes1 + at);
  codes2.load(p.codes2 + at);
  Part<float> moment1 = decode(map1, codes1, p.scales1[block]);
  Part<float> moment2 = decode(map2, codes2, p.scales2[block]);
  Part<bf16> working;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    const Element e = step({parameters[i], moment1[i], moment2[i]}, gradients[i]);
    parameters[i] = e.p, moment1[i] = e.m, moment2[i] = e.v;
    working[i] = bf16(e.p);
  }
  parameters.store(p.parameters + at);
  if (p.working) working.store(p.working + at);
  // Every lane has read the scales.
  warp::sync();
  encode<block8::Signed>(p.codes1 + at, p.scales1 + block, map1, moment1);
  encode<block8::Unsigned>(p.codes2 + at, p.scales2 + block, map2, moment2);
}

}  // namespace adamw

KERNEL(adamw_block8, AdamWBlock8Params, adamw::THREADS) {
  SHARED(block8::Table, maps, 2);
  block8::fill<block8::Signed>(maps[0]);
  block8::fill<block8::Unsigned>(maps[1]);
  block::sync();
  const adamw::Step step(p.decay, *p.state);
  constexpr int WARPS = adamw::THREADS / 32;
  const uint64_t first_block = (uint64_t(grid::block_x()) * ADAMW_BLOCKS_A_WARP) * WARPS + warp::index();
  for (int i = 0; i < ADAMW_BLOCKS_A_WARP; ++i) {
    const uint64_t first = (first_block + i * WARPS) * ADAMW_BLOCK;
    if (first < p.elements) adamw::step_block(p, step, maps[0], maps[1], first);
  }
}

// Moments in 8 bits: a code says which entry of a map of 256 the quotient of value and block scale is nearest to. The
// maps are those of src/kernels/adamw/block8.rs, bit for bit.
//
// An entry above 0 is the middle of one of 2^n equal parts of a decade of 0.1 to 1 (below 1, seven decades); the last
// one is 1. Codes count entries in ascending order, so the code of a quotient is the number of limits (middles between
// neighbours) below it. It is guessed from the decade and then corrected by the limits beside the guess.
#pragma once
#include "device/device.cuh"

namespace block8 {

constexpr int ENTRIES = 256;
constexpr int DECADES = 7;

// For first moments; the largest element of a block, by magnitude, is its scale, with its sign.
struct Signed {
  static constexpr int ZERO = 127;   // the code of 0
  static constexpr int PARTS = 1;    // of the lowest decade
};

// For second moments: none but 0 becomes 0, lest the next update explodes.
struct Unsigned {
  static constexpr int ZERO = 0;
  static constexpr int PARTS = 2;
};

struct Table {
  float entries[ENTRIES];
  float limits[ENTRIES];
};

// Entry `index` above zero, from 1 on. Numerator and denominator are exact in f32, and so is the last factor.
template <typename Map>
DEVICE float entry_above_zero(int index) {
  if (index == ENTRIES - 1 - Map::ZERO) return 1.0f;
  int decade = 0, parts = Map::PARTS, first = 1, fives = 78125;  // 5^7
  while (index >= first + parts) first += parts, parts *= 2, ++decade, fives /= 5;
  const float numerator = float(2 * parts + 18 * (index - first) + 9);
  // 20 parts 10^(6 - decade) = 5^(7 - decade) 2^(8 - decade) parts
  return numerator / float(fives) / float((256 >> decade) * parts);
}

template <typename Map>
DEVICE float entry(int code) {
  if (code == Map::ZERO) return 0.0f;
  return code > Map::ZERO ? entry_above_zero<Map>(code - Map::ZERO) : -entry_above_zero<Map>(Map::ZERO - code);
}

// Fills a table in shared memory; all threads of the block take part and synchronise before they use it.
template <typename Map>
DEVICE void fill(Table& table) {
  for (int code = block::thread(); code < ENTRIES; code += block::threads()) {
    const float below = entry<Map>(code);
    table.entries[code] = below;
    if (code + 1 == ENTRIES) continue;
    const bool keeps_from_zero = Map::ZERO == 0 && code == 0;
    table.limits[code] = keeps_from_zero ? 0.0f : (below + entry<Map>(code + 1)) * 0.5f;
  }
}

// The code of a quotient.
template <typename Map>
DEVICE int code(const Table& table, float quotient) {
  constexpr float BELOW[DECADES] = {0.0f, 1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f};
  constexpr float UNIT[DECADES] = {1e6f, 1e5f, 1e4f, 1e3f, 1e2f, 1e1f, 1.0f};
  const float x = math::abs(quotient);
  int parts = Map::PARTS;
  float unit = UNIT[0];
#pragma unroll
  for (int decade = 1; decade < DECADES; ++decade) {
    if (x > BELOW[decade]) parts = Map::PARTS << decade, unit = UNIT[decade];
  }
  const float part = math::min(math::max((x * unit - 0.1f) * float(parts) / 0.9f, 0.0f), float(parts - 1));
  const int above = parts - Map::PARTS + 1 + int(part);
  int code = quotient < 0.0f ? Map::ZERO - above : Map::ZERO + above;
  while (code + 1 < ENTRIES && table.limits[code] < quotient) ++code;
  while (code > 0 && !(table.limits[code - 1] < quotient)) --code;
  return code;
}

}  // namespace block8

// Which tile of which problem a block computes.
//
// Tiles of one problem are numbered in bands of BAND rows of tiles, column by column inside a band: the blocks that
// run at one time then share few rows of A and few of B, which stay in the second-level cache.
#pragma once
#include "device/device.cuh"
#include "gemm.h"

namespace tile_schedule {

constexpr uint32_t BAND = 8;

struct TileCoordinates {
  uint32_t problem;
  uint32_t m, n;  // in tiles
};

DEVICE TileCoordinates locate(const GemmParams& p, uint32_t block) {
  uint32_t problem = 0;
  while (problem + 1 < p.num_problems && block >= p.problems[problem + 1].first_tile) ++problem;
  const GemmProblem& shape = p.problems[problem];
  const uint32_t tile = block - shape.first_tile;
  const uint32_t band = tile / (BAND * shape.tiles_n);
  const uint32_t within = tile % (BAND * shape.tiles_n);
  const uint32_t left = shape.tiles_m - band * BAND;
  const uint32_t height = left < BAND ? left : BAND;
  return {problem, band * BAND + within % height, within / height};
}

}  // namespace tile_schedule

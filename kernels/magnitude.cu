// DoRA's scale of every output, and the gradient of the magnitudes. A warp has a row of the weight.
#include "magnitude.h"
#include "rows.cuh"

template <class Row>
DEVICE void scale_rows(const MagnitudeScaleParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const uint64_t offset = uint64_t(index) * p.columns;
  const auto weight = row.stream(p.weight + offset);
  const float mean =
      p.change ? row.mean([](float w, float c) { return (w + c) * (w + c); }, weight, row.stream(p.change + offset))
               : row.mean([](float w) { return w * w; }, weight);
  const float norm = math::sqrt(mean * float(p.columns));
  if (warp::lane() == 0) {
    p.norm[index] = norm;
    p.scale[index] = bf16(float(p.magnitude[index]) / norm);
  }
}

KERNEL(magnitude_scale, MagnitudeScaleParams, rows::THREADS) {
  if (p.aligned) {
    scale_rows<rows::Streamed<8>>(p);
  } else {
    scale_rows<rows::Streamed<1>>(p);
  }
}

KERNEL(magnitude_gradient, MagnitudeGradientParams, rows::THREADS) {
  const uint32_t index = grid::block_x() * rows::THREADS + block::thread();
  if (index >= p.rows) return;
  const float gradient = p.dscale[index] / p.norm[index];
  p.dmagnitude[index] = p.accumulates ? p.dmagnitude[index] + gradient : gradient;
}

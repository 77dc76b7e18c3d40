// LayerNorm with gain and bias: y = (x - mean) / sqrt(variance + epsilon) gain + bias. A warp has a row, in registers
// up to 2560 columns.
#include "layer_norm_affine.h"
#include "rows.cuh"

template <class Row>
DEVICE void normalise(const LayerNormAffineParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const uint64_t offset = uint64_t(index) * p.columns;
  const auto x = row.keep(p.x + offset);
  const auto s = rows::statistics(row, x, p.epsilon);
  const auto affine = [=](float x, float gain, float bias) { return (x - s.mean) * s.rstd * gain + bias; };
  row.write(p.y + offset, affine, x, row.stream(p.gain), row.stream(p.bias));
}

KERNEL(layer_norm_affine_512, LayerNormAffineParams, rows::THREADS) { normalise<rows::Held<512>>(p); }
KERNEL(layer_norm_affine_1536, LayerNormAffineParams, rows::THREADS) { normalise<rows::Held<1536>>(p); }
KERNEL(layer_norm_affine_2560, LayerNormAffineParams, rows::THREADS) { normalise<rows::Held<2560>>(p); }
KERNEL(layer_norm_affine_any, LayerNormAffineParams, rows::THREADS) {
  if (p.aligned) {
    normalise<rows::Streamed<8>>(p);
  } else {
    normalise<rows::Streamed<1>>(p);
  }
}

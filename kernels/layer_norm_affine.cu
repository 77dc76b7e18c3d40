// LayerNorm with gain and bias: y = (x - mean) / sqrt(variance + epsilon) gain + bias. A warp has a row, in registers
// up to 2560 columns.
#include "layer_norm_affine.h"
#include "rows.cuh"

template <typename T, class Row>
DEVICE void normalise(const LayerNormAffineParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const uint64_t offset = uint64_t(index) * p.columns;
  const auto x = row.keep(static_cast<const T*>(p.x) + offset);
  const auto s = rows::statistics(row, x, p.epsilon);
  const auto affine = [=](float x, float gain, float bias) { return (x - s.mean) * s.rstd * gain + bias; };
  row.write(static_cast<T*>(p.y) + offset, affine, x, row.stream(p.gain), row.stream(p.bias));
}

KERNEL(layer_norm_affine_512, LayerNormAffineParams, rows::THREADS) { normalise<bf16, rows::Held<512>>(p); }
KERNEL(layer_norm_affine_1536, LayerNormAffineParams, rows::THREADS) { normalise<bf16, rows::Held<1536>>(p); }
KERNEL(layer_norm_affine_2560, LayerNormAffineParams, rows::THREADS) { normalise<bf16, rows::Held<2560>>(p); }
KERNEL(layer_norm_affine_any, LayerNormAffineParams, rows::THREADS) {
  if (p.aligned) {
    normalise<bf16, rows::Streamed<8>>(p);
  } else {
    normalise<bf16, rows::Streamed<1>>(p);
  }
}
KERNEL(layer_norm_affine_any_f32, LayerNormAffineParams, rows::THREADS) {
  if (p.aligned) {
    normalise<float, rows::Streamed<4>>(p);
  } else {
    normalise<float, rows::Streamed<1>>(p);
  }
}

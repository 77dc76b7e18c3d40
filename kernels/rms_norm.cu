// RMSNorm of whole rows: y = x gain / sqrt(mean(x^2) + epsilon). A warp has a row, in registers up to 2560 columns.
#include "rms_norm.h"
#include "rows.cuh"

template <typename T, class Row>
DEVICE void normalise(const RmsNormParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const uint64_t offset = uint64_t(index) * p.columns;
  const auto x = row.keep(static_cast<const T*>(p.x) + offset);
  const float r = rows::reciprocal_rms(row, x, p.epsilon);
  row.write(static_cast<T*>(p.y) + offset, [=](float x, float gain) { return x * r * gain; }, x, row.stream(p.gain));
}

KERNEL(rms_norm_512, RmsNormParams, rows::THREADS) { normalise<bf16, rows::Held<512>>(p); }
KERNEL(rms_norm_1536, RmsNormParams, rows::THREADS) { normalise<bf16, rows::Held<1536>>(p); }
KERNEL(rms_norm_2560, RmsNormParams, rows::THREADS) { normalise<bf16, rows::Held<2560>>(p); }
KERNEL(rms_norm_any, RmsNormParams, rows::THREADS) {
  if (p.aligned) {
    normalise<bf16, rows::Streamed<8>>(p);
  } else {
    normalise<bf16, rows::Streamed<1>>(p);
  }
}
KERNEL(rms_norm_any_f32, RmsNormParams, rows::THREADS) {
  if (p.aligned) {
    normalise<float, rows::Streamed<4>>(p);
  } else {
    normalise<float, rows::Streamed<1>>(p);
  }
}

// LayerNorm without affine, then modulation: with xhat = (x - mean) rstd, y = xhat (1 + scale) + shift.
//
// With g = dy (1 + scale), dx = rstd (g - mean(g) - xhat mean(g xhat)), where the means share a pass. Shift and scale
// are those of the row's sample; d shift sums dy, and d scale dy xhat, over the sample's rows. A warp has a row, in
// registers up to 2560 columns, in the narrowest form that holds it; `any` takes every other row.
#include "column_sums.cuh"
#include "layer_norm.h"
#include "rows.cuh"

constexpr float EPSILON = 1e-6f;

template <typename T, class Row>
DEVICE void modulate(const LayerNormModulateParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const uint64_t offset = uint64_t(index) * p.columns;
  const uint64_t sample = index / p.tokens * p.modulation.stride;
  const auto x = row.keep(static_cast<const T*>(p.x) + offset);
  const auto s = rows::statistics(row, x, EPSILON);
  const auto modulated = [=](float x, float shift, float scale) {
    return (x - s.mean) * s.rstd * (1.0f + scale) + shift;
  };
  row.write(p.y + offset, modulated, x, row.stream(p.modulation.shift + sample),
            row.stream(p.modulation.scale + sample));
}

template <class Row>
DEVICE void modulate_gradient(const LayerNormModulateGradientParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const uint64_t offset = uint64_t(index) * p.columns;
  const auto x = row.keep(p.x + offset);
  const auto dy = row.keep(p.dy + offset);
  const auto scale = row.stream(p.modulation.scale + index / p.tokens * p.modulation.stride);
  const auto s = rows::statistics(row, x, EPSILON);
  const auto terms = [=](float x, float dy, float scale) {
    const float g = dy + dy * scale;
    return rows::Pair{g, g * (x - s.mean)};
  };
  const auto [through, along] = row.means(terms, x, dy, scale);
  const float offset_of_all = s.rstd * through;
  const float slope = s.rstd * s.rstd * s.rstd * along;
  const auto gradient = [=](float x, float dy, float scale) {
    return (dy + dy * scale) * s.rstd - ((x - s.mean) * slope + offset_of_all);
  };
  const auto more = [=](float x, float dy, float scale, float dx) { return dx + gradient(x, dy, scale); };
  if (p.accumulates) {
    row.write(p.dx + offset, more, x, dy, scale, row.stream(p.dx + offset));
  } else {
    row.write(p.dx + offset, gradient, x, dy, scale);
  }
}

template <class Row>
DEVICE void write_statistics(const LayerNormStatisticsParams& p) {
  const uint32_t index = rows::index<Row::LANES>();
  if (index >= p.rows) return;
  const Row row(p.columns);
  const auto s = rows::statistics(row, row.keep(p.x + uint64_t(index) * p.columns), EPSILON);
  if (warp::lane() == 0) {
    p.statistics[2 * uint64_t(index)] = s.mean;
    p.statistics[2 * uint64_t(index) + 1] = s.rstd;
  }
}

template <typename T>
DEVICE void modulate_any(const LayerNormModulateParams& p) {
  if (p.aligned) {
    modulate<T, rows::Streamed<8>>(p);
  } else {
    modulate<T, rows::Streamed<1>>(p);
  }
}

KERNEL(layer_norm_modulate_512, LayerNormModulateParams, rows::THREADS) { modulate<bf16, rows::Held<512>>(p); }
KERNEL(layer_norm_modulate_1536, LayerNormModulateParams, rows::THREADS) { modulate<bf16, rows::Held<1536>>(p); }
KERNEL(layer_norm_modulate_2560, LayerNormModulateParams, rows::THREADS) { modulate<bf16, rows::Held<2560>>(p); }
KERNEL(layer_norm_modulate_any, LayerNormModulateParams, rows::THREADS) { modulate_any<bf16>(p); }

KERNEL(layer_norm_modulate_512_f32, LayerNormModulateParams, rows::THREADS) { modulate<float, rows::Held<512>>(p); }
KERNEL(layer_norm_modulate_1536_f32, LayerNormModulateParams, rows::THREADS) { modulate<float, rows::Held<1536>>(p); }
KERNEL(layer_norm_modulate_2560_f32, LayerNormModulateParams, rows::THREADS) { modulate<float, rows::Held<2560>>(p); }
KERNEL(layer_norm_modulate_any_f32, LayerNormModulateParams, rows::THREADS) { modulate_any<float>(p); }

KERNEL(layer_norm_gradient_512, LayerNormModulateGradientParams, rows::THREADS) {
  modulate_gradient<rows::Held<512>>(p);
}
KERNEL(layer_norm_gradient_1536, LayerNormModulateGradientParams, rows::THREADS) {
  modulate_gradient<rows::Held<1536>>(p);
}
KERNEL(layer_norm_gradient_2560, LayerNormModulateGradientParams, rows::THREADS) {
  modulate_gradient<rows::Held<2560>>(p);
}
KERNEL(layer_norm_gradient_any, LayerNormModulateGradientParams, rows::THREADS) {
  if (p.aligned) {
    modulate_gradient<rows::Streamed<8>>(p);
  } else {
    modulate_gradient<rows::Streamed<1>>(p);
  }
}

KERNEL(layer_norm_statistics, LayerNormStatisticsParams, rows::THREADS) {
  if (p.aligned) {
    write_statistics<rows::Streamed<8>>(p);
  } else {
    write_statistics<rows::Streamed<1>>(p);
  }
}

template <int WIDTH>
DEVICE void modulation_gradient(const ModulationGradientParams& p) {
  const auto add = [&](auto& sums, uint64_t row, uint32_t column) {
    const float mean = p.statistics[2 * row];
    const float rstd = p.statistics[2 * row + 1];
    const auto x = load<WIDTH>(p.x + row * p.columns + column);
    const auto dy = load<WIDTH>(p.dy + row * p.columns + column);
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) {
      sums[0][e] += float(dy[e]);
      sums[1][e] += float(dy[e]) * ((float(x[e]) - mean) * rstd);
    }
  };
  column_sums::band<2, 32, WIDTH>(p.partials, p.tokens, p.band_rows, p.columns, add);
}

KERNEL(modulation_gradient, ModulationGradientParams, COLUMN_SUMS_THREADS) {
  if (p.aligned) {
    modulation_gradient<8>(p);
  } else {
    modulation_gradient<1>(p);
  }
}

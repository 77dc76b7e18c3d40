// Rows of a tensor, each walked by the lanes of a group (a warp or a part of one) that share sums over it.
//
// A row comes in two forms with the same words. `Held` keeps what is read more than once in registers: lane l has the
// vectors l, l + LANES, ... of the row, all loads are under way at once, and no pass but the first touches memory.
// `Streamed` walks a row of any width and reads again in every pass. No block ever synchronises, and the order of
// every sum is fixed.
//
// A kernel says what it computes of one element; operands are what `keep` and `stream` give:
//   auto x = row.keep(p.x + offset);
//   const float mean = row.mean([](float x) { return x; }, x);
//   row.write(p.y + offset, [=](float x, float gain) { return (x - mean) * gain; }, x, row.stream(p.gain));
#pragma once
#include "device/device.cuh"
#include "traversal.h"
#include "vectors.cuh"

namespace rows {

constexpr int THREADS = ROW_THREADS;

// The row of the thread's group of `LANES` lanes.
template <int LANES>
DEVICE uint32_t index() {
  return (grid::block_x() * THREADS + block::thread()) / LANES;
}

// A lane's vector of a row: its number among the lane's, and its first column.
struct Place {
  int step;
  uint32_t column;
};

// An operand that is read where it is used.
template <typename T, int WIDTH>
struct Stream {
  const T* row;
  DEVICE Vector<T, WIDTH> at(Place place) const { return load<WIDTH>(row + place.column); }
};

// An operand in registers.
template <typename T, int WIDTH, int VECTORS>
struct Kept {
  Vector<T, WIDTH> vectors[VECTORS];
  DEVICE const Vector<T, WIDTH>& at(Place place) const { return vectors[place.step]; }
};

// Two sums at once.
struct Pair {
  float first;
  float second;
  DEVICE void operator+=(Pair other) {
    first += other.first;
    second += other.second;
  }
};

// What both forms can do; `Form` walks: it calls f(place) for each of the lane's vectors.
template <typename Form, int LANES, int WIDTH>
struct Row {
  uint32_t columns;

  // An operand that is read where it is used: one that many rows share.
  template <typename T>
  DEVICE Stream<T, WIDTH> stream(const T* row) const {
    return {row};
  }

  // The mean of f(operands...) over the row, in every lane.
  template <typename F, typename... Operands>
  DEVICE float mean(F f, const Operands&... operands) const {
    float total = 0.0f;
    form().walk([&](Place place) { total += vectors::sum<WIDTH>(f, operands.at(place)...); });
    return warp::sum<LANES>(total) * fast::reciprocal(float(columns));
  }

  // The means of the two values of f(operands...), in one pass.
  template <typename F, typename... Operands>
  DEVICE Pair means(F f, const Operands&... operands) const {
    Pair total = {0.0f, 0.0f};
    form().walk([&](Place place) { total += vectors::sum<WIDTH>(f, operands.at(place)...); });
    const float share = fast::reciprocal(float(columns));
    return {warp::sum<LANES>(total.first) * share, warp::sum<LANES>(total.second) * share};
  }

  // out = f(operands...).
  template <typename T, typename F, typename... Operands>
  DEVICE void write(T* out, F f, const Operands&... operands) const {
    form().walk([&](Place place) {
      vectors::map<T, WIDTH>(f, operands.at(place)...).store(out + place.column);
    });
  }

 private:
  DEVICE const Form& form() const { return *static_cast<const Form*>(this); }
};

// A row of at most COLUMNS columns, a multiple of WIDTH; rows start at multiples of WIDTH elements.
template <int COLUMNS_, int LANES_ = 32, int WIDTH = 8>
struct Held : Row<Held<COLUMNS_, LANES_, WIDTH>, LANES_, WIDTH> {
  static constexpr int COLUMNS = COLUMNS_;
  static constexpr int LANES = LANES_;
  static constexpr int VECTORS = COLUMNS / (LANES * WIDTH);
  static_assert(VECTORS * LANES * WIDTH == COLUMNS, "the lanes' vectors fill the row");

  DEVICE explicit Held(uint32_t columns) { this->columns = columns; }

  template <typename F>
  DEVICE void walk(F f) const {
#pragma unroll
    for (int step = 0; step < VECTORS; ++step) {
      const uint32_t column = (step * LANES + block::thread() % LANES) * WIDTH;
      if (column < this->columns) f(Place{step, column});
    }
  }

  // An operand that is read once and kept in registers.
  template <typename T>
  DEVICE Kept<T, WIDTH, VECTORS> keep(const T* row) const {
    Kept<T, WIDTH, VECTORS> kept;
    walk([&](Place place) { kept.vectors[place.step].load(row + place.column); });
    return kept;
  }
};

// A row of any width that is a multiple of WIDTH.
template <int WIDTH>
struct Streamed : Row<Streamed<WIDTH>, 32, WIDTH> {
  static constexpr int LANES = 32;

  DEVICE explicit Streamed(uint32_t columns) { this->columns = columns; }

  template <typename F>
  DEVICE void walk(F f) const {
    for (uint32_t column = warp::lane() * WIDTH; column < this->columns; column += LANES * WIDTH) f(Place{0, column});
  }

  // An operand that is read in every pass.
  template <typename T>
  DEVICE Stream<T, WIDTH> keep(const T* row) const {
    return {row};
  }
};

// Mean and reciprocal standard deviation (biased).
struct Statistics {
  float mean;
  float rstd;
};

// The mean first, then the spread around it: rows far from zero lose nothing.
template <typename Form, typename Operand>
DEVICE Statistics statistics(const Form& row, const Operand& x, float epsilon) {
  const float mean = row.mean([](float x) { return x; }, x);
  const float variance = row.mean([=](float x) { return (x - mean) * (x - mean); }, x);
  return {mean, fast::rsqrt(variance + epsilon)};
}

// 1 / sqrt(mean(x^2) + epsilon).
template <typename Form, typename Operand>
DEVICE float reciprocal_rms(const Form& row, const Operand& x, float epsilon) {
  return fast::rsqrt(row.mean([](float x) { return x * x; }, x) + epsilon);
}

// For kernels that take no sums, warps share the rows in pieces of ROW_SEGMENT columns: calls
// f(row, first column, piece) with the warp's piece.
template <typename F>
DEVICE void segment(uint32_t rows, uint32_t columns, bool aligned, F f) {
  const uint32_t segments = (columns + ROW_SEGMENT - 1) / ROW_SEGMENT;
  const uint32_t row = index<32>() / segments;
  if (row >= rows) return;
  const uint32_t first = (index<32>() - row * segments) * ROW_SEGMENT;
  const uint32_t length = min(columns - first, uint32_t(ROW_SEGMENT));
  if (aligned) {
    f(row, first, Held<ROW_SEGMENT>(length));
  } else {
    f(row, first, Streamed<1>(length));
  }
}

}  // namespace rows

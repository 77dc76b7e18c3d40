#include "tensor_cores.h"
#include "engine.h"
#include "fragments.h"
#include <algorithm>

namespace emulator {

namespace {

constexpr int ROWS = 16, DEPTH = 16;  // a warp's share of a product

// Where chunks of eight elements lie, by the descriptor of an operand (kernels/device/wgmma.cuh).
class Tile {
 public:
  Tile(uint64_t descriptor, bool transposed, Where where)
      : start_(uint32_t(descriptor & 0x3FFF) << 4),
        leading_(uint32_t(descriptor >> 16 & 0x3FFF) << 4),
        stride_(uint32_t(descriptor >> 32 & 0x3FFF) << 4),
        // 128, 64 and 32 bytes are 1, 2 and 3.
        swizzle_((4 - uint32_t(descriptor >> 62)) % 4),
        transposed_(transposed),
        where_(where) {}

  // Eight consecutive elements of the contiguous index: `chunk` of them come before, at `line` of the other index.
  const uint16_t* chunk(int chunk, int line) const {
    const uint32_t span = 1u << swizzle_;  // chunks in a row of the permutation
    uint32_t offset;
    if (!transposed_)
      offset = line % 8 * span * 16 + line / 8 * stride_ + chunk * (swizzle_ ? 16 : leading_);
    else if (swizzle_)
      offset = chunk % span * 16 + chunk / span * leading_ + line % 8 * span * 16 + line / 8 * stride_;
    else
      offset = chunk * stride_ + line % 8 * 16 + line / 8 * leading_;
    const void* found = machine().shared_at(swizzled(start_ + offset, swizzle_));
    if (!found) {
      machine().fail("wgmma::multiply at %s:%d: an operand reaches out of shared memory", where_.file, where_.line);
    }
    return static_cast<const uint16_t*>(found);
  }

  // Calls `take` for every chunk of `count` lines of m or n from `first` on.
  template <typename Take>
  void walk(int first, int count, Take take) const {
    if (!transposed_) {
      for (int i = 0; i < count; ++i)
        for (int k = 0; k < DEPTH; k += 8) take(i, k, chunk(k / 8, first + i));
    } else {
      for (int i = 0; i < count; i += 8)
        for (int k = 0; k < DEPTH; ++k) take(i, k, chunk((first + i) / 8, k));
    }
  }

  // Elements (i, k) as floats.
  template <typename Put>
  void read(int first, int count, Put put) const {
    walk(first, count, [&](int i, int k, const uint16_t* chunk) {
      for (int e = 0; e < 8; ++e) {
        const float value = float_of_bf16(chunk[e]);
        transposed_ ? put(i + e, k, value) : put(i, k + e, value);
      }
    });
  }

 private:
  uint32_t start_, leading_, stride_, swizzle_;
  bool transposed_;
  Where where_;
};

// The reads of the running warp's share, by the tensor cores on its behalf.
void note_reads(const TileProduct& product, Where where) {
  Checker& checker = machine().checker();
  const int agent = checker.clocks().tensor_cores_of(current->index / LANES);
  const int warp = current->index / LANES % 4;
  checker.clocks().begin_work(agent, current->index);
  auto note = [&](int, int, const uint16_t* chunk) { checker.access(agent, chunk, 16, false, where); };
  if (!product.a_registers) Tile(product.a, product.a_transposed, where).walk(warp * ROWS, ROWS, note);
  Tile(product.b, product.b_transposed, where).walk(0, product.columns, note);
}

bool is_poison(const float* sums, int count) {
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(sums);
  return std::all_of(bytes, bytes + 4 * count, [](unsigned char byte) { return byte == 0xFF; });
}

// Whether all lanes have asked for the same product.
bool agree(const TileProduct& a, const TileProduct& b) {
  return a.columns == b.columns && a.a == b.a && a.b == b.b && !a.a_registers == !b.a_registers &&
         a.a_transposed == b.a_transposed && a.b_transposed == b.b_transposed && a.accumulate == b.accumulate;
}

// Does the product that all lanes recorded as their number `i`.
void multiply(Fibre* lanes, size_t i) {
  const TileProducts::Recorded& first = lanes[0].products.under_way[i];
  const TileProduct& product = first.product;
  float a[ROWS][DEPTH];
  if (product.a_registers) {
    for (int lane = 0; lane < LANES; ++lane)
      a_fragment(a, lane, lanes[lane].products.under_way[i].a_registers);
  } else {
    const Tile tile(product.a, product.a_transposed, first.where);
    tile.read(lanes[0].index / LANES % 4 * ROWS, ROWS, [&](int row, int k, float value) { a[row][k] = value; });
  }
  const Tile b(product.b, product.b_transposed, first.where);
  for (int n = 0; n < product.columns; n += 8) {
    Row columns[DEPTH], c[ROWS];
    b.read(n, 8, [&](int column, int k, float value) { columns[k][column] = value; });
    multiply_rows(c, a, columns);
    for (int lane = 0; lane < LANES; ++lane) {
      TileProducts& mine = lanes[lane].products;
      const TileProduct& asked = mine.under_way[i].product;
      float* sums = mine.hidden[asked.sums].data() + n / 2;
      if (!asked.accumulate) std::fill(sums, sums + 4, 0.0f);
      add_fragment(sums, c, lane);
    }
  }
}

struct Wait {
  Fibre* fibre;
  int groups;
};

// The whole warp has come: products of groups that are waited for are done, and sums that no other product works on
// are handed back.
void finish(void* const* arguments) {
  const Wait& wait = *static_cast<Wait*>(arguments[0]);
  Fibre* lanes = wait.fibre;
  TileProducts& first = lanes[0].products;
  size_t done = 0;
  while (done < first.under_way.size() && first.under_way[done].group + wait.groups < first.groups) ++done;
  for (int lane = 1; lane < LANES; ++lane) {
    const TileProducts& other = lanes[lane].products;
    bool same = other.groups == first.groups && other.under_way.size() == first.under_way.size();
    for (size_t i = 0; same && i < done; ++i) same = agree(first.under_way[i].product, other.under_way[i].product);
    if (!same) machine().fail("the lanes of a warp have not asked for the same products (lane %d)", lane);
  }
  for (size_t i = 0; i < done; ++i) multiply(lanes, i);
  for (int lane = 0; lane < LANES; ++lane) {
    TileProducts& products = lanes[lane].products;
    products.under_way.erase(products.under_way.begin(), products.under_way.begin() + done);
    for (auto entry = products.hidden.begin(); entry != products.hidden.end();) {
      const auto [seen, sums] = *entry;
      const bool waits = std::any_of(products.under_way.begin(), products.under_way.end(),
                                     [&, seen = seen](const auto& other) { return other.product.sums == seen; });
      if (!waits) std::copy(sums.begin(), sums.end(), seen);
      entry = waits ? std::next(entry) : products.hidden.erase(entry);
    }
  }
}

}  // namespace

void fence_products(Where) { machine().self().products.fenced = true; }

void multiply_tiles(const TileProduct& product, Where where) {
  Machine& machine = emulator::machine();
  TileProducts& mine = machine.self().products;
  if (machine.threads % 128) machine.fail("wgmma::multiply at %s:%d needs whole warpgroups", where.file, where.line);
  if (!mine.fenced) machine.fail("wgmma::multiply at %s:%d without wgmma::fence before it", where.file, where.line);
  const int count = product.columns / 2;
  std::vector<float>& hidden = mine.hidden[product.sums];
  if (hidden.empty())
    hidden.assign(product.sums, product.sums + count);
  else if (hidden.size() != size_t(count) || !is_poison(product.sums, count))
    machine.fail("wgmma::multiply at %s:%d: its sums were written while under way", where.file, where.line);
  poison(product.sums, 4 * count);
  TileProducts::Recorded recorded{product, {}, mine.groups, where};
  if (product.a_registers) memcpy(recorded.a_registers, product.a_registers, sizeof recorded.a_registers);
  mine.under_way.push_back(recorded);
  if (machine.checked() && current->index % LANES == 0) note_reads(product, where);
}

void commit_products(Where) {
  TileProducts& mine = machine().self().products;
  ++mine.groups;
  if (!machine().checked()) return;
  Clocks& clocks = machine().checker().clocks();
  mine.times.resize(mine.groups, clocks.now(clocks.tensor_cores_of(current->index / LANES)));
}

// Sums that are seen again may be changed, so the next product needs a fence.
void wait_products(int groups, Where where) {
  Machine& machine = emulator::machine();
  Fibre& self = machine.self();
  Wait wait{&self, groups};
  warp_operation(finish, &wait, "wgmma::wait", where);
  self.products.fenced = false;
  const int done = int(self.products.groups) - groups;
  if (!machine.checked() || done <= 0) return;
  Clocks& clocks = machine.checker().clocks();
  clocks.learn_of(self.index, clocks.tensor_cores_of(self.index / LANES), self.products.times[done - 1]);
}

}  // namespace emulator

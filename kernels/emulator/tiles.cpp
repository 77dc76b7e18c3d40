#include "engine.h"
#include <stdio.h>
#include <algorithm>
#include <functional>

namespace emulator {

namespace {

constexpr uint64_t MAGIC = 0x70616D2D656C6974;  // tells a map from anything else
constexpr int MOST = 5;

// What a TensorMap holds here.
struct Map {
  uint64_t magic;
  char* address;
  uint64_t strides[MOST - 1];
  uint32_t sizes[MOST];
  uint32_t tile[MOST];
  uint8_t dimensions, element_bytes, swizzle, reserved;
};
static_assert(sizeof(Map) <= 128, "a TensorMap has 128 bytes");

const Map& map_at(const void* address, int dimensions, const char* word, Where where) {
  const Map& map = *static_cast<const Map*>(address);
  if (map.magic != MAGIC) machine().fail("%s at %s:%d: this is no tensor map", word, where.file, where.line);
  if (map.dimensions != dimensions) {
    machine().fail("%s at %s:%d: %d coordinates for a tensor map of %d dimensions", word, where.file, where.line,
                   dimensions, map.dimensions);
  }
  return map;
}

uint32_t bytes_of(const Map& map) {
  uint32_t bytes = map.element_bytes;
  for (int i = 0; i < map.dimensions; ++i) bytes *= map.tile[i];
  return bytes;
}

// A tile starts where its permutation does.
void expect_tile(const void* tile, uint32_t swizzle, const char* word, Where where) {
  const uint32_t alignment = swizzle == 0 ? 128 : 128u << swizzle;
  if (!machine().is_shared(tile) || machine().shared_address(tile) % alignment)
    machine().fail("%s at %s:%d: a tile in shared memory starts at a multiple of %u", word, where.file, where.line,
                   alignment);
}

// Sixteen bytes of a tile: where they lie in shared and in global memory, and which of them are within the tensor.
struct Chunk {
  char* shared;
  char* global;
  uint32_t first, end;
};

void walk(const Map& map, const int* at, char* tile, const std::function<void(const Chunk&)>& take) {
  const uint32_t row_bytes = map.tile[0] * map.element_bytes, rows = bytes_of(map) / row_bytes;
  const int64_t size = int64_t(map.sizes[0]) * map.element_bytes;
  for (uint32_t row = 0; row < rows; ++row) {
    uint32_t rest = row;
    char* global = map.address;
    bool inside = true;
    for (int i = 1; i < map.dimensions; ++i) {
      const int64_t place = int64_t(at[i]) + rest % map.tile[i];
      rest /= map.tile[i];
      inside = inside && place >= 0 && place < int64_t(map.sizes[i]);
      global += place * int64_t(map.strides[i - 1]);
    }
    for (uint32_t byte = 0; byte < row_bytes; byte += 16) {
      const int64_t place = int64_t(at[0]) * map.element_bytes + byte;
      auto within = [&](int64_t edge) { return inside ? uint32_t(std::clamp<int64_t>(edge - place, 0, 16)) : 0; };
      char* shared = tile + row * row_bytes + byte;
      const uint32_t address = machine().shared_address(shared);
      take({shared + swizzled(address, map.swizzle) - address, global + place, within(0), within(size)});
    }
  }
}

// An agent of the race checker begins to work for the running thread.
uint32_t begin_work(int& agent) {
  if (!machine().checked()) return 0;
  Clocks& clocks = machine().checker().clocks();
  agent = clocks.next_copy();
  return clocks.begin_work(agent, current->index);
}

void note(int agent, const void* address, uint32_t bytes, bool writes, Where where) {
  if (machine().checked() && bytes) machine().checker().access(agent, address, bytes, writes, where);
}

}  // namespace

uint32_t swizzled(uint32_t address, uint32_t swizzle) {
  return address ^ ((address >> 7 & ((1u << swizzle) - 1)) << 4);
}

void load_tile(void* to, const void* address, int dimensions, const int* at, void* barrier, Where where) {
  const Map& map = map_at(address, dimensions, "tma::load", where);
  expect_tile(to, map.swizzle, "tma::load", where);
  Load load{{}, bytes_of(map), 0, 0};
  load.time = begin_work(load.agent);
  walk(map, at, static_cast<char*>(to), [&](const Chunk& chunk) {
    const auto [shared, global, first, end] = chunk;
    note(load.agent, global + first, end - first, false, where);
    note(load.agent, shared, 16, true, where);
    poison(shared, 16);
    load.pieces.push_back({shared, nullptr, first});
    load.pieces.push_back({shared + first, global + first, end - first});
    load.pieces.push_back({shared + end, nullptr, 16 - end});
  });
  machine().mbarriers().load(barrier, std::move(load), where);
}

void load_bytes(void* to, const void* from, uint32_t bytes, void* barrier, Where where) {
  expect_shared_aligned(to, 16, where);
  if (reinterpret_cast<uintptr_t>(from) % 16 || bytes % 16 || bytes == 0)
    machine().fail("tma::load_bytes of %u bytes at %s:%d: not a multiple of sixteen", bytes, where.file, where.line);
  Load load{{{to, from, bytes}}, bytes, 0, 0};
  load.time = begin_work(load.agent);
  note(load.agent, from, bytes, false, where);
  note(load.agent, to, bytes, true, where);
  poison(to, bytes);
  machine().mbarriers().load(barrier, std::move(load), where);
}

void store_tile(const void* address, int dimensions, const int* at, const void* from, Where where) {
  const Map& map = map_at(address, dimensions, "tma::store", where);
  expect_tile(from, map.swizzle, "tma::store", where);
  Stores& stores = machine().self().stores;
  Store store{{}, stores.groups, 0, 0, where};
  store.time = begin_work(store.agent);
  walk(map, at, static_cast<char*>(const_cast<void*>(from)), [&](const Chunk& chunk) {
    const auto [shared, global, first, end] = chunk;
    note(store.agent, shared + first, end - first, false, where);
    note(store.agent, global + first, end - first, true, where);
    store.pieces.push_back({global + first, shared + first, end - first});
  });
  stores.under_way.push_back(std::move(store));
}

void commit_stores() { ++machine().self().stores.groups; }

void wait_stores(int groups) {
  Stores& stores = machine().self().stores;
  std::vector<Store>& under_way = stores.under_way;
  size_t done = 0;
  while (done < under_way.size() && under_way[done].group + groups < stores.groups) {
    const Store& store = under_way[done++];
    for (const Store::Piece& piece : store.pieces) memcpy(piece.to, piece.from, piece.bytes);
    if (machine().checked()) machine().checker().clocks().learn_of(current->index, store.agent, store.time);
  }
  under_way.erase(under_way.begin(), under_way.begin() + done);
}

}  // namespace emulator

int sargent_emulator_tensor_map(void* to, const sargent_emulator_tensor* tensor, char* message, size_t message_bytes) {
  using emulator::Map;
  const char* wrong = nullptr;
  const uint32_t dimensions = tensor->dimensions, element = tensor->element_bytes;
  Map map = {emulator::MAGIC, static_cast<char*>(tensor->address), {}, {}, {}, uint8_t(dimensions), uint8_t(element),
             uint8_t(tensor->swizzle), 0};
  if (dimensions < 1 || dimensions > uint32_t(emulator::MOST)) wrong = "a tensor map has one to five dimensions";
  if (element != 1 && element != 2 && element != 4) wrong = "elements have 1, 2 or 4 bytes";
  if (tensor->swizzle > 3) wrong = "there is no such swizzle";
  if (reinterpret_cast<uintptr_t>(tensor->address) % 16) wrong = "the tensor starts at no multiple of sixteen bytes";
  for (uint32_t i = 0; !wrong && i < dimensions; ++i) {
    if (tensor->sizes[i] == 0 || tensor->sizes[i] > 1ull << 32) wrong = "a size is 0 or above 2^32";
    if (tensor->tile[i] == 0 || tensor->tile[i] > 256) wrong = "a tile has 1 to 256 elements in each dimension";
    if (i > 0 && (tensor->strides[i - 1] % 16 || tensor->strides[i - 1] >> 40))
      wrong = "strides are multiples of sixteen bytes below 2^40";
    map.sizes[i] = uint32_t(tensor->sizes[i]);
    map.tile[i] = tensor->tile[i];
    if (i > 0) map.strides[i - 1] = tensor->strides[i - 1];
  }
  const uint32_t row = tensor->tile[0] * element;
  if (!wrong && row % 16) wrong = "a tile's rows are multiples of sixteen bytes";
  if (!wrong && tensor->swizzle && row > 16u << tensor->swizzle) wrong = "a tile's rows are longer than its swizzle";
  if (wrong) {
    snprintf(message, message_bytes, "%s", wrong);
    return 1;
  }
  memset(to, 0, 128);
  memcpy(to, &map, sizeof map);
  return 0;
}

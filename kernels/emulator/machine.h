// The machine that kernels run on where there is no card: what the vocabulary's emulated bodies call.
//
// Every CUDA thread of a block is a fibre; blocks run one after another on the calling thread of the host. A word that
// takes a whole warp is a rendezvous: the last lane to come does it for all. A word that waits switches to another
// fibre. Everything here belongs to one host thread, so several can launch at once.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Functions of kernels are compiled a second time to be checked, and a program holds both: the tag keeps the linker
// from taking one for the other.
#ifdef SARGENT_CHECKED
#define SARGENT_TAG __attribute__((abi_tag("checked")))
#define SARGENT_EMULATED(symbol) sargent_checked_##symbol
#else
#define SARGENT_TAG
#define SARGENT_EMULATED(symbol) sargent_emulated_##symbol
#endif

#define __device__ SARGENT_TAG
#define __restrict__ __restrict

namespace emulator {

// A place in a kernel's source.
struct Where {
  const char* file;
  int line;
};

constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }

struct Block {
  uint32_t index[3];
  uint32_t grid[3];
  int threads;
};

struct Thread {
  int index;
  Block* block;
};

// A variable of the host thread, reached without a call.
#define EMULATOR_THREAD __attribute__((tls_model("initial-exec"))) __thread

// The thread that runs now.
extern EMULATOR_THREAD Thread* current;

// Fails unless the launch has at most `threads` threads a block.
[[noreturn]] void too_many_threads(int threads);
inline void expect_threads(int threads) {
  if (current->block->threads > threads) too_many_threads(threads);
}

// The launch's dynamic shared memory, and named arrays behind it.
unsigned char* dynamic_shared();
void* shared_array(const void* key, const char* name, size_t bytes, size_t alignment);
// An address within the block's shared memory, as the hardware numbers it.
uint32_t shared_address(const void* shared);

void block_barrier(Where where);
void named_barrier(int id, int threads, bool waits, Where where);
void warp_barrier(Where where);

// Does `operation` once all lanes of the warp have come; it gets every lane's argument, null for lanes that the warp
// does not have.
using Operation = void (*)(void* const* lanes);
// It orders no memory; what it accesses there is noted by the lanes.
void warp_operation(Operation operation, void* argument, const char* word, Where where);

// Counts how often more than one of eight rows of sixteen bytes lies in the same banks.
void count_bank_conflicts(const void* const* rows);

// Tells the race checker what a word accesses for the running thread.
void note_read(const void* address, size_t bytes, Where where);
void note_write(const void* address, size_t bytes, Where where);

// Copies that land when they are waited for; until then the destination is poisoned.
void copy_async(void* to, const void* from, int bytes, bool there, Where where);
void commit_async();
void wait_async(int groups);

// Barriers in shared memory (kernels/device/mbarrier.cuh). `bytes` of 0 are none.
void mbarrier_init(void* barrier, int arrivals, Where where);
void mbarrier_arrive(void* barrier, uint32_t bytes, Where where);
void mbarrier_wait(void* barrier, uint32_t parity, Where where);
void fence_barrier_init(Where where);
void fence_async_proxy(Where where);

// Copies of tiles (kernels/device/tma.cuh): loads land when the barrier's phase is waited for, stores when they are.
void load_tile(void* to, const void* map, int dimensions, const int* at, void* barrier, Where where);
void load_bytes(void* to, const void* from, uint32_t bytes, void* barrier, Where where);
void store_tile(const void* map, int dimensions, const int* at, const void* from, Where where);
void commit_stores();
void wait_stores(int groups);

// One lane's part of a product of a warpgroup (kernels/device/wgmma.cuh): sums for `columns` columns, A in registers
// or, where those are null, described as B is.
struct TileProduct {
  float* sums;
  int columns;
  const uint32_t* a_registers;
  uint64_t a, b;
  bool a_transposed, b_transposed;
  bool accumulate;
};
void fence_products(Where where);
void multiply_tiles(const TileProduct& product, Where where);
void commit_products(Where where);
void wait_products(int groups, Where where);

// The operation of a rendezvous at which nothing has to be done.
inline void nothing(void* const*) {}

// Fails unless the address is a multiple of `alignment`.
void expect_aligned(const void* address, size_t alignment);
void expect_shared_aligned(const void* address, size_t alignment, Where where);

// c += a b for all lanes' fragments of M x N tiles (kernels/device/mma.cuh says which lane holds what).
struct Product;
void multiply_fragments(Product* const* lanes, int m_tiles, int n_tiles);

inline float float_of_bf16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

// To nearest, ties to even; NaN stays NaN.
inline uint16_t bf16_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

}  // namespace emulator

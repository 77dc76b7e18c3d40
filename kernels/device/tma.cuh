// Copies of whole tiles between global and shared memory, started by one thread (TMA, sm_90).
//
// A TensorMap, made by the host, says where a tensor of up to four dimensions lies, how large the tile is, and how its
// sixteen-byte chunks are permuted in shared memory (swizzle 32, 64, 128: address bits 4 on are xored with bits 7 on,
// so that tiles begin at multiples of 256, 512, 1024 bytes; without a swizzle at multiples of 128). Coordinates count
// elements, the innermost first. What lies outside the tensor is read as zeros and not written; its bytes count all the
// same.
#pragma once

#ifdef __CUDACC__
// The coordinates of D dimensions as operands of an instruction, and where they stand in it.
#define TMA_AT_1(at) "r"(at[0])
#define TMA_AT_2(at) TMA_AT_1(at), "r"(at[1])
#define TMA_AT_3(at) TMA_AT_2(at), "r"(at[2])
#define TMA_AT_4(at) TMA_AT_3(at), "r"(at[3])
#define TMA_LOAD(D, PLACES)                                                                                      \
  if constexpr (DIMENSIONS == D)                                                                                 \
  asm volatile("cp.async.bulk.tensor." #D "d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {" PLACES \
               "}], [%2];" ::"r"(shared_address(to)), "l"(map), "r"(shared_address(barrier)), TMA_AT_##D(at)     \
               : "memory")
#define TMA_STORE(D, PLACES)                                                                                     \
  if constexpr (DIMENSIONS == D)                                                                                 \
  asm volatile("cp.async.bulk.tensor." #D "d.global.shared::cta.bulk_group [%1, {" PLACES "}], [%0];" ::"r"(     \
                   shared_address(from)),                                                                        \
               "l"(map), TMA_AT_##D(at)                                                                          \
               : "memory")
#endif

namespace tma {

// Copies the tile at `at` to shared memory. The tile's bytes land in the phase of `barrier` that is under way, which
// expects them (mbarrier::expect_bytes); until that phase has ended nobody may read or write the destination.
template <int DIMENSIONS>
DEVICE void load(void* to, const TensorMap* map, const int (&at)[DIMENSIONS], Mbarrier* barrier, WHERE) {
  static_assert(DIMENSIONS >= 1 && DIMENSIONS <= 4, "dimensions of a tensor map");
#ifdef __CUDACC__
  TMA_LOAD(1, "%3");
  TMA_LOAD(2, "%3, %4");
  TMA_LOAD(3, "%3, %4, %5");
  TMA_LOAD(4, "%3, %4, %5, %6");
#else
  emulator::load_tile(to, map, DIMENSIONS, at, barrier, where);
#endif
}

// Copies consecutive bytes, a multiple of sixteen, addresses too; as `load` otherwise.
DEVICE void load_bytes(void* to, const void* from, uint32_t bytes, Mbarrier* barrier, WHERE) {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
#else
  emulator::load_bytes(to, from, bytes, barrier, where);
#endif
}

// Copies a tile of shared memory to the place `at`. Ordinary writes of the tile come before fence::async_proxy and a
// barrier. The tile must not change before wait_read.
template <int DIMENSIONS>
DEVICE void store(const TensorMap* map, const int (&at)[DIMENSIONS], const void* from, WHERE) {
  static_assert(DIMENSIONS >= 1 && DIMENSIONS <= 4, "dimensions of a tensor map");
#ifdef __CUDACC__
  TMA_STORE(1, "%2");
  TMA_STORE(2, "%2, %3");
  TMA_STORE(3, "%2, %3, %4");
  TMA_STORE(4, "%2, %3, %4, %5");
#else
  emulator::store_tile(map, DIMENSIONS, at, from, where);
#endif
}

// Ends a group of the thread's stores.
DEVICE void commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#else
  emulator::commit_stores();
#endif
}

// Waits until all but the thread's latest N groups of stores have read their tiles.
template <int N>
DEVICE void wait_read() {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
#else
  emulator::wait_stores(N);
#endif
}

// Waits until all but the thread's latest N groups of stores are done.
template <int N>
DEVICE void wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
#else
  emulator::wait_stores(N);
#endif
}

// Fetches a tensor map ahead of its first use.
DEVICE void prefetch([[maybe_unused]] const TensorMap* map) {
#ifdef __CUDACC__
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#endif
}

}  // namespace tma

#undef TMA_LOAD
#undef TMA_STORE

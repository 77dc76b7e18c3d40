// Who a thread is, and with whom it waits.
#pragma once

// A function of kernels.
#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
#else
#define DEVICE SARGENT_TAG inline
#endif

// WHERE as the last parameter of a word is the caller's place in the source, for the emulator's reports. A word without
// other parameters takes WHERE alone; nothing is passed on the device.
#ifdef __CUDACC__
#define WHERE int = 0
#define AT_WHERE 0
#else
#define WHERE [[maybe_unused]] emulator::Where where = emulator::here()
#define AT_WHERE where
#endif

// KERNEL(symbol, Params, threads) { ... } defines a kernel of at most `threads` threads a block whose one argument is
// `p`, a Params. build.rs finds the symbols by lines that start with this word.
#ifdef __CUDACC__
#define KERNEL(symbol, Params, threads) \
  extern "C" __global__ void __launch_bounds__(threads) symbol(const __grid_constant__ Params p)
#define KERNEL_BOUNDED(symbol, Params, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) symbol(const __grid_constant__ Params p)
#else
#define KERNEL(symbol, Params, threads)                                 \
  static void symbol##_body(const Params& p);                           \
  extern "C" void SARGENT_EMULATED(symbol)(const void* parameters) {    \
    emulator::expect_threads(threads);                                  \
    symbol##_body(*static_cast<const Params*>(parameters));             \
  }                                                                     \
  static void symbol##_body(const Params& p)
#define KERNEL_BOUNDED(symbol, Params, threads, blocks) KERNEL(symbol, Params, threads)
#endif

// SHARED(T, name, count) is an array in shared memory that all threads of a block see; its size is part of the kernel.
// DYNAMIC_SHARED(name) is the launch's dynamic shared memory, aligned to 1024 bytes.
#ifdef __CUDACC__
#define SHARED(T, name, count) __shared__ T name[count]
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#else
#define SHARED(T, name, count)     \
  static const char name##_key = 0; \
  T* const name = static_cast<T*>(emulator::shared_array(&name##_key, #name, sizeof(T) * (count), alignof(T)))
#define DYNAMIC_SHARED(name) unsigned char* const name = emulator::dynamic_shared()
#endif

namespace grid {

// The block's place in the grid.
DEVICE uint32_t block_x() {
#ifdef __CUDACC__
  return blockIdx.x;
#else
  return emulator::current->block->index[0];
#endif
}

DEVICE uint32_t block_y() {
#ifdef __CUDACC__
  return blockIdx.y;
#else
  return emulator::current->block->index[1];
#endif
}

DEVICE uint32_t block_z() {
#ifdef __CUDACC__
  return blockIdx.z;
#else
  return emulator::current->block->index[2];
#endif
}

// Blocks of the grid.
DEVICE uint32_t blocks_x() {
#ifdef __CUDACC__
  return gridDim.x;
#else
  return emulator::current->block->grid[0];
#endif
}

DEVICE uint32_t blocks_y() {
#ifdef __CUDACC__
  return gridDim.y;
#else
  return emulator::current->block->grid[1];
#endif
}

DEVICE uint32_t blocks_z() {
#ifdef __CUDACC__
  return gridDim.z;
#else
  return emulator::current->block->grid[2];
#endif
}

}  // namespace grid

namespace block {

// The thread's index in its block.
DEVICE int thread() {
#ifdef __CUDACC__
  return threadIdx.x;
#else
  return emulator::current->index;
#endif
}

// Threads of a block.
DEVICE int threads() {
#ifdef __CUDACC__
  return blockDim.x;
#else
  return emulator::current->block->threads;
#endif
}

// Waits for all threads of the block. What any of them wrote to shared or global memory before, all see after.
DEVICE void sync(WHERE) {
#ifdef __CUDACC__
  __syncthreads();
#else
  emulator::block_barrier(where);
#endif
}

}  // namespace block

namespace warp {

// The thread's index in its warp.
DEVICE int lane() {
#ifdef __CUDACC__
  return threadIdx.x & 31;
#else
  return emulator::current->index & 31;
#endif
}

// The warp's index in its block.
DEVICE int index() {
#ifdef __CUDACC__
  return threadIdx.x >> 5;
#else
  return emulator::current->index >> 5;
#endif
}

// Waits for all lanes of the warp; orders their accesses to shared and global memory.
DEVICE void sync(WHERE) {
#ifdef __CUDACC__
  __syncwarp();
#else
  emulator::warp_barrier(where);
#endif
}

}  // namespace warp

namespace named_barrier {

// Waits until `threads` threads (a multiple of 32) have come to barrier `id`, 1 to 15. Orders memory as block::sync.
DEVICE void sync(int id, int threads, WHERE) {
#ifdef __CUDACC__
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  emulator::named_barrier(id, threads, true, where);
#endif
}

// Comes to barrier `id` without waiting. What was written before is seen by those who wait there.
DEVICE void arrive(int id, int threads, WHERE) {
#ifdef __CUDACC__
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  emulator::named_barrier(id, threads, false, where);
#endif
}

}  // namespace named_barrier

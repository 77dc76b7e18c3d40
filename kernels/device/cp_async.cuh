// Asynchronous copies from global to shared memory (sm_80 and up).
//
// A thread's copies up to commit() are a group. wait<N>() waits until all but the thread's latest N groups have
// landed; then this thread sees them, and others after the next barrier. Nothing may read or write the destination, or
// change the source, in between.
#pragma once

namespace cp_async {

// Copies BYTES (4, 8 or 16; both addresses aligned to them), or writes zeros where `there` is false; then the source
// is not read but must still be an address.
template <int BYTES>
DEVICE void copy(void* to, const void* from, bool there, WHERE) {
#ifdef __CUDACC__
  const int bytes = there ? BYTES : 0;
  if constexpr (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from), "n"(BYTES),
                 "r"(bytes)
                 : "memory");
  }
#else
  emulator::copy_async(to, from, BYTES, there, where);
#endif
}

DEVICE void copy_16(void* to, const void* from, bool there = true, WHERE) { copy<16>(to, from, there, AT_WHERE); }
DEVICE void copy_8(void* to, const void* from, bool there = true, WHERE) { copy<8>(to, from, there, AT_WHERE); }
DEVICE void copy_4(void* to, const void* from, bool there = true, WHERE) { copy<4>(to, from, there, AT_WHERE); }

// Ends a group, which may be empty.
DEVICE void commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::commit_async();
#endif
}

// Waits until at most N of the thread's groups are on their way.
template <int N>
DEVICE void wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
  emulator::wait_async(N);
#endif
}

// Waits for all of the thread's copies, committed or not.
DEVICE void wait_all() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  emulator::commit_async();
  emulator::wait_async(0);
#endif
}

}  // namespace cp_async

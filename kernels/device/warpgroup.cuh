// Four warps that multiply together (sm_90).
#pragma once

namespace warpgroup {

// The warpgroup's index in its block.
DEVICE int index() { return block::thread() / 128; }

// The thread's index in its warpgroup.
DEVICE int thread() { return block::thread() % 128; }

// Gives registers back, down to N a thread (a multiple of 8, 24 to 256); all warps of the warpgroup call it.
template <int N>
DEVICE void give_registers() {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0, "registers of a thread");
#ifdef __CUDACC__
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
#endif
}

// Takes registers that others have given back, up to N a thread; waits until there are enough.
template <int N>
DEVICE void take_registers() {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0, "registers of a thread");
#ifdef __CUDACC__
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
#endif
}

}  // namespace warpgroup

namespace warp {

// Whether this lane is the one that speaks for its warp; all lanes take part.
DEVICE bool elect_one(WHERE) {
#ifdef __CUDACC__
  uint32_t elected;
  asm volatile(
      "{\n"
      ".reg .pred elected;\n"
      "elect.sync _|elected, 0xFFFFFFFF;\n"
      "selp.u32 %0, 1, 0, elected;\n"
      "}"
      : "=r"(elected));
  return elected;
#else
  emulator::warp_operation(emulator::nothing, nullptr, "warp::elect_one", where);
  return lane() == 0;
#endif
}

}  // namespace warp

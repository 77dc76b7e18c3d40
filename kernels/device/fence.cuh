// Order between ordinary accesses and those of asynchronous units: tile copies and wgmma (sm_90).
#pragma once

namespace fence {

// Lets asynchronous work that comes after see ordinary writes that came before. The writer calls it, then a barrier,
// then whoever starts the work; it is not needed where ordinary reads precede asynchronous writes.
DEVICE void async_proxy(WHERE) {
#ifdef __CUDACC__
  asm volatile("fence.proxy.async;" ::: "memory");
#else
  emulator::fence_async_proxy(where);
#endif
}

// Lets copies see the barriers that this thread has initialised.
DEVICE void barrier_init(WHERE) {
#ifdef __CUDACC__
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  emulator::fence_barrier_init(where);
#endif
}

}  // namespace fence

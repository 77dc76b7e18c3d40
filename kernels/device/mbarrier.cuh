// Barriers in shared memory that are completed phase by phase, by threads that arrive and by bytes that land (sm_90).
//
// A phase ends when all expected arrivals have come and as many bytes have landed as were expected; then the next
// begins, which expects as many arrivals again. Who waits names the parity of the phase: 0 for the first, 1 for the
// second, and so on in turn. Waiting for parity 1 of a fresh barrier returns at once.
#pragma once

// Eight bytes of shared memory.
struct Mbarrier {
  uint64_t state;
};

namespace mbarrier {

// Begins the first phase, for `arrivals` arrivals a phase. Before others use the barrier: fence::barrier_init and
// block::sync.
DEVICE void init(Mbarrier* barrier, int arrivals, WHERE) {
#ifdef __CUDACC__
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#else
  emulator::mbarrier_init(barrier, arrivals, where);
#endif
}

// One arrival. What the thread wrote and read before happens before whatever those do who wait for the phase.
DEVICE void arrive(Mbarrier* barrier, WHERE) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#else
  emulator::mbarrier_arrive(barrier, 0, where);
#endif
}

// One arrival; the phase also expects that many bytes more. Goes before the copies whose bytes they are.
DEVICE void expect_bytes(Mbarrier* barrier, uint32_t bytes, WHERE) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#else
  emulator::mbarrier_arrive(barrier, bytes, where);
#endif
}

// Waits until the phase of that parity has ended; then its bytes are there.
DEVICE void wait(Mbarrier* barrier, uint32_t parity, WHERE) {
#ifdef __CUDACC__
  uint32_t ended;
  do {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n"
        "}"
        : "=r"(ended)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (!ended);
#else
  emulator::mbarrier_wait(barrier, parity, where);
#endif
}

}  // namespace mbarrier

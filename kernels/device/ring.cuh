// Stages of shared memory that go round between those who fill them and those who use them (sm_90).
//
// Whoever fills: wait_free, then expect and the copies that land in full(), then next. Whoever uses: wait_full, use,
// release, then next. Each side has a Ring of its own over the same barriers.
#pragma once

template <int STAGES>
struct Ring {
  // Barriers of the stages: [0, STAGES) of full ones, [STAGES, 2 STAGES) of free ones.
  Mbarrier* barriers;
  int stage = 0;
  uint32_t parity = 0;

  static constexpr int BARRIERS = 2 * STAGES;

  DEVICE explicit Ring(Mbarrier* barriers) : barriers(barriers) {}

  // One thread prepares the barriers, for `users` calls of release a stage; then comes block::sync.
  DEVICE static void init(Mbarrier* barriers, int users, WHERE) {
    for (int i = 0; i < STAGES; ++i) {
      mbarrier::init(barriers + i, 1, AT_WHERE);
      mbarrier::init(barriers + STAGES + i, users, AT_WHERE);
    }
    fence::barrier_init(AT_WHERE);
  }

  // The barrier in which the copies of this stage land.
  DEVICE Mbarrier* full() const { return barriers + stage; }

  // Waits until the stage is used up; in the first round it is free.
  DEVICE void wait_free(WHERE) const { mbarrier::wait(barriers + STAGES + stage, parity ^ 1, AT_WHERE); }

  // Says how many bytes the copies into this stage have.
  DEVICE void expect(uint32_t bytes, WHERE) const { mbarrier::expect_bytes(full(), bytes, AT_WHERE); }

  // Waits until the stage is full.
  DEVICE void wait_full(WHERE) const { mbarrier::wait(full(), parity, AT_WHERE); }

  // One user is done with the stage.
  DEVICE void release(WHERE) const { mbarrier::arrive(barriers + STAGES + stage, AT_WHERE); }

  // Goes on to the next stage.
  DEVICE void next() {
    if (++stage < STAGES) return;
    stage = 0;
    parity ^= 1;
  }
};

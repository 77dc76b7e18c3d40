// What threads tell each other: shuffles within a warp, sums and maxima over warps and blocks, in a fixed order.
#pragma once

#ifndef __CUDACC__
namespace emulator {
template <typename T>
struct Shuffle {
  T value;
  int source;
  T result;
};
template <typename T>
inline void shuffle_lanes(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    auto* mine = static_cast<Shuffle<T>*>(lanes[lane]);
    if (mine) mine->result = static_cast<Shuffle<T>*>(lanes[mine->source & 31])->value;
  }
}
template <typename T>
inline T shuffle(T value, int source, const char* word, Where where) {
  Shuffle<T> shuffle{value, source, value};
  warp_operation(shuffle_lanes<T>, &shuffle, word, where);
  return shuffle.result;
}
// The steps of a sum or maximum over groups of neighbouring lanes, all at once.
template <int LANES, typename T, typename Combine>
inline void reduce_lanes(void* const* lanes) {
  T values[32], others[32];
  for (int lane = 0; lane < 32; ++lane) values[lane] = lanes[lane] ? *static_cast<T*>(lanes[lane]) : T();
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    for (int lane = 0; lane < 32; ++lane) others[lane] = values[lane ^ mask];
    for (int lane = 0; lane < 32; ++lane) values[lane] = Combine()(values[lane], others[lane]);
  }
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane]) *static_cast<T*>(lanes[lane]) = values[lane];
}
template <int LANES, typename Combine, typename T>
inline T reduce(T value, const char* word, Where where) {
  warp_operation(reduce_lanes<LANES, T, Combine>, &value, word, where);
  return value;
}
struct Add {
  template <typename T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  float operator()(float a, float b) const { return math::max(a, b); }
};
struct Vote {
  bool holds;
  uint32_t result;
};
inline void vote_lanes(void* const* lanes) {
  uint32_t ballot = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane] && static_cast<Vote*>(lanes[lane])->holds) ballot |= 1u << lane;
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane]) static_cast<Vote*>(lanes[lane])->result = ballot;
}
}  // namespace emulator
#endif

namespace warp {

// The value of lane `lane ^ mask`; T is a type of four or eight bytes that the hardware shuffles.
template <typename T>
DEVICE T shuffle_xor(T value, int mask, WHERE) {
#ifdef __CUDACC__
  return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
#else
  return emulator::shuffle(value, warp::lane() ^ mask, "warp::shuffle_xor", where);
#endif
}

// The value of lane `source`.
template <typename T>
DEVICE T shuffle(T value, int source, WHERE) {
#ifdef __CUDACC__
  return __shfl_sync(0xFFFFFFFFu, value, source);
#else
  return emulator::shuffle(value, source, "warp::shuffle", where);
#endif
}

// The value of the lane `delta` further; of the last `delta` lanes their own.
template <typename T>
DEVICE T shuffle_down(T value, int delta, WHERE) {
#ifdef __CUDACC__
  return __shfl_down_sync(0xFFFFFFFFu, value, delta);
#else
  const int source = warp::lane() + delta;
  return emulator::shuffle(value, source < 32 ? source : warp::lane(), "warp::shuffle_down", where);
#endif
}

// The value of the lane `delta` before; of the first `delta` lanes their own.
template <typename T>
DEVICE T shuffle_up(T value, int delta, WHERE) {
#ifdef __CUDACC__
  return __shfl_up_sync(0xFFFFFFFFu, value, delta);
#else
  const int source = warp::lane() - delta;
  return emulator::shuffle(value, source >= 0 ? source : warp::lane(), "warp::shuffle_up", where);
#endif
}

// A bit for each lane: whether `holds` there.
DEVICE uint32_t ballot(bool holds, WHERE) {
#ifdef __CUDACC__
  return __ballot_sync(0xFFFFFFFFu, holds);
#else
  emulator::Vote vote{holds, 0};
  emulator::warp_operation(emulator::vote_lanes, &vote, "warp::ballot", where);
  return vote.result;
#endif
}

DEVICE bool any(bool holds, WHERE) { return ballot(holds, AT_WHERE) != 0; }

// The sum over groups of LANES neighbouring lanes (a power of two), the same bits in every lane.
template <int LANES = 32, typename T>
DEVICE T sum(T value, WHERE) {
#ifdef __CUDACC__
#pragma unroll
  for (int mask = LANES / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
#else
  return emulator::reduce<LANES, emulator::Add>(value, "warp::sum", where);
#endif
}

// The largest value of groups of LANES neighbouring lanes.
template <int LANES = 32>
DEVICE float max(float value, WHERE) {
#ifdef __CUDACC__
#pragma unroll
  for (int mask = LANES / 2; mask > 0; mask /= 2) value = math::max(value, shuffle_xor(value, mask));
  return value;
#else
  return emulator::reduce<LANES, emulator::Larger>(value, "warp::max", where);
#endif
}

}  // namespace warp

namespace block {

// The sum over a block of at most 1024 threads (a multiple of 32), in every thread; all take part.
template <typename T>
DEVICE T sum(T value, WHERE) {
  SHARED(T, sums, 32);
  value = warp::sum(value, AT_WHERE);
  // An earlier sum may still be read.
  sync(AT_WHERE);
  if (warp::lane() == 0) sums[warp::index()] = value;
  sync(AT_WHERE);
  T total = sums[0];
  for (int i = 1; i < threads() / 32; ++i) total += sums[i];
  return total;
}

// The largest value of a block, in every thread.
DEVICE float max(float value, WHERE) {
  SHARED(float, largest, 32);
  value = warp::max(value, AT_WHERE);
  sync(AT_WHERE);
  if (warp::lane() == 0) largest[warp::index()] = value;
  sync(AT_WHERE);
  float total = largest[0];
  for (int i = 1; i < threads() / 32; ++i) total = math::max(total, largest[i]);
  return total;
}

}  // namespace block

// Element types, vectors of them, and how they are read and written.
#pragma once

// bfloat16: the upper half of a float. Conversion from float rounds to nearest even and keeps NaN.
struct bf16 {
  uint16_t bits;

  bf16() = default;

  DEVICE explicit bf16(float value) {
#ifdef __CUDACC__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    bits = emulator::bf16_bits(value);
#endif
  }

  DEVICE explicit operator float() const {
#ifdef __CUDACC__
    return __uint_as_float(uint32_t(bits) << 16);
#else
    return emulator::float_of_bf16(bits);
#endif
  }

  DEVICE static bf16 of_bits(uint16_t bits) {
    bf16 value;
    value.bits = bits;
    return value;
  }
};

// Two values rounded to bf16 in one register, `low` in the lower half: an operand of mma.
DEVICE uint32_t pack(float low, float high) {
#ifdef __CUDACC__
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#else
  return uint32_t(emulator::bf16_bits(low)) | uint32_t(emulator::bf16_bits(high)) << 16;
#endif
}

// The halves of a register of two bf16.
DEVICE float low_of(uint32_t both) { return float(bf16::of_bits(uint16_t(both))); }
DEVICE float high_of(uint32_t both) { return float(bf16::of_bits(uint16_t(both >> 16))); }

#ifdef __CUDACC__
// What one access of so many bytes moves.
namespace access {
template <int BYTES>
struct Word;
template <>
struct Word<2> {
  using Type = uint16_t;
};
template <>
struct Word<4> {
  using Type = uint32_t;
};
template <>
struct Word<8> {
  using Type = uint2;
};
template <>
struct Word<16> {
  using Type = uint4;
};
}  // namespace access
#endif

// N elements that are read and written in accesses of up to sixteen bytes; addresses must be aligned to those.
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vector {
  static constexpr int BYTES = sizeof(T) * N;
  static constexpr int ACCESS = BYTES < 16 ? BYTES : 16;

  T values[N];

  DEVICE T& operator[](int i) { return values[i]; }
  DEVICE const T& operator[](int i) const { return values[i]; }

  DEVICE void load(const T* from) {
#ifdef __CUDACC__
    move(this, from);
#else
    emulator::expect_aligned(from, ACCESS);
    *this = *reinterpret_cast<const Vector*>(from);
#endif
  }

  DEVICE void store(T* to) const {
#ifdef __CUDACC__
    move(to, this);
#else
    emulator::expect_aligned(to, ACCESS);
    *reinterpret_cast<Vector*>(to) = *this;
#endif
  }

#ifdef __CUDACC__
 private:
  DEVICE static void move(void* to, const void* from) {
    using Word = typename access::Word<ACCESS>::Type;
#pragma unroll
    for (int i = 0; i < BYTES / ACCESS; ++i) static_cast<Word*>(to)[i] = static_cast<const Word*>(from)[i];
  }
#endif
};

// The N elements from `from` on.
template <int N, typename T>
DEVICE Vector<T, N> load(const T* from) {
  Vector<T, N> vector;
  vector.load(from);
  return vector;
}

template <typename T, int N>
DEVICE void store(T* to, const Vector<T, N>& vector) {
  vector.store(to);
}

// The address of something in shared memory, as instructions take it.
DEVICE uint32_t shared_address(const void* shared) {
#ifdef __CUDACC__
  return uint32_t(__cvta_generic_to_shared(shared));
#else
  return emulator::shared_address(shared);
#endif
}

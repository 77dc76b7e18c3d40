// Randomness as a function of (seed, purpose, lane, step, sample, element), bit for bit that of src/random.rs:
// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

// What a draw is for. Two purposes never share a counter.
enum class Purpose : uint32_t {
  ADAPTER_INIT = 1,
  EPOCH_ORDER = 2,
  CAPTION = 3,
  CAPTION_DROPOUT = 4,
  SIGMA = 5,
  NOISE = 6,
  LATENT = 7,
  LORA_DROPOUT = 8,
  STOCHASTIC_ROUNDING = 9,
};

// Four words of 32 bits.
struct Words {
  uint32_t word[4];
};

// Ten rounds of Philox 4x32.
DEVICE Words philox(Words counter, uint32_t key0, uint32_t key1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t wide0 = uint64_t(0xD2511F53u) * counter.word[0];
    const uint64_t wide1 = uint64_t(0xCD9E8D57u) * counter.word[2];
    counter = {{uint32_t(wide1 >> 32) ^ counter.word[1] ^ key0, uint32_t(wide1),
                uint32_t(wide0 >> 32) ^ counter.word[3] ^ key1, uint32_t(wide0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// One stream of draws; the element is the argument.
struct Stream {
  uint32_t key0, key1, purpose, step, sample;

  // `lane` below 2^24 tells uses of one purpose apart.
  DEVICE Stream(uint32_t seed0, uint32_t seed1, Purpose purpose, uint32_t lane, uint32_t step, uint32_t sample)
      : key0(seed0), key1(seed1), purpose(uint32_t(purpose) | lane << 8), step(step), sample(sample) {}

  // Four uniform words; element e is word e % 4 of block e / 4.
  DEVICE Words block(uint32_t block) const { return philox({{block, purpose, step, sample}}, key0, key1); }

  DEVICE uint32_t word(uint64_t element) const {
    const Words words = block(uint32_t(element / 4));
    const int i = int(element % 4);
    return i == 0 ? words.word[0] : i == 1 ? words.word[1] : i == 2 ? words.word[2] : words.word[3];
  }

  // Uniform in (0, 1).
  DEVICE float uniform(uint64_t element) const { return uniform_of(word(element)); }

  // The midpoint of the word's cell.
  DEVICE static float uniform_of(uint32_t word) { return (float(word >> 8) + 0.5f) * (1.0f / 16777216.0f); }

  // Standard normals of the four elements of a block: Box-Muller in f64, so that the float result does not depend on a
  // device's sine.
  DEVICE void normals(float (&to)[4], uint32_t block) const {
    const Words words = this->block(block);
    pair(to[0], to[1], words.word[0], words.word[1]);
    pair(to[2], to[3], words.word[2], words.word[3]);
  }

 private:
  DEVICE static double unit(uint32_t word) { return (double(word >> 8) + 0.5) / 16777216.0; }

  DEVICE static void pair(float& a, float& b, uint32_t radius, uint32_t angle) {
    const double r = ::sqrt(-2.0 * ::log(unit(radius)));
    const double turn = 6.283185307179586476925 * unit(angle);
    a = float(r * ::cos(turn));
    b = float(r * ::sin(turn));
  }
};

// Rounds to one of the two nearest bf16, to each as likely as the value is close to it; `random` has sixteen random
// bits. Infinities and NaN stay what they are.
DEVICE bf16 round_stochastically(float value, uint32_t random) {
#ifdef __CUDACC__
  const uint32_t bits = __float_as_uint(value);
#else
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
#endif
  if ((bits & 0x7F800000u) == 0x7F800000u) return bf16(value);
  return bf16::of_bits(uint16_t((bits + (random & 0xFFFFu)) >> 16));
}

// Functions of one float. Those in `math` are accurate to a few units in the last place; those in `fast` are the
// hardware's approximations, good to about 22 bits (tanh: 11).
#pragma once

#ifndef __CUDACC__
template <typename T>
inline T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
inline T max(T a, T b) {
  return a < b ? b : a;
}
#endif

namespace math {

DEVICE float exp(float x) { return ::expf(x); }
DEVICE float exp2(float x) { return ::exp2f(x); }
DEVICE float log(float x) { return ::logf(x); }
DEVICE float log2(float x) { return ::log2f(x); }
DEVICE float sqrt(float x) { return ::sqrtf(x); }
DEVICE double sqrt(double x) { return ::sqrt(x); }
DEVICE float tanh(float x) { return ::tanhf(x); }
DEVICE float erf(float x) { return ::erff(x); }
DEVICE float sin(float x) { return ::sinf(x); }
DEVICE float cos(float x) { return ::cosf(x); }
DEVICE float abs(float x) { return ::fabsf(x); }
DEVICE float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
DEVICE float max(float a, float b) { return ::fmaxf(a, b); }
DEVICE float min(float a, float b) { return ::fminf(a, b); }
DEVICE float rsqrt(float x) { return 1.0f / ::sqrtf(x); }
DEVICE float sigmoid(float x) { return 1.0f / (1.0f + ::expf(-x)); }
DEVICE bool is_finite(float x) { return ::fabsf(x) <= 3.402823466e38f; }

constexpr float INFINITE = __builtin_huge_valf();

}  // namespace math

namespace fast {

DEVICE float exp2(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return ::exp2f(x);
#endif
}

DEVICE float exp(float x) { return exp2(x * 1.4426950408889634f); }

DEVICE float log2(float x) {
#ifdef __CUDACC__
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return ::log2f(x);
#endif
}

DEVICE float log(float x) { return log2(x) * 0.6931471805599453f; }

DEVICE float reciprocal(float x) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

DEVICE float rsqrt(float x) {
#ifdef __CUDACC__
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / ::sqrtf(x);
#endif
}

DEVICE float tanh(float x) {
#ifdef __CUDACC__
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return ::tanhf(x);
#endif
}

DEVICE float sigmoid(float x) { return reciprocal(1.0f + exp(-x)); }

}  // namespace fast

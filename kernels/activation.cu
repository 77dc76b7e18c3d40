// Activations, y = f(x), and their gradients, dx (+)= f'(x) dy, elementwise.
#include "activation.h"
#include "activation_functions.cuh"
#include "elementwise.cuh"

template <typename F, typename T = bf16>
DEVICE void activate(const ActivateParams& p) {
  const auto value = [](float x) { return F::value(x); };
  elementwise::write(static_cast<T*>(p.y), p.elements, p.aligned, value, static_cast<const T*>(p.x));
}

template <typename F>
DEVICE void activate_gradient(const ActivateGradientParams& p) {
  const auto gradient = [](float x, float dy) { return F::slope(x) * dy; };
  const auto more = [](float x, float dy, float dx) { return dx + F::slope(x) * dy; };
  if (p.accumulates) {
    elementwise::write(p.dx, p.elements, p.aligned, more, p.x, p.dy, p.dx);
  } else {
    elementwise::write(p.dx, p.elements, p.aligned, gradient, p.x, p.dy);
  }
}

KERNEL(gelu_tanh, ActivateParams, elementwise::THREADS) { activate<activation::GeluTanh>(p); }
KERNEL(gelu_erf, ActivateParams, elementwise::THREADS) { activate<activation::GeluErf>(p); }
KERNEL(quick_gelu, ActivateParams, elementwise::THREADS) { activate<activation::QuickGelu>(p); }
KERNEL(silu, ActivateParams, elementwise::THREADS) { activate<activation::Silu>(p); }

KERNEL(gelu_tanh_f32, ActivateParams, elementwise::THREADS) { activate<activation::GeluTanh, float>(p); }
KERNEL(gelu_erf_f32, ActivateParams, elementwise::THREADS) { activate<activation::GeluErf, float>(p); }
KERNEL(quick_gelu_f32, ActivateParams, elementwise::THREADS) { activate<activation::QuickGelu, float>(p); }
KERNEL(silu_f32, ActivateParams, elementwise::THREADS) { activate<activation::Silu, float>(p); }

KERNEL(gelu_tanh_gradient, ActivateGradientParams, elementwise::THREADS) { activate_gradient<activation::GeluTanh>(p); }
KERNEL(gelu_erf_gradient, ActivateGradientParams, elementwise::THREADS) { activate_gradient<activation::GeluErf>(p); }
KERNEL(quick_gelu_gradient, ActivateGradientParams, elementwise::THREADS) {
  activate_gradient<activation::QuickGelu>(p);
}
KERNEL(silu_gradient, ActivateGradientParams, elementwise::THREADS) { activate_gradient<activation::Silu>(p); }

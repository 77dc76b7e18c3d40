// Activations, y = f(x), and their gradients, dx (+)= f'(x) dy, elementwise.
#include "activation.h"
#include "activation_functions.cuh"
#include "elementwise.cuh"

template <typename F>
DEVICE void activate(const ActivateParams& p) {
  elementwise::write(p.y, p.elements, p.aligned, [](float x) { return F::value(x); }, p.x);
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

KERNEL(gelu_tanh_gradient, ActivateGradientParams, elementwise::THREADS) { activate_gradient<activation::GeluTanh>(p); }
KERNEL(gelu_erf_gradient, ActivateGradientParams, elementwise::THREADS) { activate_gradient<activation::GeluErf>(p); }
KERNEL(quick_gelu_gradient, ActivateGradientParams, elementwise::THREADS) {
  activate_gradient<activation::QuickGelu>(p);
}
KERNEL(silu_gradient, ActivateGradientParams, elementwise::THREADS) { activate_gradient<activation::Silu>(p); }

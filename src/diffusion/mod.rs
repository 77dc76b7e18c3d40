//! Flow matching: noise levels, training densities, the sampler and its initial noise.

//! What a run leaves to look at: metrics, TensorBoard events, plots, grids, PNG text.

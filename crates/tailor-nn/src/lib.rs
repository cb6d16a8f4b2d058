//! Layers, the model zoo, weights in and out, summaries.

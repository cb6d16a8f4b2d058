//! CPU kernels for small convolutional networks.

//! What numbers say about a classifier: metrics, intervals, confusion, calibration.

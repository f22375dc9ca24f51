//! Brings the runs and metrics of a Weights & Biases project to a destination.

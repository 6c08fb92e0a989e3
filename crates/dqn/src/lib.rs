//! Deep Q-networks: replay, targets, double, dueling, n-step.

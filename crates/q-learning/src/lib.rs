//! Learning from samples with tables and linear features: Monte Carlo, temporal differences, SARSA, Q-learning.

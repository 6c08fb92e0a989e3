//! Exact solution of finite Markov decision processes.

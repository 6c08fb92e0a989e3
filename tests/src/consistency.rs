//! Whether book, source, checks and benchmarks agree on the equations.

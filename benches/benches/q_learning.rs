//! Benchmarks by equation.

fn main() {}

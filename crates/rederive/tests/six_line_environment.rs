//! The example learns what it says it learns.

use ndarray::Array2;
use rederive::math::{Stream, categorical};

#[path = "../examples/six_line_environment.rs"]
#[allow(dead_code, reason = "its `main` prints what is asserted here")]
mod example;

#[test]
fn the_loop_climbs_to_the_best_policy() {
    for seed in 0..3 {
        let mut theta = Array2::zeros((3, 3));
        let returns = example::train(&mut theta, 400, &mut Stream::new(seed, "six lines", 0));
        let mean_day = |returns: &[f64]| returns.iter().sum::<f64>() / (returns.len() * 5) as f64;
        let (first, last) = (mean_day(&returns[..5]), mean_day(&returns[380..]));
        // A policy that draws any position earns 1/6 a day, and the best 5/6.
        assert!((example::best_day() - 5.0 / 6.0).abs() < 1e-12);
        assert!(first < 0.5 && last > 0.7, "seed {seed}: from {first} to {last}");
        for (mood, logits) in theta.rows().into_iter().enumerate() {
            assert_eq!(categorical::mode(&logits.to_vec()), mood, "seed {seed}, mood {mood}: {logits}");
        }
    }
}

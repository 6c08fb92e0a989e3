use crate::Check;
use crate::generators::{normals, simplex_with_zeros};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Display;

mod divergence;
mod expectation;
mod exploration;
mod preference;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    let families = [expectation::checks(), divergence::checks(), preference::checks(), exploration::checks()];
    families.into_iter().flatten().collect()
}

/// A law and numbers that it weighs.
#[derive(Clone, Debug)]
struct Discrete {
    p: Vec<f64>,
    /// Few distinct whole numbers, so that outcomes collide.
    whole: Vec<i32>,
    real: Vec<f64>,
}

fn discrete() -> impl Strategy<Value = Discrete> + Clone + Send + Sync {
    (simplex_with_zeros(1..=6), vec(-2..=2i32, 6), normals(6)).prop_map(|(p, whole, real)| Discrete {
        whole: whole[..p.len()].to_vec(),
        real: real[..p.len()].to_vec(),
        p,
    })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What a call with valid laws gives; a refusal breaks the property.
fn law<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|fault| format!("refused: {fault}"))
}

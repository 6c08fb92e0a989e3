//! First-order optimisers (`opt.first-order`) and gradient clipping, each one pass over one flat array.

use crate::activation::reciprocal;
use rederive_math::{Real, multiversion};
use serde::{Deserialize, Serialize};
use std::any::TypeId;

/// Which rule, with its hyper-parameters. All states start at zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// `v <- momentum v + g`, step `lr v`.
    Sgd {
        /// Share of the old velocity kept, in [0, 1).
        momentum: f64,
    },
    /// `s <- decay s + (1 - decay) g^2`, step `lr g / (sqrt(s) + eps)` (Tieleman and Hinton, 2012).
    RmsProp {
        /// Share of the old mean square kept, in [0, 1).
        decay: f64,
        /// Added to the root, > 0.
        eps: f64,
    },
    /// Bias-corrected moments, step `lr m' / (sqrt(v') + eps)` (Kingma and Ba, 2015).
    Adam {
        /// Decay of the first moment, in [0, 1).
        beta1: f64,
        /// Decay of the second moment, in [0, 1).
        beta2: f64,
        /// Added to the root, > 0.
        eps: f64,
    },
    /// `u <- max(beta2 u, |g|)`, step `lr m' / (u + eps)` (Kingma and Ba, 2015, section 7.1).
    AdaMax {
        /// Decay of the first moment, in [0, 1).
        beta1: f64,
        /// Decay of the weighted infinity norm, in [0, 1).
        beta2: f64,
        /// Only keeps an all-zero gradient from giving 0 / 0.
        eps: f64,
    },
}

impl OptimizerConfig {
    /// Adam with the usual decays and the given `eps`.
    pub fn adam(eps: f64) -> Self {
        OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, eps }
    }
}

/// An optimiser with its state for one flat array of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer<F> {
    config: OptimizerConfig,
    first: Vec<F>,
    second: Vec<F>,
    steps: u64,
}

/// So many numbers are moved before their gradient is cleared: with their states they fit in the L1 cache.
const CHUNK: usize = 2048;

impl<F: Real> Optimizer<F> {
    /// A fresh optimiser for `num_params` parameters.
    pub fn new(config: OptimizerConfig, num_params: usize) -> Self {
        let (first, second) = match config {
            OptimizerConfig::Sgd { .. } => (num_params, 0),
            OptimizerConfig::RmsProp { .. } => (0, num_params),
            OptimizerConfig::Adam { .. } | OptimizerConfig::AdaMax { .. } => (num_params, num_params),
        };
        Optimizer { config, first: vec![F::zero(); first], second: vec![F::zero(); second], steps: 0 }
    }

    // ANCHOR: opt.first-order
    /// Moves `params` against `grad` with step size `lr`.
    ///
    /// # Panics
    /// If the lengths differ from the ones the optimiser was made for.
    pub fn step(&mut self, params: &mut [F], grad: &[F], lr: F) {
        self.begin(params, grad);
        self.move_part(0, params, grad, lr);
    }

    /// The same, and sets `grad` to zero: cheaper here than in a pass of its own, since every number is at hand.
    ///
    /// # Panics
    /// If the lengths differ from the ones the optimiser was made for.
    pub fn step_and_clear(&mut self, params: &mut [F], grad: &mut [F], lr: F) {
        self.begin(params, grad);
        for (i, (params, grad)) in params.chunks_mut(CHUNK).zip(grad.chunks_mut(CHUNK)).enumerate() {
            self.move_part(i * CHUNK, params, grad, lr);
            grad.fill(F::zero());
        }
    }

    /// Moves the parameters from number `from` on.
    fn move_part(&mut self, from: usize, params: &mut [F], grad: &[F], lr: F) {
        let correction = |beta: f64| 1.0 - beta.powi(self.steps.min(i32::MAX as u64) as i32);
        let to = from + params.len();
        // A rule without one of the two states does not look at it.
        let first = self.first.get_mut(from..to).unwrap_or_default();
        let second = self.second.get_mut(from..to).unwrap_or_default();
        match self.config {
            OptimizerConfig::Sgd { momentum } => sgd(params, grad, first, lr, F::of(momentum)),
            OptimizerConfig::RmsProp { decay, eps } => {
                rmsprop(params, grad, second, lr, F::of(decay), F::of(eps));
            }
            OptimizerConfig::Adam { beta1, beta2, eps } => {
                let step = AdamStep {
                    beta1: F::of(beta1),
                    beta2: F::of(beta2),
                    eps: F::of(eps),
                    lr: lr / F::of(correction(beta1)),
                    root_correction: F::of(correction(beta2).sqrt().recip()),
                };
                adam(step, params, grad, first, second);
            }
            OptimizerConfig::AdaMax { beta1, beta2, eps } => {
                let lr = lr / F::of(correction(beta1));
                adamax(params, grad, first, second, lr, F::of(beta1), F::of(beta2), F::of(eps));
            }
        }
    }
    // ANCHOR_END: opt.first-order

    /// Counts a step.
    fn begin(&mut self, params: &[F], grad: &[F]) {
        assert_eq!(params.len(), grad.len(), "params against grad");
        assert_eq!(
            params.len(),
            self.first.len().max(self.second.len()),
            "params against the optimiser's state"
        );
        self.steps += 1;
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The two state arrays (empty where the rule has none), for a checkpoint.
    pub fn state(&self) -> (&[F], &[F]) {
        (&self.first, &self.second)
    }

    /// The same to write to, with the number of steps, to go on from a checkpoint.
    pub fn state_mut(&mut self) -> (&mut [F], &mut [F], &mut u64) {
        (&mut self.first, &mut self.second, &mut self.steps)
    }
}

/// A moment, or 0 where it is so small (2e-31 in `f32`) that nothing depends on it. The moments of a weight without gradient,
/// behind a unit that is never active, would otherwise fade into subnormal numbers and stay there, and arithmetic on
/// those is a hundred times slower.
#[inline(always)]
fn settle<F: Real>(moment: F) -> F {
    if moment.abs() < F::min_positive_value() * F::of(f64::from(1 << 24)) { F::zero() } else { moment }
}

multiversion! {
    fn sgd<F: Real>(params: &mut [F], grad: &[F], velocity: &mut [F], lr: F, momentum: F) {
        for ((p, &g), v) in params.iter_mut().zip(grad).zip(velocity) {
            *v = settle(momentum * *v + g);
            *p -= lr * *v;
        }
    }
}

multiversion! {
    fn rmsprop<F: Real>(params: &mut [F], grad: &[F], square: &mut [F], lr: F, decay: F, eps: F) {
        for ((p, &g), s) in params.iter_mut().zip(grad).zip(square) {
            *s = settle(decay * *s + (F::one() - decay) * g * g);
            *p -= quotient(lr * g, s.sqrt() + eps);
        }
    }
}

multiversion! {
    fn adamax<F: Real>(p: &mut [F], g: &[F], m: &mut [F], u: &mut [F], lr: F, beta1: F, beta2: F, eps: F) {
        for (((p, &g), m), u) in p.iter_mut().zip(g).zip(m).zip(u) {
            *m = settle(beta1 * *m + (F::one() - beta1) * g);
            *u = settle((beta2 * *u).max(g.abs()));
            *p -= lr * *m / (*u + eps);
        }
    }
}

/// One Adam step with the bias corrections folded into two numbers.
#[derive(Clone, Copy)]
struct AdamStep<F> {
    beta1: F,
    beta2: F,
    eps: F,
    /// `lr / (1 - beta1^t)`
    lr: F,
    /// `1 / sqrt(1 - beta2^t)`
    root_correction: F,
}

multiversion! {
    fn adam<F: Real>(step: AdamStep<F>, params: &mut [F], grad: &[F], m: &mut [F], v: &mut [F]) {
        for (((p, &g), m), v) in params.iter_mut().zip(grad).zip(m).zip(v) {
            *m = settle(step.beta1.mul_add(*m, (F::one() - step.beta1) * g));
            *v = settle(step.beta2.mul_add(*v, (F::one() - step.beta2) * g * g));
            *p -= quotient(step.lr * *m, v.sqrt().mul_add(step.root_correction, step.eps));
        }
    }
}

/// `a / d`; in `f32` to an ulp or two. One unit computes all vector roots and quotients, and the two would take most of the
/// time of a step; this way it has only the root to do.
#[inline(always)]
fn quotient<F: Real>(a: F, d: F) -> F {
    if TypeId::of::<F>() != TypeId::of::<f32>() {
        return a / d;
    }
    // SAFETY: F is f32.
    let d = unsafe { std::mem::transmute_copy::<F, f32>(&d) };
    // SAFETY: as above.
    a * unsafe { std::mem::transmute_copy::<f32, F>(&reciprocal(d)) }
}

/// Scales `grad` so that its Euclidean norm is at most `max_norm`, and returns the norm it had. `grad` is left alone where
/// the norm is smaller, and where it is not finite (the caller stops with `Diverged`).
///
/// As in PyTorch, the scale is `max_norm / (norm + 1e-6)`.
pub fn clip_global_norm<F: Real>(grad: &mut [F], max_norm: F) -> F {
    let norm = sum_of_squares(grad).sqrt();
    let factor = max_norm / (norm + F::of(1e-6));
    if norm.is_finite() && factor < F::one() {
        scale(grad, factor);
    }
    norm
}

multiversion! {
    /// In 32 partial sums, so that it vectorises and still has one fixed order.
    fn sum_of_squares<F: Real>(x: &[F]) -> F {
        let mut partial = [F::zero(); 32];
        let chunks = x.chunks_exact(32);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (s, &x) in partial.iter_mut().zip(chunk) {
                *s += x * x;
            }
        }
        for (s, &x) in partial.iter_mut().zip(rest) {
            *s += x * x;
        }
        let mut total = F::zero();
        for s in partial {
            total += s;
        }
        total
    }
}

multiversion! {
    fn scale<F: Real>(x: &mut [F], factor: F) {
        for x in x {
            *x *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_adam_step_is_the_sign_of_the_gradient() {
        let mut adam = Optimizer::<f64>::new(OptimizerConfig::adam(1e-8), 3);
        let mut params = [1.0, 1.0, 1.0];
        adam.step(&mut params, &[3.0, -0.01, 0.0], 0.1);
        for (p, want) in params.iter().zip([0.9, 1.1, 1.0]) {
            assert!((p - want).abs() < 1e-6, "{params:?}");
        }
    }

    #[test]
    fn moments_without_gradient_fade_to_zero() {
        for config in [
            OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerConfig::RmsProp { decay: 0.9, eps: 1e-8 },
            OptimizerConfig::Adam { beta1: 0.9, beta2: 0.9, eps: 1e-8 },
            OptimizerConfig::AdaMax { beta1: 0.9, beta2: 0.9, eps: 1e-8 },
        ] {
            let mut optimizer = Optimizer::<f32>::new(config, 20);
            let mut params = [1.0; 20];
            optimizer.step(&mut params, &[1e-3; 20], 0.1);
            for _ in 0..1000 {
                optimizer.step(&mut params, &[0.0; 20], 0.1);
                let (first, second) = optimizer.state();
                assert!(first.iter().chain(second).all(|x| *x == 0.0 || x.is_normal()), "{config:?}");
            }
            let (first, second) = optimizer.state();
            assert!(first.iter().chain(second).all(|&x| x == 0.0), "{config:?}");
        }
    }

    #[test]
    fn a_quotient_is_accurate_at_every_exponent() {
        let mut worst = 0.0f64;
        for bits in (1e-30f32.to_bits()..1e30f32.to_bits()).step_by(997) {
            let d = f32::from_bits(bits);
            let want = 3.0 / f64::from(d);
            worst = worst.max((f64::from(quotient(3.0, d)) - want).abs() / want);
        }
        assert!(worst < 2e-7, "relative error {worst}");
        assert_eq!(quotient(3.0f64, 7.0), 3.0 / 7.0);
        assert!(quotient(f32::NAN, 1.0).is_nan() && quotient(1.0, f32::NAN).is_nan());
    }

    #[test]
    fn a_step_that_clears_the_gradient_moves_as_far() {
        let len = 2 * CHUNK + 17;
        let grad: Vec<f32> = (0..len).map(|i| (i as f32).sin()).collect();
        for config in [
            OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerConfig::RmsProp { decay: 0.9, eps: 1e-8 },
            OptimizerConfig::adam(1e-8),
            OptimizerConfig::AdaMax { beta1: 0.9, beta2: 0.9, eps: 1e-8 },
        ] {
            let (mut one, mut other) = (Optimizer::new(config, len), Optimizer::new(config, len));
            let (mut a, mut b) = (vec![1.0; len], vec![1.0; len]);
            for _ in 0..3 {
                let mut used = grad.clone();
                one.step(&mut a, &grad, 0.1);
                other.step_and_clear(&mut b, &mut used, 0.1);
                assert!(used.iter().all(|&g| g == 0.0));
            }
            assert_eq!((a, one), (b, other), "{config:?}");
        }
    }

    #[test]
    fn clipping_leaves_short_gradients_alone() {
        let mut g = [3.0f64, 4.0];
        assert_eq!(clip_global_norm(&mut g, 10.0), 5.0);
        assert_eq!(g, [3.0, 4.0]);
        assert_eq!(clip_global_norm(&mut g, 1.0), 5.0);
        assert!((g[0] - 0.6).abs() < 1e-6 && (g[1] - 0.8).abs() < 1e-6);
    }
}

//! The categorical distribution over logits: `pi_a = exp(z_a) / sum_b exp(z_b)`.
//!
//! Row functions take one row of logits `[A]`; [`evaluate`] and [`backward`] are their batched forms for learning loops, with
//! nothing allocated and, in `f32`, vectorised over the batch.

use crate::{Real, Stream, multiversion};

// ANCHOR: policy.softmax
/// `log pi = z - lse(z)` with the maximum subtracted first (`policy.softmax`). `logits` and `out` are `[A]`.
///
/// # Panics
/// If there is no action, or the lengths differ.
pub fn log_softmax<F: Real>(logits: &[F], out: &mut [F]) {
    assert!(!logits.is_empty(), "a categorical distribution needs at least one action");
    assert_eq!(logits.len(), out.len(), "logits against out");
    let max = maximum(logits);
    let lse = max + logits.iter().map(|&z| (z - max).exp()).sum::<F>().ln();
    for (o, &z) in out.iter_mut().zip(logits) {
        *o = z - lse;
    }
}

/// Adds `scale * d log pi(action) / d z = scale * (e_action - pi)` to `grad` `[A]` (`policy.softmax`).
///
/// # Panics
/// If the lengths differ or there is no such action.
pub fn add_d_log_prob<F: Real>(logits: &[F], action: usize, scale: F, grad: &mut [F]) {
    assert_eq!(logits.len(), grad.len(), "logits against grad");
    let lse = log_sum_exp(logits);
    for (g, &z) in grad.iter_mut().zip(logits) {
        *g -= scale * (z - lse).exp();
    }
    grad[action] += scale;
}
// ANCHOR_END: policy.softmax

/// `log pi(action)`.
///
/// # Panics
/// If there is no such action.
pub fn log_prob<F: Real>(logits: &[F], action: usize) -> F {
    logits[action] - log_sum_exp(logits)
}

/// `pi`, written to `out` `[A]`.
pub fn probabilities<F: Real>(logits: &[F], out: &mut [F]) {
    log_softmax(logits, out);
    out.iter_mut().for_each(|p| *p = p.exp());
}

/// `H = -sum pi log pi` in nats; an action with logit -infinity counts 0.
pub fn entropy<F: Real>(logits: &[F]) -> F {
    let lse = log_sum_exp(logits);
    logits.iter().map(|&z| minus_p_log_p((z - lse).exp(), z - lse)).sum()
}

// ANCHOR: ent.bonus
/// Adds `scale * dH / dz_a = -scale * pi_a (log pi_a + H)` to `grad` `[A]` (`ent.bonus`).
///
/// # Panics
/// If the lengths differ.
pub fn add_d_entropy<F: Real>(logits: &[F], scale: F, grad: &mut [F]) {
    assert_eq!(logits.len(), grad.len(), "logits against grad");
    let lse = log_sum_exp(logits);
    let h = entropy(logits);
    for (g, &z) in grad.iter_mut().zip(logits) {
        let log_p = z - lse;
        let p = log_p.exp();
        if p > F::zero() {
            *g -= scale * p * (log_p + h);
        }
    }
}
// ANCHOR_END: ent.bonus

/// `KL(p || q)` in nats for two rows of logits; infinite where `q` gives 0 to an action that `p` does not.
///
/// # Panics
/// If the lengths differ.
pub fn kl<F: Real>(logits_p: &[F], logits_q: &[F]) -> F {
    assert_eq!(logits_p.len(), logits_q.len(), "logits of p against logits of q");
    let (lse_p, lse_q) = (log_sum_exp(logits_p), log_sum_exp(logits_q));
    logits_p
        .iter()
        .zip(logits_q)
        .map(|(&a, &b)| {
            let (log_p, log_q) = (a - lse_p, b - lse_q);
            let p = log_p.exp();
            if p == F::zero() { F::zero() } else { p * (log_p - log_q) }
        })
        .sum()
}

/// Adds `scale * d KL(p || q) / d z_q = scale * (q - p)` to `grad` `[A]`.
pub fn add_d_kl_second<F: Real>(logits_p: &[F], logits_q: &[F], scale: F, grad: &mut [F]) {
    assert_eq!(logits_p.len(), logits_q.len(), "logits of p against logits of q");
    assert_eq!(logits_q.len(), grad.len(), "logits of q against grad");
    let (lse_p, lse_q) = (log_sum_exp(logits_p), log_sum_exp(logits_q));
    for ((g, &a), &b) in grad.iter_mut().zip(logits_p).zip(logits_q) {
        *g += scale * ((b - lse_q).exp() - (a - lse_p).exp());
    }
}

/// Adds `scale * d KL(p || q) / d z_p`, with components `p_a (log(p_a / q_a) - KL)`, to `grad` `[A]`.
pub fn add_d_kl_first<F: Real>(logits_p: &[F], logits_q: &[F], scale: F, grad: &mut [F]) {
    assert_eq!(logits_p.len(), grad.len(), "logits of p against grad");
    let (lse_p, lse_q) = (log_sum_exp(logits_p), log_sum_exp(logits_q));
    let total = kl(logits_p, logits_q);
    for ((g, &a), &b) in grad.iter_mut().zip(logits_p).zip(logits_q) {
        let log_p = a - lse_p;
        let p = log_p.exp();
        if p > F::zero() {
            *g += scale * p * (log_p - (b - lse_q) - total);
        }
    }
}

/// The action with the largest logit; the first of several.
///
/// # Panics
/// If there is no action.
pub fn mode<F: Real>(logits: &[F]) -> usize {
    let mut best = 0;
    for (a, &z) in logits.iter().enumerate() {
        if z > logits[best] {
            best = a;
        }
    }
    best
}

/// The action whose slice of the cumulative distribution contains `u` in [0, 1).
///
/// # Panics
/// If there is no action.
#[inline(always)]
pub fn sample<F: Real>(logits: &[F], u: F) -> usize {
    let max = maximum(logits);
    // No closures here: they would be compiled for the baseline, without fused products.
    let mut total = F::zero();
    for &z in logits {
        total += (z - max).vexp();
    }
    let mut left = u * total;
    for (a, &z) in logits.iter().enumerate() {
        left -= (z - max).vexp();
        if left < F::zero() {
            return a;
        }
    }
    // Only rounding leads here: the last action that has any probability.
    logits.iter().rposition(|&z| z > F::neg_infinity()).unwrap_or(logits.len() - 1)
}

multiversion! {
    /// Samples one action per row of `logits` `[N, A]`, each from its own stream, and writes the actions and their
    /// log-probabilities `[N]`.
    ///
    /// # Panics
    /// If the lengths do not belong together.
    pub fn sample_rows<F: Real>(
        logits: &[F],
        num_actions: usize,
        streams: &mut [Stream],
        action: &mut [u32],
        log_prob: &mut [F],
    ) {
        assert_eq!(logits.len(), action.len() * num_actions, "logits against actions and their number");
        assert_eq!(action.len(), log_prob.len(), "action against log_prob");
        assert_eq!(action.len(), streams.len(), "action against streams");
        for (n, row) in logits.chunks_exact(num_actions).enumerate() {
            let a = sample(row, F::of(streams[n].unit()));
            let max = maximum(row);
            let mut total = F::zero();
            for &z in row {
                total += (z - max).vexp();
            }
            action[n] = a as u32;
            log_prob[n] = row[a] - max - total.vln();
        }
    }
}

/// What [`evaluate`] leaves for [`backward`], and its results.
#[derive(Clone, Debug, Default)]
pub struct Evaluation<F> {
    num_actions: usize,
    log_softmax: Vec<F>,
    probability: Vec<F>,
    row: Vec<F>,
    /// `log pi(action)` per row `[B]`.
    pub log_prob: Vec<F>,
    /// Entropy per row `[B]`, nats.
    pub entropy: Vec<F>,
}

impl<F: Real> Evaluation<F> {
    /// Room for up to `batch` rows of `num_actions` logits.
    pub fn new(batch: usize, num_actions: usize) -> Self {
        let mut room = Evaluation { num_actions, ..Default::default() };
        room.resize(batch);
        room
    }

    /// Makes room for exactly `batch` rows; allocates only if there never was as much.
    pub fn resize(&mut self, batch: usize) {
        self.log_softmax.resize(batch * self.num_actions, F::zero());
        self.probability.resize(batch * self.num_actions, F::zero());
        for v in [&mut self.row, &mut self.log_prob, &mut self.entropy] {
            v.resize(batch, F::zero());
        }
    }
}

multiversion! {
    /// Log-probability of the action taken and entropy for every row of `logits` `[B, A]`, in passes over the whole batch, so
    /// that the exponentials and logarithms fill the vector registers.
    ///
    /// # Panics
    /// If the lengths do not belong together, or an action is out of range.
    pub fn evaluate<F: Real>(logits: &[F], action: &[u32], out: &mut Evaluation<F>) {
        assert_eq!(logits.len(), action.len() * out.num_actions, "logits against actions and their number");
        out.resize(action.len());
        let n = out.num_actions;
        for (to, from) in out.log_softmax.chunks_exact_mut(n).zip(logits.chunks_exact(n)) {
            let max = maximum(from);
            for (o, &z) in to.iter_mut().zip(from) {
                *o = z - max;
            }
        }
        for (p, &z) in out.probability.iter_mut().zip(&out.log_softmax) {
            *p = z.vexp();
        }
        for (sum, p) in out.row.iter_mut().zip(out.probability.chunks_exact(n)) {
            *sum = p.iter().copied().sum();
        }
        for (p, &sum) in out.probability.chunks_exact_mut(n).zip(&out.row) {
            let scale = sum.recip();
            p.iter_mut().for_each(|p| *p *= scale);
        }
        for sum in &mut out.row {
            *sum = sum.vln();
        }
        for (b, ((log_p, p), &a)) in
            out.log_softmax.chunks_exact_mut(n).zip(out.probability.chunks_exact(n)).zip(action).enumerate()
        {
            let lse = out.row[b];
            let mut h = F::zero();
            for (l, &p) in log_p.iter_mut().zip(p) {
                *l -= lse;
                h += minus_p_log_p(p, *l);
            }
            out.entropy[b] = h;
            out.log_prob[b] = log_p[a as usize];
        }
    }
}

/// The gradient at the logits `[B, A]` of a loss whose gradients at `log_prob` and `entropy` are given per row, after
/// [`evaluate`] on the same logits and actions. Overwrites `d_logits`.
///
/// # Panics
/// If the lengths do not belong together.
pub fn backward<F: Real>(
    evaluation: &Evaluation<F>,
    action: &[u32],
    d_log_prob: &[F],
    d_entropy: &[F],
    d_logits: &mut [F],
) {
    let n = evaluation.num_actions;
    assert_eq!(evaluation.log_prob.len(), action.len(), "the evaluation against action");
    assert_eq!(d_log_prob.len(), action.len(), "d_log_prob against action");
    assert_eq!(d_entropy.len(), action.len(), "d_entropy against action");
    assert_eq!(d_logits.len(), action.len() * n, "d_logits against actions and their number");
    for (b, &a) in action.iter().enumerate() {
        let row = b * n..(b + 1) * n;
        let (dl, dh, h) = (d_log_prob[b], d_entropy[b], evaluation.entropy[b]);
        let d = &mut d_logits[row.clone()];
        for ((d, &p), &log_p) in
            d.iter_mut().zip(&evaluation.probability[row.clone()]).zip(&evaluation.log_softmax[row])
        {
            let entropy_part = if p > F::zero() { dh * p * (log_p + h) } else { F::zero() };
            *d = -dl * p - entropy_part;
        }
        d[a as usize] += dl;
    }
}

#[inline(always)]
fn maximum<F: Real>(x: &[F]) -> F {
    // A NaN stays: a comparison that is false keeps the new value.
    let mut max = F::neg_infinity();
    for &x in x {
        max = if max > x { max } else { x };
    }
    max
}

fn log_sum_exp<F: Real>(x: &[F]) -> F {
    let max = maximum(x);
    max + x.iter().map(|&z| (z - max).exp()).sum::<F>().ln()
}

#[inline(always)]
fn minus_p_log_p<F: Real>(p: F, log_p: F) -> F {
    // NaN is not zero, and must not become it.
    if p == F::zero() { F::zero() } else { -p * log_p }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_that_raises_one_probability_lowers_the_other() {
        // Reward 10 on action 0 from the uniform policy, step size 0.1.
        let mut logits = [0.0f64; 2];
        let before = logits;
        add_d_log_prob(&before, 0, 0.1 * 10.0, &mut logits);
        let mut p = [0.0; 2];
        probabilities(&logits, &mut p);
        assert!((p[0] - 0.731059).abs() < 1e-6 && (p[1] - 0.268941).abs() < 1e-6, "{p:?}");
    }

    #[test]
    fn extreme_logits_give_no_nan() {
        let logits = [1e3, -1e3, f64::NEG_INFINITY];
        assert_eq!(entropy(&logits), 0.0);
        assert_eq!(log_prob(&logits, 0), 0.0);
        let mut grad = [0.0; 3];
        add_d_entropy(&logits, 1.0, &mut grad);
        add_d_log_prob(&logits, 0, 1.0, &mut grad);
        assert_eq!(grad, [0.0; 3]);
        let mut evaluation = Evaluation::new(1, 3);
        evaluate(&logits, &[0], &mut evaluation);
        assert_eq!((evaluation.log_prob[0], evaluation.entropy[0]), (0.0, 0.0));
    }

    #[test]
    fn every_slice_of_the_unit_interval_has_its_action() {
        let logits = [0.2f64.ln(), 0.5f64.ln(), 0.3f64.ln()];
        let drawn: Vec<usize> = [0.0, 0.19, 0.21, 0.69, 0.71, 0.999_999].map(|u| sample(&logits, u)).to_vec();
        assert_eq!(drawn, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn the_batched_forms_equal_the_row_functions() {
        let mut rng = Stream::new(5, "categorical", 0);
        for num_actions in [1, 2, 3, 7, 18] {
            let batch = 37;
            let logits: Vec<f32> = (0..batch * num_actions).map(|_| 3.0 * rng.normal() as f32).collect();
            let action: Vec<u32> = (0..batch).map(|_| rng.below(num_actions as u32)).collect();
            let mut evaluation = Evaluation::new(batch, num_actions);
            evaluate(&logits, &action, &mut evaluation);
            let d_log_prob: Vec<f32> = (0..batch).map(|_| rng.normal() as f32).collect();
            let d_entropy: Vec<f32> = (0..batch).map(|_| rng.normal() as f32).collect();
            let mut d_logits = vec![f32::NAN; logits.len()];
            backward(&evaluation, &action, &d_log_prob, &d_entropy, &mut d_logits);
            for b in 0..batch {
                let row: Vec<f64> =
                    logits[b * num_actions..(b + 1) * num_actions].iter().map(|&z| f64::from(z)).collect();
                let mut want = vec![0.0; num_actions];
                add_d_log_prob(&row, action[b] as usize, f64::from(d_log_prob[b]), &mut want);
                add_d_entropy(&row, f64::from(d_entropy[b]), &mut want);
                assert!(
                    (f64::from(evaluation.log_prob[b]) - log_prob(&row, action[b] as usize)).abs() < 5e-6
                );
                assert!((f64::from(evaluation.entropy[b]) - entropy(&row)).abs() < 5e-6);
                for (a, w) in want.iter().enumerate() {
                    assert!((f64::from(d_logits[b * num_actions + a]) - w).abs() < 5e-6);
                }
            }
        }
    }
}

//! Normalised advantages and the statistics of a batch.

use crate::sum::{BLOCK, Sums};
use crate::{Real, multiversion};

/// The sum of `term` over the entries whose mask is true; a masked entry is not used, whatever it is.
#[inline(always)]
fn sum<F: Real>(x: &[F], mask: Option<&[bool]>, term: impl Fn(F) -> F) -> F {
    let mut sums = Sums::new();
    let Sums([sum]) = &mut sums;
    match mask {
        None => {
            for x in x.chunks(BLOCK) {
                for (sum, &x) in sum.iter_mut().zip(x) {
                    *sum += term(x);
                }
            }
        }
        Some(mask) => {
            for (x, mask) in x.chunks(BLOCK).zip(mask.chunks(BLOCK)) {
                for ((sum, &x), &keep) in sum.iter_mut().zip(x).zip(mask) {
                    *sum += if keep { term(x) } else { F::zero() };
                }
            }
        }
    }
    let [total] = sums.totals();
    total
}

/// The mean of the entries that count, and one over their standard deviation plus `eps`.
// ANCHOR: ppo.adv-norm
#[inline(always)]
fn mean_and_scale<F: Real>(advantage: &[F], mask: Option<&[bool]>, count: usize, eps: F) -> (F, F) {
    let share = F::one() / F::of(count as f64);
    let mean = sum(advantage, mask, |a| a) * share;
    let variance = sum(advantage, mask, |a| (a - mean) * (a - mean)) * share;
    (mean, F::one() / (variance.sqrt() + eps))
}

multiversion! {
    fn advantages_body<F: Real>(advantage: &mut [F], eps: F) {
        let first = advantage[0];
        // A NaN differs from the first entry too, and stays visible.
        let differ = advantage.iter().fold(false, |differ, &a| differ | (a != first));
        let (mean, scale) = mean_and_scale(advantage, None, advantage.len(), eps);
        for a in advantage.iter_mut() {
            *a = if differ { (*a - mean) * scale } else { F::zero() };
        }
    }
}

multiversion! {
    fn masked_body<F: Real>(advantage: &mut [F], mask: &[bool], first: usize, eps: F) {
        let mask = &mask[..advantage.len()];
        let first = advantage[first];
        let kept = advantage.iter().zip(mask);
        let differ = kept.fold(false, |differ, (&a, &keep)| differ | (keep & (a != first)));
        let count = mask.iter().map(|&keep| usize::from(keep)).sum();
        let (mean, scale) = mean_and_scale(advantage, Some(mask), count, eps);
        for (a, &keep) in advantage.iter_mut().zip(mask) {
            let normalised = if differ { (*a - mean) * scale } else { F::zero() };
            *a = if keep { normalised } else { *a };
        }
    }
}
// ANCHOR_END: ppo.adv-norm

/// Centres and scales a batch of advantages in place.
///
/// ID `ppo.adv-norm`: `(A - mean) / (std + eps)` with the population standard deviation (divided by `B`), in two passes. The
/// result has mean 0 and, as `eps -> 0`, standard deviation 1; it keeps the order of the entries and not their signs. Every
/// entry then depends on the whole batch.
///
/// If all entries are equal, in particular if there is only one, the result is exactly 0, for every `eps` including 0.
///
/// Shape: `[B]`; an empty batch stays empty.
///
/// Source: S. Huang et al. (2022), The 37 Implementation Details of Proximal Policy Optimization, detail 7.
#[doc(alias = "normalize_advantage")]
#[doc(alias = "norm_adv")]
pub fn advantages<F: Real>(advantage: &mut [F], eps: F) {
    if !advantage.is_empty() {
        advantages_body(advantage, eps);
    }
}

/// [`advantages`] over the entries with `mask` true only; the others are neither read into the statistics nor written.
///
/// # Panics
/// If the lengths differ.
pub fn masked<F: Real>(advantage: &mut [F], mask: &[bool], eps: F) {
    assert!(
        advantage.len() == mask.len(),
        "advantage has {} entries but mask has {}",
        advantage.len(),
        mask.len()
    );
    if let Some(first) = mask.iter().position(|&keep| keep) {
        masked_body(advantage, mask, first, eps);
    }
}

/// How much of the targets' variance the values explain: `1 - Var(target - value) / Var(target)`.
///
/// 1 is a perfect fit up to a constant, 0 no better than a constant, negative worse. NaN if the targets do not vary: the
/// question has no answer then.
///
/// Shapes: both `[B]`.
///
/// # Panics
/// If the lengths differ.
pub fn explained_variance<F: Real>(value: &[F], target: &[F]) -> F {
    assert!(value.len() == target.len(), "value has {} entries but target has {}", value.len(), target.len());
    let mut targets = Moments::default();
    let mut errors = Moments::default();
    for (&v, &y) in value.iter().zip(target) {
        targets.push(y);
        errors.push(y - v);
    }
    let variance = targets.variance();
    if variance > F::zero() { F::one() - errors.variance() / variance } else { F::nan() }
}

/// Count, mean and sum of squared deviations of the numbers seen so far; two of them merge into that of both sets.
///
/// Source: T. F. Chan, G. H. Golub, R. J. LeVeque (1983), Algorithms for Computing the Sample Variance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments<F> {
    /// How many numbers.
    pub count: u64,
    /// Their mean; 0 if there are none.
    pub mean: F,
    /// The sum of their squared distances from the mean.
    pub square: F,
}

impl<F: Real> Moments<F> {
    /// Takes one more number in.
    #[inline]
    pub fn push(&mut self, x: F) {
        self.count += 1;
        let before = x - self.mean;
        self.mean += before / F::of(self.count as f64);
        self.square += before * (x - self.mean);
    }

    /// Takes the numbers of another set in.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let count = self.count + other.count;
        let share = F::of(other.count as f64 / count as f64);
        let apart = other.mean - self.mean;
        self.square += other.square + apart * apart * F::of(self.count as f64) * share;
        self.mean += apart * share;
        self.count = count;
    }

    /// The population variance (divided by the count); 0 if there are no numbers.
    pub fn variance(&self) -> F {
        if self.count == 0 { F::zero() } else { self.square / F::of(self.count as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::at_every_level;

    #[test]
    fn one_two_three() {
        let mut a = [1.0f64, 2.0, 3.0];
        advantages(&mut a, 0.0);
        assert!((a[0] + 1.5f64.sqrt()).abs() < 1e-15 && a[1] == 0.0 && (a[2] - 1.5f64.sqrt()).abs() < 1e-15);
        let mut a = [1.0f64, f64::NAN, 2.0, 3.0];
        masked(&mut a, &[true, false, true, true], 0.0);
        assert!((a[0] + 1.5f64.sqrt()).abs() < 1e-15 && a[1].is_nan() && a[2] == 0.0);
    }

    #[test]
    fn equal_entries_give_zeros_and_nan_shows() {
        for n in 1..40 {
            let mut a = vec![0.1f32; n];
            advantages(&mut a, 0.0);
            assert!(a.iter().all(|&x| x == 0.0));
        }
        let mut a = [f64::NAN, 1.0];
        advantages(&mut a, 1e-8);
        assert!(a[0].is_nan() && a[1].is_nan());
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        for n in [2, 15, 16, 17, 100] {
            let batch: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
            let results = at_every_level(|| {
                let mut a = batch.clone();
                advantages(&mut a, 1e-8);
                a
            });
            assert!(results.iter().all(|r| r == &results[0]));
        }
    }

    #[test]
    fn merged_moments_are_those_of_all() {
        let (mut all, mut a, mut b) = (Moments::default(), Moments::default(), Moments::default());
        for (i, x) in [1.0f64, 4.0, 9.0, 16.0, 25.0].into_iter().enumerate() {
            all.push(x);
            if i < 2 { a.push(x) } else { b.push(x) }
        }
        a.merge(&b);
        assert!((a.mean - 11.0).abs() < 1e-12 && (a.variance() - all.variance()).abs() < 1e-12);
        assert!((explained_variance(&[2.0, 5.0], &[1.0, 4.0]) - 1.0f64).abs() < 1e-15);
    }
}

//! Entropy, divergences between finite laws, and what they bound.
//!
//! A law is a slice of probabilities `[n]`. Each function validates its laws and returns [`NotALaw`] for anything else.
//! Logarithms are natural unless a name says bits; `0 log 0` is 0, and a divergence from a law that misses an outcome
//! is `+inf`, never NaN.

use crate::Real;
use ndarray::{Array1, ArrayRef2, ArrayView1};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::fmt;

/// Why an array is not a probability law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NotALaw {
    /// There is no outcome.
    Empty,
    /// An entry is negative, infinite or no number.
    Entry {
        /// Which one.
        index: usize,
        /// The entry.
        value: f64,
    },
    /// The entries do not add up to 1.
    Sum {
        /// What they add up to.
        sum: f64,
    },
}

impl fmt::Display for NotALaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotALaw::Empty => write!(f, "a law needs at least one outcome"),
            NotALaw::Entry { index, value } => write!(f, "entry {index} is {value}, which is no probability"),
            NotALaw::Sum { sum } => write!(f, "the probabilities add up to {sum} instead of 1"),
        }
    }
}

impl Error for NotALaw {}

/// Whether `prob` `[n]` is a law: no entry is negative, and the sum is 1 up to 1e-9 (in `f32` up to 4e-6).
///
/// # Errors
/// The first fault found.
pub fn validate<F: Real>(prob: &[F]) -> Result<(), NotALaw> {
    validate_entries(prob.iter().copied())
}

pub(crate) fn validate_entries<F: Real>(prob: impl ExactSizeIterator<Item = F>) -> Result<(), NotALaw> {
    if prob.len() == 0 {
        return Err(NotALaw::Empty);
    }
    let mut sum = 0.0;
    for (index, p) in prob.enumerate() {
        let value = p.to_f64();
        // Written so that NaN is refused.
        if !(0.0..f64::INFINITY).contains(&value) {
            return Err(NotALaw::Entry { index, value });
        }
        sum += value;
    }
    let tolerance = f64::max(1e-9, 32.0 * F::epsilon().to_f64());
    if (sum - 1.0).abs() <= tolerance { Ok(()) } else { Err(NotALaw::Sum { sum }) }
}

fn validate_pair<F: Real>(p: &[F], q: &[F]) -> Result<(), NotALaw> {
    assert!(p.len() == q.len(), "p has {} outcomes but q has {}", p.len(), q.len());
    validate(p)?;
    validate(q)
}

/// Shannon entropy in nats.
///
/// ID `prob.entropy`: `H(p) = -sum_x p(x) log p(x)`, between 0 (a sure outcome) and `log n` (the uniform law).
///
/// Shape: `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// Source: C. E. Shannon (1948), A Mathematical Theory of Communication.
// ANCHOR: prob.entropy
pub fn entropy<F: Real>(p: &[F]) -> Result<F, NotALaw> {
    validate(p)?;
    Ok(p.iter().filter(|&&p| p > F::zero()).map(|&p| -p * p.ln()).sum())
}

/// Shannon entropy in bits: [`entropy`] divided by `ln 2`.
///
/// ID `prob.entropy`.
///
/// # Errors
/// [`NotALaw`].
///
/// Source: C. E. Shannon (1948), A Mathematical Theory of Communication.
pub fn entropy_bits<F: Real>(p: &[F]) -> Result<F, NotALaw> {
    Ok(entropy(p)? / F::LN_2())
}

/// The expected length, in bits per symbol, of the best binary prefix code for the symbols that can occur.
///
/// ID `prob.entropy`: `H_2(p) <= L < H_2(p) + 1`. Symbols of probability 0 get no code word (with one the strict bound
/// breaks), and a single symbol needs no bits. The length is the sum of all merged weights of Huffman's tree.
///
/// # Errors
/// [`NotALaw`].
///
/// Source: D. A. Huffman (1952), A Method for the Construction of Minimum-Redundancy Codes.
pub fn huffman_length<F: Real>(p: &[F]) -> Result<F, NotALaw> {
    validate(p)?;
    // The bits of non-negative floating-point numbers are ordered like the numbers.
    let bits = p.iter().filter(|&&p| p > F::zero()).map(|&p| Reverse(Real::to_f64(p).to_bits()));
    let mut heap: BinaryHeap<_> = bits.collect();
    let mut length = 0.0;
    while let (Some(Reverse(a)), Some(Reverse(b))) = (heap.pop(), heap.pop()) {
        let merged = f64::from_bits(a) + f64::from_bits(b);
        length += merged;
        if heap.is_empty() {
            break;
        }
        heap.push(Reverse(merged.to_bits()));
    }
    Ok(F::of(length))
}
// ANCHOR_END: prob.entropy

/// The mean of `-log q` under `p`, in nats; `+inf` where `q` misses an outcome of `p`.
///
/// ID `prob.cross-entropy`: `-sum_x p(x) log q(x) = H(p) + KL(p || q)`.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ.
///
/// Source: C. E. Shannon (1948), A Mathematical Theory of Communication.
// ANCHOR: prob.cross-entropy
pub fn cross_entropy<F: Real>(p: &[F], q: &[F]) -> Result<F, NotALaw> {
    validate_pair(p, q)?;
    Ok(p.iter().zip(q).filter(|(p, _)| **p > F::zero()).map(|(&p, &q)| -p * q.ln()).sum())
}
// ANCHOR_END: prob.cross-entropy

/// The Kullback-Leibler divergence in nats; `+inf` where `q` misses an outcome of `p`.
///
/// ID `prob.kl`: `KL(p || q) = sum_x p(x) log(p(x) / q(x)) >= 0`, and 0 only for `p = q`. The two orders differ, and
/// there is no triangle inequality.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`]: of masses that are not normalised the sum can be negative.
///
/// # Panics
/// If the lengths differ.
///
/// Source: S. Kullback, R. A. Leibler (1951), On Information and Sufficiency.
// ANCHOR: prob.kl
pub fn kl<F: Real>(p: &[F], q: &[F]) -> Result<F, NotALaw> {
    validate_pair(p, q)?;
    Ok(p.iter().zip(q).filter(|(p, _)| **p > F::zero()).map(|(&p, &q)| p * (p.ln() - q.ln())).sum())
}
// ANCHOR_END: prob.kl

/// The two marginals of a joint law, whose product is the product law closest to it.
///
/// ID `prob.kl-projection`: `KL(p || q_1 x q_2) = KL(p || p_1 x p_2) + KL(p_1 || q_1) + KL(p_2 || q_2)`, so the
/// marginals are the only minimiser of the forward divergence. The reverse divergence has no such property.
///
/// Shapes: `joint` `[n, m]`, `first` `[n]`, `second` `[m]`; both are overwritten.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: I. Csiszar (1975), I-Divergence Geometry of Probability Distributions and Minimization Problems.
// ANCHOR: prob.kl-projection
pub fn marginals<F: Real>(joint: &ArrayRef2<F>, first: &mut [F], second: &mut [F]) -> Result<(), NotALaw> {
    let (n, m) = joint.dim();
    assert!(n == first.len(), "joint has {n} rows but first has {} entries", first.len());
    assert!(m == second.len(), "joint has {m} columns but second has {} entries", second.len());
    validate_entries(joint.iter().copied())?;
    first.fill(F::zero());
    second.fill(F::zero());
    for ((i, j), &p) in joint.indexed_iter() {
        first[i] += p;
        second[j] += p;
    }
    Ok(())
}

/// The divergence of a joint law from a product law in nats; `+inf` where the product misses an outcome.
///
/// ID `prob.kl-projection`: `KL(p || q_1 x q_2) = sum_ij p_ij log(p_ij / (q_1i q_2j))`; at the [`marginals`] it is the
/// mutual information.
///
/// Shapes: `joint` `[n, m]`, `first` `[n]`, `second` `[m]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: I. Csiszar (1975), I-Divergence Geometry of Probability Distributions and Minimization Problems.
pub fn kl_to_product<F: Real>(joint: &ArrayRef2<F>, first: &[F], second: &[F]) -> Result<F, NotALaw> {
    let (n, m) = joint.dim();
    assert!(n == first.len(), "joint has {n} rows but first has {} entries", first.len());
    assert!(m == second.len(), "joint has {m} columns but second has {} entries", second.len());
    validate_entries(joint.iter().copied())?;
    validate(first)?;
    validate(second)?;
    let occurring = joint.indexed_iter().filter(|(_, p)| **p > F::zero());
    Ok(occurring.map(|((i, j), &p)| p * (p.ln() - first[i].ln() - second[j].ln())).sum())
}
// ANCHOR_END: prob.kl-projection

/// How much a convex function of a random vector exceeds, on average, its value at the mean.
///
/// ID `prob.jensen`: `E[phi(X)] - phi(E[X]) >= 0` for convex `phi`, and 0 only where `phi` is affine on the convex hull
/// of the support. A concave `phi` gives the opposite sign.
///
/// Shapes: `prob` `[n]`; row `i` of `outcome` `[n, d]` is the value of `X` in outcome `i`. Outcomes of probability 0
/// are not looked at.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: J. L. W. V. Jensen (1906), Sur les fonctions convexes et les inegalites entre les valeurs moyennes.
// ANCHOR: prob.jensen
pub fn jensen_gap<F: Real>(
    prob: &[F],
    outcome: &ArrayRef2<F>,
    phi: impl Fn(ArrayView1<'_, F>) -> F,
) -> Result<F, NotALaw> {
    let (n, d) = outcome.dim();
    assert!(n == prob.len(), "outcome has {n} rows but prob has {} entries", prob.len());
    validate(prob)?;
    let mut mean = Array1::zeros(d);
    let mut mean_of_phi = F::zero();
    for (&p, x) in prob.iter().zip(outcome.rows()).filter(|(p, _)| **p > F::zero()) {
        mean.scaled_add(p, &x);
        mean_of_phi += p * phi(x);
    }
    Ok(mean_of_phi - phi(mean.view()))
}
// ANCHOR_END: prob.jensen

/// Total variation: the largest difference of probability that any event has under the two laws.
///
/// ID `prob.pinsker`: `TV(p, q) = sum_x |p(x) - q(x)| / 2`, in `[0, 1]`.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ.
///
/// Source: M. S. Pinsker (1964), Information and Information Stability of Random Variables and Processes.
// ANCHOR: prob.pinsker
pub fn total_variation<F: Real>(p: &[F], q: &[F]) -> Result<F, NotALaw> {
    validate_pair(p, q)?;
    Ok(F::of(0.5) * p.iter().zip(q).map(|(&p, &q)| (p - q).abs()).sum::<F>())
}

/// The largest total variation that a divergence of `kl` nats allows: `sqrt(kl / 2)`.
///
/// ID `prob.pinsker`: `TV(p, q)^2 <= KL(p || q) / 2`.
///
/// Source: M. S. Pinsker (1964), Information and Information Stability of Random Variables and Processes.
pub fn pinsker_bound<F: Real>(kl: F) -> F {
    (F::of(0.5) * kl).sqrt()
}
// ANCHOR_END: prob.pinsker

/// The chi-squared divergence; `+inf` where `q` misses an outcome of `p`.
///
/// ID `prob.is-variance` (see [`crate::probability::second_moment`]): `chi2(p || q) = sum_x (p(x) - q(x))^2 / q(x)`.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ.
///
/// Source: K. Pearson (1900), On the Criterion that a given System of Deviations from the Probable ... can be
/// reasonably supposed to have arisen from Random Sampling.
pub fn chi_squared<F: Real>(p: &[F], q: &[F]) -> Result<F, NotALaw> {
    validate_pair(p, q)?;
    let term = |p: F, q: F| if p == q { F::zero() } else { (p - q) * (p - q) / q };
    Ok(p.iter().zip(q).map(|(&p, &q)| term(p, q)).sum())
}

/// The maximiser of the likelihood of `counts`: the frequencies.
///
/// ID `prob.mle-categorical`: `p_x = n_x / n`, without any smoothing; an outcome that never came has probability 0.
///
/// Shapes: both `[n]`; `prob` is overwritten.
///
/// # Errors
/// [`NotALaw::Empty`] without outcomes, [`NotALaw::Sum`] without observations.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. A. Fisher (1922), On the Mathematical Foundations of Theoretical Statistics.
// ANCHOR: prob.mle-categorical
pub fn frequencies<F: Real>(counts: &[u64], prob: &mut [F]) -> Result<(), NotALaw> {
    assert!(counts.len() == prob.len(), "counts has {} entries but prob has {}", counts.len(), prob.len());
    if counts.is_empty() {
        return Err(NotALaw::Empty);
    }
    let total = counts.iter().map(|&n| n as f64).sum::<f64>();
    if total == 0.0 {
        return Err(NotALaw::Sum { sum: 0.0 });
    }
    for (p, &n) in prob.iter_mut().zip(counts) {
        *p = F::of(n as f64 / total);
    }
    Ok(())
}

/// The average negative log-likelihood of `counts` under `q`, in nats; `+inf` where `q` misses what was observed.
///
/// ID `prob.mle-categorical`: `-(1/n) log L(q) = H(p) + KL(p || q)` with the [`frequencies`] `p`, so `q = p` is the
/// minimum.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`] of `q`; [`NotALaw::Sum`] without observations.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. A. Fisher (1922), On the Mathematical Foundations of Theoretical Statistics.
pub fn log_loss<F: Real>(counts: &[u64], q: &[F]) -> Result<F, NotALaw> {
    assert!(counts.len() == q.len(), "counts has {} entries but q has {}", counts.len(), q.len());
    validate(q)?;
    let total = counts.iter().map(|&n| n as f64).sum::<f64>();
    if total == 0.0 {
        return Err(NotALaw::Sum { sum: 0.0 });
    }
    let observed = counts.iter().zip(q).filter(|(n, _)| **n > 0);
    Ok(observed.map(|(&n, &q)| -F::of(n as f64 / total) * q.ln()).sum())
}
// ANCHOR_END: prob.mle-categorical

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn laws_are_told_from_other_arrays() {
        assert_eq!(validate::<f64>(&[]), Err(NotALaw::Empty));
        assert_eq!(validate(&[1.5, -0.5]), Err(NotALaw::Entry { index: 1, value: -0.5 }));
        assert!(matches!(validate(&[0.5, f64::NAN]), Err(NotALaw::Entry { index: 1, .. })));
        assert!(matches!(validate(&[0.5, 0.500001]), Err(NotALaw::Sum { .. })));
        assert!(validate(&[0.1f32; 10]).is_ok() && validate(&[0.1f64; 10]).is_ok());
        let text = validate(&[0.5, 0.25]).unwrap_err().to_string();
        assert_eq!(text, "the probabilities add up to 0.75 instead of 1");
    }

    #[test]
    fn entropy_in_bits_is_below_the_best_code() {
        let p = [0.9f64, 0.1];
        assert!((entropy_bits(&p).unwrap() - 0.468_996).abs() < 1e-6);
        assert_eq!(huffman_length(&p), Ok(1.0));
        assert_eq!(huffman_length(&[1.0f64, 0.0]), Ok(0.0));
        let dyadic = [0.5, 0.25, 0.125, 0.125];
        assert_eq!((entropy_bits(&dyadic), huffman_length(&dyadic)), (Ok(1.75), Ok(1.75)));
    }

    #[test]
    fn divergences_of_a_lopsided_law_and_of_disjoint_ones() {
        let (p, q) = ([0.9f64, 0.1], [0.5, 0.5]);
        assert!((kl(&p, &q).unwrap() - 0.36806).abs() < 1e-5 && (kl(&q, &p).unwrap() - 0.51083).abs() < 1e-5);
        assert!((chi_squared(&[0.6, 0.4], &q).unwrap() - 0.04).abs() < 1e-15);
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        for infinite in [kl(&a, &b), cross_entropy(&a, &b), chi_squared(&a, &b)] {
            assert_eq!(infinite, Ok(f64::INFINITY));
        }
        assert_eq!((total_variation(&a, &b), kl(&a, &q)), (Ok(1.0), Ok(2.0f64.ln())));
        assert!(kl(&[0.5, 0.4], &q).is_err() && kl(&q, &[0.5, 0.6]).is_err());
    }

    #[test]
    fn two_equal_coins_are_closest_to_two_fair_ones() {
        let joint = array![[0.5, 0.0], [0.0, 0.5]];
        let (mut first, mut second) = ([0.0; 2], [0.0; 2]);
        marginals(&joint, &mut first, &mut second).unwrap();
        assert_eq!((first, second), ([0.5; 2], [0.5; 2]));
        assert!((kl_to_product(&joint, &first, &second).unwrap() - 2.0f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn a_square_exceeds_the_square_of_the_mean_by_the_variance() {
        let gap = jensen_gap(&[0.25, 0.75], &array![[0.0], [4.0]], |x| x[0] * x[0]);
        assert_eq!(gap, Ok(3.0));
        let largest = |x: ArrayView1<'_, f64>| x.fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        assert_eq!(jensen_gap(&[0.5, 0.5], &array![[1.0, 0.0], [0.0, 1.0]], largest), Ok(0.5));
    }

    #[test]
    fn frequencies_are_not_smoothed() {
        let mut p = [f64::NAN; 3];
        frequencies(&[3, 0, 1], &mut p).unwrap();
        assert_eq!(p, [0.75, 0.0, 0.25]);
        assert!((log_loss(&[3, 0, 1], &p).unwrap() - entropy(&p).unwrap()).abs() < 1e-15);
        assert!(frequencies(&[0, 0, 0], &mut p).is_err() && log_loss(&[0, 0, 0], &p).is_err());
        assert_eq!(log_loss(&[0, 1, 0], &p), Ok(f64::INFINITY));
    }
}

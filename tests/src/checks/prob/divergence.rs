//! Entropy and divergences: `prob.entropy` to `prob.mle-categorical`.

use super::{Discrete, discrete, dot, law};
use crate::generators::{normals, simplex, simplex_pair, simplex_pair_with_zeros, simplex_with_zeros};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_STAT, Worst, require};
use crate::oracles::tuples;
use crate::{Check, Measured, fixed, random};
use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::divergence::{self, NotALaw};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("prob.entropy", "definition", TOL_ID, simplex_with_zeros(1..=6), entropy_definition),
        random("prob.entropy", "bounds", TOL_INEQ, simplex_with_zeros(1..=6), entropy_bounds),
        random("prob.entropy", "code-length", TOL_INEQ, simplex_with_zeros(1..=6), code_length),
        random("prob.entropy", "shortest-code", TOL_ID, simplex(2..=4), shortest_code),
        fixed("prob.entropy", "closed", TOL_STAT, |_| entropy_closed()),
        random("prob.cross-entropy", "definition", TOL_ID, simplex_pair_with_zeros(), cross_entropy),
        fixed("prob.cross-entropy", "edges", EXACT, |_| cross_entropy_edges()),
        random("prob.kl", "definition", TOL_ID, simplex_pair_with_zeros(), kl_definition),
        random("prob.kl", "non-negative", TOL_INEQ, simplex_pair(), kl_non_negative),
        random("prob.kl", "second-order", 0.05, (simplex(2..=6), normals(6)), kl_second_order),
        fixed("prob.kl", "closed", TOL_STAT, |_| kl_closed()),
        fixed("prob.kl", "refusals", EXACT, |_| kl_refusals()),
        random("prob.kl-projection", "definition", TOL_ID, projection_case(), projection),
        fixed("prob.kl-projection", "closed", TOL_ID, |_| projection_closed()),
        random("prob.jensen", "inequality", TOL_INEQ, discrete(), jensen),
        random("prob.jensen", "edges", TOL_ID, discrete(), jensen_edges),
        random("prob.pinsker", "bound", TOL_INEQ, simplex_pair_with_zeros(), pinsker),
        random("prob.pinsker", "total-variation", TOL_ID, simplex_pair_with_zeros(), total_variation),
        fixed("prob.pinsker", "closed", TOL_ID, |_| pinsker_closed()),
        random("prob.mle-categorical", "definition", TOL_ID, counts(), mle_definition),
        fixed("prob.mle-categorical", "edges", TOL_ID, |_| mle_edges()),
    ]
}

/// Whether `q` misses an outcome that `p` has.
fn misses(p: &[f64], q: &[f64]) -> bool {
    p.iter().zip(q).any(|(p, q)| *p > 0.0 && *q == 0.0)
}

fn entropy_definition(p: Vec<f64>) -> Measured {
    // In bits, as the mean of the logarithm to base 2 of the inverse.
    let bits: f64 = p.iter().filter(|p| **p > 0.0).map(|p| p * p.recip().log2()).sum();
    let mut worst = Worst::new();
    worst.same(law(divergence::entropy_bits(&p))?, bits);
    worst.same(law(divergence::entropy(&p))?, bits * std::f64::consts::LN_2);
    worst.done()
}

fn entropy_bounds(p: Vec<f64>) -> Measured {
    let n = p.len();
    let mut worst = Worst::new();
    let entropy = law(divergence::entropy(&p))?;
    worst.at_most(0.0, entropy).at_most(entropy, (n as f64).ln());
    let mut point = vec![0.0; n];
    point[n - 1] = 1.0;
    worst.same(law(divergence::entropy(&point))?, 0.0);
    worst.same(law(divergence::entropy(&vec![1.0 / n as f64; n]))?, (n as f64).ln());
    worst.done()
}

/// The mean length of the best prefix code for the symbols that occur: the two rarest are merged until one is left.
fn huffman(p: &[f64]) -> f64 {
    let mut weights: Vec<f64> = p.iter().copied().filter(|p| *p > 0.0).collect();
    let mut length = 0.0;
    while weights.len() > 1 {
        weights.sort_by(|a, b| b.total_cmp(a));
        let merged = weights.pop().unwrap_or(0.0) + weights.pop().unwrap_or(0.0);
        length += merged;
        weights.push(merged);
    }
    length
}

fn code_length(p: Vec<f64>) -> Measured {
    let (bits, length) = (law(divergence::entropy_bits(&p))?, huffman(&p));
    let mut worst = Worst::new();
    worst.at_most(bits, length).same(law(divergence::huffman_length(&p))?, length);
    require(length < bits + 1.0, || format!("the best code takes {length}, not less than {bits} + 1"))?;
    // A dyadic law meets the lower bound, which tells bits from nats.
    let n = p.len().max(2);
    let dyadic: Vec<f64> = (1..=n).map(|i| 0.5f64.powi(i.min(n - 1) as i32)).collect();
    worst.same(law(divergence::entropy_bits(&dyadic))?, law(divergence::huffman_length(&dyadic))?);
    worst.done()
}

/// No code lengths that Kraft's inequality allows are shorter than Huffman's.
fn shortest_code(p: Vec<f64>) -> Measured {
    let mut best = f64::INFINITY;
    tuples(p.len(), p.len(), &mut |lengths| {
        let lengths = || lengths.iter().map(|&l| l as i32 + 1);
        if lengths().map(|l| 0.5f64.powi(l)).sum::<f64>() <= 1.0 {
            best = best.min(p.iter().zip(lengths()).map(|(p, l)| p * f64::from(l)).sum());
        }
    });
    let bits = law(divergence::entropy_bits(&p))?;
    require(bits <= best + 1e-10 && best < bits + 1.0, || format!("{best} bits for an entropy of {bits}"))?;
    Worst::new().same(best, law(divergence::huffman_length(&p))?).done()
}

fn entropy_closed() -> Measured {
    let mut worst = Worst::new();
    worst.printed(law(divergence::entropy_bits(&[0.9, 0.1]))?, 0.46900, 5);
    worst.printed(law(divergence::huffman_length(&[0.9, 0.1]))?, 1.0, 10);
    worst.printed(law(divergence::entropy(&[0.9, 0.1]))?, 0.32508, 5);
    worst.printed(law(divergence::entropy(&[0.5, 0.5]))?, 2f64.ln(), 10);
    worst.printed(law(divergence::entropy(&[1.0]))?, 0.0, 10);
    worst.printed(law(divergence::huffman_length(&[1.0]))?, 0.0, 10);
    worst.printed(law(divergence::entropy_bits(&[0.5, 0.25, 0.125, 0.125]))?, 1.75, 10);
    // A symbol that never occurs, given a code word, would cost a bit, and 1 is not less than 0 + 1.
    worst.printed(law(divergence::entropy_bits(&[1.0, 0.0]))?, 0.0, 10);
    worst.printed(law(divergence::huffman_length(&[1.0, 0.0]))?, 0.0, 10);
    worst.done()
}

fn cross_entropy((p, q): (Vec<f64>, Vec<f64>)) -> Measured {
    let direct = if misses(&p, &q) {
        f64::INFINITY
    } else {
        p.iter().zip(&q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * q.recip().ln()).sum()
    };
    let mut worst = Worst::new();
    worst.same(law(divergence::cross_entropy(&p, &q))?, direct);
    worst.same(law(divergence::entropy(&p))? + law(divergence::kl(&p, &q))?, direct);
    worst.done()
}

fn cross_entropy_edges() -> Measured {
    let ce = divergence::cross_entropy::<f64>;
    require(ce(&[1.0, 0.0], &[1.0, 0.0]) == Ok(0.0), || "0 log 0 is not 0".to_owned())?;
    require(ce(&[0.0, 1.0], &[0.5, 0.5]) == Ok(2f64.ln()), || "a zero of p counts".to_owned())?;
    require(ce(&[0.5, 0.5], &[1.0, 0.0]) == Ok(f64::INFINITY), || "not infinite without cover".to_owned())?;
    require(ce(&[0.5, 0.6], &[0.5, 0.5]).is_err(), || "an unnormalised law is accepted".to_owned())?;
    Ok(0.0)
}

/// `sum q phi(p/q)` with `phi(x) = x log x - x + 1 >= 0`.
fn kl_definition((p, q): (Vec<f64>, Vec<f64>)) -> Measured {
    let phi = |x: f64| if x == 0.0 { 1.0 } else { x * x.ln() - x + 1.0 };
    let right = if misses(&p, &q) {
        f64::INFINITY
    } else {
        p.iter().zip(&q).filter(|(_, q)| **q > 0.0).map(|(p, q)| q * phi(p / q)).sum()
    };
    Worst::new().same(law(divergence::kl(&p, &q))?, right).done()
}

fn kl_non_negative((p, q): (Vec<f64>, Vec<f64>)) -> Measured {
    let kl = law(divergence::kl(&p, &q))?;
    let distance = p.iter().zip(&q).fold(0.0, |m: f64, (p, q)| m.max((p - q).abs()));
    require(distance < 1e-6 || kl > 0.0, || "no divergence between different laws".to_owned())?;
    Worst::new().at_most(0.0, kl).same(law(divergence::kl(&p, &p))?, 0.0).done()
}

/// Near `p = q` both orders are half the chi-squared distance.
fn kl_second_order((p, noise): (Vec<f64>, Vec<f64>)) -> Measured {
    let tilted: Vec<f64> = p.iter().zip(&noise).map(|(p, z)| p * (1e-3 * z.clamp(-3.0, 3.0)).exp()).collect();
    let sum: f64 = tilted.iter().sum();
    let q: Vec<f64> = tilted.iter().map(|x| x / sum).collect();
    let half: f64 = 0.5 * p.iter().zip(&q).map(|(p, q)| (p - q).powi(2) / p).sum::<f64>();
    let mut worst = Worst::new();
    if half > 1e-9 {
        for kl in [divergence::kl(&p, &q), divergence::kl(&q, &p)] {
            worst.add((law(kl)? / half - 1.0).abs());
        }
    }
    worst.done()
}

fn kl_closed() -> Measured {
    let kl = |p: &[f64], q: &[f64]| law(divergence::kl(p, q));
    let mut worst = Worst::new();
    worst.printed(kl(&[0.9, 0.1], &[0.5, 0.5])?, 0.36806, 5);
    worst.printed(kl(&[0.5, 0.5], &[0.9, 0.1])?, 0.51083, 5);
    worst.printed(kl(&[1.0, 0.0], &[0.5, 0.5])?, 2f64.ln(), 10);
    // Mass where q has none; dropping that term would give a negative number.
    worst.holds(kl(&[0.5, 0.5], &[1.0, 0.0])? == f64::INFINITY);
    // No triangle inequality: the detour over the middle is shorter.
    let (a, b, c) = ([0.9, 0.1], [0.5, 0.5], [0.1, 0.9]);
    worst.holds(kl(&a, &c)? > kl(&a, &b)? + kl(&b, &c)?);
    worst.done()
}

fn kl_refusals() -> Measured {
    let bad: [(&[f64], &[f64]); 6] = [
        (&[0.5, 0.6], &[0.5, 0.5]),
        (&[0.5, 0.5], &[0.5, 0.4]),
        (&[1.5, -0.5], &[0.5, 0.5]),
        (&[0.5, 0.5], &[1.5, -0.5]),
        (&[f64::NAN, 0.5], &[0.5, 0.5]),
        (&[], &[]),
    ];
    for (p, q) in bad {
        require(divergence::kl(p, q).is_err(), || format!("{p:?} and {q:?} are accepted"))?;
    }
    require(divergence::kl::<f64>(&[], &[]) == Err(NotALaw::Empty), || "no outcome is accepted".to_owned())?;
    Ok(0.0)
}

#[derive(Clone, Debug)]
struct ProjectionCase {
    joint: Array2<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

fn projection_case() -> impl Strategy<Value = ProjectionCase> + Clone + Send + Sync {
    let product = proptest::bool::weighted(0.2);
    (2..=3usize, 2..=3usize, simplex_with_zeros(9), simplex(3), simplex(3), product).prop_map(
        |(rows, columns, joint, first, second, product)| {
            let part = |p: &[f64], n: usize| -> Vec<f64> {
                let sum: f64 = p[..n].iter().sum();
                p[..n].iter().map(|x| x / sum).collect()
            };
            let (first, second) = (part(&first, rows), part(&second, columns));
            let joint = if product {
                // The reversed factors, so that p is a product but another one.
                Array2::from_shape_fn((rows, columns), |(i, j)| first[rows - 1 - i] * second[columns - 1 - j])
            } else {
                let mut joint = Array2::from_shape_fn((rows, columns), |(i, j)| joint[i * 3 + j]);
                joint[[0, 0]] += 1e-3;
                let sum = joint.sum();
                joint / sum
            };
            ProjectionCase { joint, first, second }
        },
    )
}

fn outer(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().flat_map(|a| b.iter().map(move |b| a * b)).collect()
}

fn marginals(joint: &Array2<f64>) -> Result<(Vec<f64>, Vec<f64>), String> {
    let (mut first, mut second) = (vec![f64::NAN; joint.nrows()], vec![f64::NAN; joint.ncols()]);
    law(divergence::marginals(joint, &mut first, &mut second))?;
    Ok((first, second))
}

fn projection(case: ProjectionCase) -> Measured {
    let ProjectionCase { joint, first, second } = &case;
    let (p1, p2) = marginals(joint)?;
    let flat: Vec<f64> = joint.iter().copied().collect();
    let kl = |p: &[f64], q: &[f64]| law(divergence::kl(p, q));
    let best = kl(&flat, &outer(&p1, &p2))?;
    let left = law(divergence::kl_to_product(joint, first, second))?;
    let mut worst = Worst::new();
    worst.same(left, kl(&flat, &outer(first, second))?);
    worst.same(left, best + kl(&p1, first)? + kl(&p2, second)?).at_most(best, left);
    worst.done()
}

fn projection_closed() -> Measured {
    // Half on 00, half on 11.
    let joint = ndarray::array![[0.5, 0.0], [0.0, 0.5]];
    let (p1, p2) = marginals(&joint)?;
    let mut worst = Worst::new();
    worst.all(&p1, &[0.5, 0.5]).all(&p2, &[0.5, 0.5]);
    worst.same(law(divergence::kl_to_product(&joint, &p1, &p2))?, 2f64.ln());
    // The other direction is finite only for the point masses on 00 and on 11: two minimisers, neither the marginals.
    let mut finite = 0;
    for (a, b) in [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.5), (0.3, 0.0)] {
        let q = outer(&[1.0 - a, a], &[1.0 - b, b]);
        let reverse = law(divergence::kl(&q, &[0.5, 0.0, 0.0, 0.5]))?;
        if reverse.is_finite() {
            finite += 1;
            worst.same(reverse, 2f64.ln()).holds(a == b && (a == 0.0 || a == 1.0));
        }
    }
    worst.holds(finite == 2);
    worst.done()
}

/// A convex function, and whether its argument must be positive.
type Convex = (&'static str, fn(f64) -> f64, bool);

const CONVEX: [Convex; 4] = [
    ("square", |x| x * x, false),
    ("exponential", f64::exp, false),
    ("absolute value", f64::abs, false),
    ("negative logarithm", |x| -x.ln(), true),
];

/// The gap of a function of one number.
fn jensen_gap(p: &[f64], x: &[f64], phi: impl Fn(f64) -> f64) -> Result<f64, String> {
    let outcome = Array2::from_shape_fn((x.len(), 1), |(i, _)| x[i]);
    law(divergence::jensen_gap(p, &outcome, |x| phi(x[0])))
}

fn jensen(case: Discrete) -> Measured {
    let mut worst = Worst::new();
    for (name, phi, positive) in CONVEX {
        let x: Vec<f64> = case.real.iter().map(|x| if positive { x.abs() + 0.01 } else { *x }).collect();
        let mean = dot(&case.p, &x);
        let right: f64 = case.p.iter().zip(&x).map(|(p, x)| p * phi(*x)).sum();
        let gap = jensen_gap(&case.p, &x, phi)?;
        worst.at_most(phi(mean), right).same(gap, right - phi(mean)).at_most(0.0, gap);
        // A concave function in a convex one's place has a gap below zero.
        worst.at_most(jensen_gap(&case.p, &x, |x| -phi(x))?, 0.0);
        // For the square the gap is the variance, positive unless X is constant.
        if name == "square" {
            let variance: f64 = case.p.iter().zip(&x).map(|(p, x)| p * (x - mean).powi(2)).sum();
            worst.same(gap, variance);
            require(variance < 1e-9 || gap > 0.0, || format!("a variance of {variance} and no gap"))?;
        }
    }
    // The maximum of a random vector's entries is convex too.
    let whole: Vec<f64> = case.whole.iter().map(|&w| f64::from(w)).collect();
    let inside = dot(&case.p, &case.real).max(dot(&case.p, &whole));
    let outside: f64 = (0..case.p.len()).map(|i| case.p[i] * case.real[i].max(whole[i])).sum();
    let vectors =
        Array2::from_shape_fn((case.p.len(), 2), |(i, j)| if j == 0 { case.real[i] } else { whole[i] });
    let gap = law(divergence::jensen_gap(&case.p, &vectors, |x| x[0].max(x[1])))?;
    worst.at_most(inside, outside).same(gap, outside - inside);
    worst.done()
}

/// No gap for a constant, and none for an affine function.
fn jensen_edges(case: Discrete) -> Measured {
    let mut worst = Worst::new();
    let constant = vec![0.75; case.p.len()];
    for (_, phi, _) in CONVEX {
        worst.same(jensen_gap(&case.p, &constant, phi)?, 0.0);
    }
    worst.same(jensen_gap(&case.p, &case.real, |x| 3.0 * x - 2.0)?, 0.0);
    worst.done()
}

/// `max_B |p(B) - q(B)|` over all sets of outcomes.
fn largest_gap(p: &[f64], q: &[f64]) -> f64 {
    (0..1u32 << p.len())
        .map(|set| (0..p.len()).filter(|i| set >> i & 1 == 1).map(|i| p[i] - q[i]).sum::<f64>().abs())
        .fold(0.0, f64::max)
}

fn total_variation((p, q): (Vec<f64>, Vec<f64>)) -> Measured {
    Worst::new().same(law(divergence::total_variation(&p, &q))?, largest_gap(&p, &q)).done()
}

fn pinsker((p, q): (Vec<f64>, Vec<f64>)) -> Measured {
    // Close laws too, where the bound is tight enough to tell a missing factor.
    let near: Vec<f64> = p.iter().zip(&q).map(|(p, q)| 0.9 * p + 0.1 * q).collect();
    let mut worst = Worst::new();
    for (a, b) in [(&p, &q), (&q, &p), (&p, &near), (&near, &p)] {
        let (tv, kl) = (law(divergence::total_variation(a, b))?, law(divergence::kl(a, b))?);
        worst.at_most(tv * tv, 0.5 * kl).at_most(tv, divergence::pinsker_bound(kl));
    }
    worst.done()
}

fn pinsker_closed() -> Measured {
    let tv = |p: &[f64], q: &[f64]| law(divergence::total_variation(p, q));
    let mut worst = Worst::new();
    worst.same(tv(&[1.0, 0.0], &[0.0, 1.0])?, 1.0).same(tv(&[0.3, 0.7], &[0.3, 0.7])?, 0.0);
    worst.same(tv(&[0.9, 0.1], &[0.5, 0.5])?, 0.4).same(divergence::pinsker_bound(0.5), 0.5);
    worst.same(divergence::pinsker_bound(f64::INFINITY), f64::INFINITY);
    // Twice the distance would break the bound: 0.64 against 0.184.
    worst.holds(
        (2.0 * tv(&[0.9, 0.1], &[0.5, 0.5])?).powi(2) > 0.5 * law(divergence::kl(&[0.9, 0.1], &[0.5, 0.5]))?,
    );
    worst.done()
}

fn counts() -> impl Strategy<Value = (Vec<u64>, Vec<f64>)> + Clone + Send + Sync {
    (vec(0..=9u64, 2..=6), vec(0.001..1.0f64, 200 * 6)).prop_map(|(mut n, rivals)| {
        if n.iter().all(|&n| n == 0) {
            n[0] = 1;
        }
        (n, rivals)
    })
}

/// The frequencies beat 200 other laws, each by its divergence.
fn mle_definition((n, rivals): (Vec<u64>, Vec<f64>)) -> Measured {
    let mut best = vec![f64::NAN; n.len()];
    law(divergence::frequencies(&n, &mut best))?;
    let total = n.iter().sum::<u64>() as f64;
    let loss = |q: &[f64]| -> f64 {
        // Outcome by outcome, as often as it came.
        let observed = n.iter().zip(q).flat_map(|(&n, q)| std::iter::repeat_n(-q.ln(), n as usize));
        observed.sum::<f64>() / total
    };
    let entropy = law(divergence::entropy(&best))?;
    let mut worst = Worst::new();
    worst.same(best.iter().sum(), 1.0).same(loss(&best), entropy);
    for rival in rivals.chunks_exact(6) {
        let sum: f64 = rival[..n.len()].iter().sum();
        let q: Vec<f64> = rival[..n.len()].iter().map(|x| x / sum).collect();
        worst.same(loss(&q), entropy + law(divergence::kl(&best, &q))?);
        worst.same(law(divergence::log_loss(&n, &q))?, loss(&q)).at_most(loss(&best), loss(&q));
    }
    worst.done()
}

fn mle_edges() -> Measured {
    let mut out = [f64::NAN; 3];
    let mut worst = Worst::new();
    // Zero counts stay zero, also after a single observation: adding one to each would not.
    for (counts, expected) in [([0, 1, 0], [0.0, 1.0, 0.0]), ([3, 1, 0], [0.75, 0.25, 0.0])] {
        law(divergence::frequencies(&counts, &mut out))?;
        worst.all(&out, &expected);
    }
    worst.holds(divergence::log_loss(&[1, 1], &[1.0, 0.0]) == Ok(f64::INFINITY));
    worst.holds(divergence::log_loss(&[3, 0], &[1.0, 0.0]) == Ok(0.0));
    worst.holds(divergence::frequencies(&[0, 0, 0], &mut out).is_err());
    worst.done()
}

use crate::generators::{normal, unit};
use crate::measure::{EXACT, TOL_ID, TOL_STAT, Worst, require};
use crate::oracles::samples;
use crate::{Check, Measured, fixed, panics, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::monte_carlo::{average_step, remainders, settles, step_size};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("rm.step-sizes", "moments", TOL_ID, moments_case(), moments),
        random("rm.step-sizes", "constant", TOL_ID, 0.05..=1.0f64, constant),
        random("rm.step-sizes", "sums", EXACT, power(), sums),
        fixed("rm.step-sizes", "closed", TOL_STAT, |_| closed()),
        fixed("rm.step-sizes", "too-fast", TOL_ID, |_| too_fast()),
        fixed("rm.step-sizes", "edges", EXACT, |_| edges()),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    steps: Vec<f64>,
    start: f64,
    /// A law of two values.
    value: (f64, f64),
    p: f64,
}

fn moments_case() -> impl Strategy<Value = Case> + Clone + Send + Sync {
    (vec(unit(), 1..=7), normal(), (normal(), normal()), unit()).prop_map(|(steps, start, value, p)| Case {
        steps,
        start,
        value,
        p,
    })
}

/// Mean and variance of the estimate over all sequences of samples.
fn moments(case: Case) -> Measured {
    let Case { steps, start, value, p } = case;
    let sample = [value.0, value.1];
    let mean = p * sample[0] + (1.0 - p) * sample[1];
    let variance = p * (1.0 - p) * (sample[0] - sample[1]).powi(2);
    let (mut first, mut second) = (0.0, 0.0);
    samples(&[p, 1.0 - p], steps.len(), &mut |draws, prob| {
        let mut x = start;
        for (&alpha, &draw) in steps.iter().zip(draws) {
            average_step(&mut x, sample[draw], alpha);
        }
        first += prob * x;
        second += prob * (x - mean) * (x - mean);
    });
    let (kept, collected) = remainders(steps);
    let mut worst = Worst::new();
    worst.same(first - mean, kept * (start - mean));
    worst.same(second - (first - mean).powi(2), collected * variance).done()
}

fn constant(alpha: f64) -> Measured {
    // Until less than 1e-12 of the first variance is left.
    let n = if alpha == 1.0 { 1 } else { (-14.0 / (1.0 - alpha).log10()).ceil() as usize };
    let (kept, collected) = remainders(vec![alpha; n]);
    let mut worst = Worst::new();
    worst.same(kept, 0.0).same(collected, alpha / (2.0 - alpha)).done()
}

/// A power away from the borders 1/2 and 1, or one of them.
fn power() -> impl Strategy<Value = f64> + Clone + Send + Sync {
    prop_oneof![
        4 => (0.05..=3.0f64).prop_map(|p| if (p - 0.5).abs() < 0.02 || (p - 1.0).abs() < 0.02 { p + 0.05 } else { p }),
        1 => Just(0.5),
        1 => Just(1.0),
    ]
}

/// Cauchy's condensation: a sum of falling terms diverges if its doubling blocks do not shrink.
fn sums(power: f64) -> Measured {
    let block = |k: u32, terms: &dyn Fn(u64) -> f64| (1u64 << k..1 << (k + 1)).map(terms).sum::<f64>();
    let diverges = |terms: &dyn Fn(u64) -> f64| block(11, terms) / block(10, terms) > 1.0 - 1e-3;
    let reaches = diverges(&|n| step_size(n, power));
    let calms = !diverges(&|n| step_size(n, power).powi(2));
    let both = reaches && calms;
    require(settles(power) == both, || format!("power {power}: the sums say {reaches} and {calms}"))?;
    Ok(0.0)
}

fn closed() -> Measured {
    let mut worst = Worst::new();
    for (power, variance, digits) in [(0.6, 0.002_009_67, 8), (1.0, 1e-4, 12)] {
        let after = |n: u64| remainders((1..=n).map(|n| step_size(n, power)));
        let (kept, collected) = after(10_000);
        worst.printed(collected, variance, digits).holds(kept == 0.0 && settles(power));
        let (early, late) = (after(1000).1, after(100_000).1);
        worst.holds(early > 3.0 * collected && collected > 3.0 * late);
    }
    // A constant step leaves 0.0526 of the variance for ever.
    worst.printed(remainders(vec![0.1; 1000]).1, 0.0526, 4).done()
}

/// Steps of (n + 1)^-2 never leave more than half of the start, though their squares are summable.
fn too_fast() -> Measured {
    let mut worst = Worst::new();
    for n in [1u64, 2, 10, 1000, 100_000] {
        let (kept, _) = remainders((1..=n).map(|i| step_size(i + 1, 2.0)));
        worst.same(kept, 0.5 * (n as f64 + 2.0) / (n as f64 + 1.0));
    }
    require(!settles(2.0), || "steps that stop short are said to settle".to_owned())?;
    worst.done()
}

fn edges() -> Measured {
    let (kept, collected) = remainders([1.0]);
    require((kept, collected) == (0.0, 1.0), || format!("{kept}, {collected} after a full step"))?;
    require(remainders::<f64>([]) == (1.0, 0.0), || "no step moves something".to_owned())?;
    require(step_size(7, 0.0) == 1.0, || "power 0 is not a step of 1".to_owned())?;
    require(panics(|| step_size(0, 1.0)), || "update number 0 is accepted".to_owned())?;
    require(!settles(f64::NAN), || "NaN settles".to_owned())?;
    Ok(0.0)
}

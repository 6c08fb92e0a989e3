//! Statistics over a handful of runs.

use rand::RngCore;
use rederive_env::Stream;

/// An interval of the real line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The arithmetic mean; NaN of nothing.
pub fn mean(xs: &[f64]) -> f64 {
    xs.iter().sum::<f64>() / xs.len() as f64
}

/// The sample standard deviation, with `n - 1`; NaN of fewer than two values.
pub fn std(xs: &[f64]) -> f64 {
    if xs.len() < 2 {
        return f64::NAN;
    }
    let mean = mean(xs);
    (xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (xs.len() - 1) as f64).sqrt()
}

/// The mean of the middle half: a quarter of the values, rounded down, is left out at either end. NaN of nothing.
///
/// Less sensitive to a single bad run than the mean, and less wasteful than the median (Agarwal et al., 2021, *Deep
/// Reinforcement Learning at the Edge of the Statistical Precipice*).
pub fn interquartile_mean(xs: &[f64]) -> f64 {
    let mut sorted = xs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// Student's confidence interval for the mean of the normal distribution that `xs` come from; `None` for fewer than two values.
///
/// # Panics
/// If `confidence` is not in (0, 1).
pub fn student_t(xs: &[f64], confidence: f64) -> Option<Interval> {
    if xs.len() < 2 {
        return None;
    }
    let half = t_quantile(confidence, xs.len() - 1) * std(xs) / (xs.len() as f64).sqrt();
    let mean = mean(xs);
    Some(Interval { low: mean - half, high: mean + half })
}

/// The `t` for which Student's distribution with `df` degrees of freedom has the probability `confidence` in `[-t, t]`.
///
/// # Panics
/// If `confidence` is not in (0, 1) or `df` is 0.
pub fn t_quantile(confidence: f64, df: usize) -> f64 {
    assert!(confidence > 0.0 && confidence < 1.0, "confidence {confidence} must be in (0, 1)");
    assert!(df > 0, "Student's distribution needs at least one degree of freedom");
    let (mut low, mut high) = (0.0, 1.0);
    while t_central(high, df) < confidence {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if t_central(middle, df) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The probability of `[-t, t]`, by the finite series in the angle `atan(t / sqrt(df))` (Abramowitz and Stegun, 1964, 26.7.3
/// and 26.7.4).
fn t_central(t: f64, df: usize) -> f64 {
    let angle = (t / (df as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    // Odd df: cos + 2/3 cos^3 + 2*4/(3*5) cos^5 ...; even df: 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 ...; up to cos^(df - 2).
    let mut term = if df % 2 == 1 { cos } else { 1.0 };
    let mut power = df % 2;
    let mut sum = 0.0;
    while power + 2 <= df {
        sum += term;
        power += 2;
        term *= cos * cos * (power - 1) as f64 / power as f64;
    }
    if df % 2 == 1 { std::f64::consts::FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

/// The percentile bootstrap's confidence interval for `statistic` of `xs`; `None` for fewer than two values.
///
/// # Panics
/// If `confidence` is not in (0, 1) or `resamples` is 0.
pub fn bootstrap(
    xs: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Option<Interval> {
    bootstrap_stratified(&[xs], |groups| statistic(groups), confidence, resamples, seed)
}

/// The percentile bootstrap's confidence interval for `statistic` over several groups (the runs of one task each): every
/// group is resampled within itself, and `statistic` sees all of them one after another (Agarwal et al., 2021, *Deep
/// Reinforcement Learning at the Edge of the Statistical Precipice*). `None` if no group has two values.
///
/// # Panics
/// If `confidence` is not in (0, 1) or `resamples` is 0.
pub fn bootstrap_stratified(
    groups: &[&[f64]],
    statistic: impl Fn(&[f64]) -> f64,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Option<Interval> {
    assert!(confidence > 0.0 && confidence < 1.0, "confidence {confidence} must be in (0, 1)");
    assert!(resamples > 0, "the bootstrap needs at least one resample");
    if groups.iter().all(|g| g.len() < 2) {
        return None;
    }
    let mut rng = Stream::new(seed, "bootstrap", 0);
    let mut sample = Vec::with_capacity(groups.iter().map(|g| g.len()).sum());
    let mut values: Vec<f64> = (0..resamples)
        .map(|_| {
            sample.clear();
            for group in groups {
                // The high half of a product is uniform up to 2^-64 of the group's size.
                let draw =
                    |rng: &mut Stream| (u128::from(rng.next_u64()) * group.len() as u128 >> 64) as usize;
                sample.extend((0..group.len()).map(|_| group[draw(&mut rng)]));
            }
            statistic(&sample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - confidence);
    Some(Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) })
}

/// The quantile `p` of sorted values, linear between neighbours.
pub(crate) fn quantile(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

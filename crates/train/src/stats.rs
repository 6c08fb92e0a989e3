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
                let draw = |rng: &mut Stream| {
                    let product = u128::from(rng.next_u64()) * group.len() as u128;
                    (product >> 64) as usize
                };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_few_values() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(std(&[1.0, 2.0, 6.0]), 7f64.sqrt());
        assert!(mean(&[]).is_nan() && std(&[]).is_nan() && std(&[1.0]).is_nan());
        assert_eq!(std(&[4.0; 5]), 0.0);
    }

    #[test]
    fn student_quantiles_are_those_of_the_tables() {
        // One and two degrees of freedom have closed forms; the others are in every table, to three decimals.
        for confidence in [0.1, 0.5, 0.95, 0.99] {
            let cauchy = (std::f64::consts::FRAC_PI_2 * confidence).tan();
            assert!((t_quantile(confidence, 1) / cauchy - 1.0).abs() < 1e-12);
            let two = confidence * (2.0 / (1.0 - confidence * confidence)).sqrt();
            assert!((t_quantile(confidence, 2) / two - 1.0).abs() < 1e-12);
        }
        for (confidence, df, expected) in [
            (0.95, 3, 3.182),
            (0.95, 4, 2.776),
            (0.95, 9, 2.262),
            (0.95, 10, 2.228),
            (0.99, 4, 4.604),
            (0.99, 30, 2.750),
            (0.90, 7, 1.895),
            (0.95, 120, 1.980),
            (0.95, 1_000_000, 1.960),
        ] {
            let t = t_quantile(confidence, df);
            assert!((t - expected).abs() < 6e-4, "{confidence} {df}: {t}, expected {expected}");
        }
    }

    #[test]
    fn student_interval_of_five_values() {
        let interval = student_t(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.95).unwrap();
        // 2.776445 sqrt(2.5) / sqrt(5) = 1.963243
        assert!(
            (interval.low - (3.0 - 1.963243)).abs() < 1e-5 && (interval.high - (3.0 + 1.963243)).abs() < 1e-5
        );
        assert_eq!(student_t(&[1.0], 0.95), None);
    }

    #[test]
    fn student_intervals_cover_the_mean_as_often_as_they_say() {
        let mut rng = Stream::new(11, "coverage", 0);
        for (n, confidence) in [(3, 0.8), (5, 0.95)] {
            let covered = (0..4000)
                .filter(|_| {
                    let xs: Vec<f64> = (0..n).map(|_| 7.0 + 2.0 * rng.normal()).collect();
                    let interval = student_t(&xs, confidence).unwrap();
                    interval.low <= 7.0 && 7.0 <= interval.high
                })
                .count() as f64
                / 4000.0;
            // Five standard errors.
            let allowed = 5.0 * (confidence * (1.0 - confidence) / 4000f64).sqrt();
            assert!((covered - confidence).abs() < allowed, "{n} values: {covered}, expected {confidence}");
        }
    }

    #[test]
    fn the_interquartile_mean_leaves_a_quarter_out_at_either_end() {
        assert_eq!(interquartile_mean(&[100.0, 1.0, 2.0, -50.0]), 1.5);
        assert_eq!(interquartile_mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(interquartile_mean(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9]), 3.5);
        assert!(interquartile_mean(&[]).is_nan());
    }

    #[test]
    fn the_bootstrap_repeats_contains_its_statistic_and_shrinks_with_the_sample() {
        let mut rng = Stream::new(5, "bootstrap test", 0);
        let xs: Vec<f64> = (0..400).map(|_| rng.normal()).collect();
        let interval = |n: usize, seed| bootstrap(&xs[..n], mean, 0.95, 2000, seed).unwrap();
        let wide = interval(25, 1);
        let narrow = interval(400, 1);
        assert_eq!(narrow, interval(400, 1));
        assert_ne!(narrow, interval(400, 2));
        let m = mean(&xs);
        assert!(narrow.low < m && m < narrow.high);
        assert!(narrow.high - narrow.low < 0.5 * (wide.high - wide.low));
        // For many normal values it is about as wide as Student's.
        let student = student_t(&xs, 0.95).unwrap();
        let ratio = (narrow.high - narrow.low) / (student.high - student.low);
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
        assert_eq!(bootstrap(&[1.0], mean, 0.95, 10, 1), None);
    }

    #[test]
    fn strata_are_resampled_within_themselves() {
        // Constant groups have no spread, however different they are from each other.
        let interval = bootstrap_stratified(&[&[0.0; 5], &[1.0; 5]], mean, 0.95, 200, 3).unwrap();
        assert_eq!(interval, Interval { low: 0.5, high: 0.5 });
        let mixed =
            bootstrap(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0], mean, 0.95, 200, 3).unwrap();
        assert!(mixed.low < 0.4 && mixed.high > 0.6);
        assert_eq!(bootstrap_stratified(&[&[1.0], &[2.0]], mean, 0.95, 10, 1), None);
    }

    #[test]
    fn quantiles_are_linear_between_values() {
        let xs = [1.0, 2.0, 4.0];
        for (p, expected) in [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)] {
            assert_eq!(quantile(&xs, p), expected);
        }
    }
}

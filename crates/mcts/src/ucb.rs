//! Upper confidence bounds: how much an action that was tried rarely may still be better than its mean.
//!
//! The score of a child splits into two factors that change at different times, so that a search computes one logarithm and one
//! root per step and not one per child: [`spread`] belongs to the parent, [`width`] to the child.

/// The score of a child: its mean and what its mean may be wrong by.
///
/// ID `mcts.ucb`: `Q + c sqrt(ln N / n)`, where `N` is how often a child of the parent was chosen and `n` how often this one;
/// plus infinity for a child never tried, so that each is tried once before any is tried twice.
///
/// Sources: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), Finite-time Analysis of the Multiarmed Bandit Problem;
/// L. Kocsis, C. Szepesvári (2006), Bandit Based Monte-Carlo Planning.
// ANCHOR: mcts.ucb
#[inline(always)]
pub fn score(mean: f64, visits: u32, parent_visits: u32, c: f64) -> f64 {
    if visits == 0 { f64::INFINITY } else { bound(mean, width(visits), spread(parent_visits, c)) }
}

/// The parent's factor, `c sqrt(ln N)`; 0 before the first choice.
#[inline(always)]
pub fn spread(parent_visits: u32, c: f64) -> f64 {
    c * f64::from(parent_visits.max(1)).ln().sqrt()
}

/// The child's factor, `1 / sqrt(n)`.
#[inline(always)]
pub fn width(visits: u32) -> f64 {
    1.0 / f64::from(visits).sqrt()
}

/// The score of a child that was tried.
#[inline(always)]
pub fn bound(mean: f64, width: f64, spread: f64) -> f64 {
    mean + spread * width
}
// ANCHOR_END: mcts.ucb

/// The weight of exploration for returns in an interval of length `range`.
///
/// ID `mcts.scale`: UCB1 presumes rewards in `[0, 1]`. With `B c` in place of `c`, rewards `B r + b` lead to the same choices
/// as rewards `r`, for every `B > 0` and `b`.
///
/// Source: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), Finite-time Analysis of the Multiarmed Bandit Problem.
// ANCHOR: mcts.scale
#[inline(always)]
pub fn scale(c: f64, range: f64) -> f64 {
    c * range
}
// ANCHOR_END: mcts.scale

/// What UCB1 with `c = sqrt(2)` loses in `rounds` rounds, at most and in expectation, against always playing the best arm.
///
/// ID `mcts.ucb1-regret`: `8 sum ln(n) / gap_i + (1 + pi^2 / 3) sum gap_i`, both sums over the arms with a positive gap
/// `gap_i = max mean - mean_i`, for independent rewards in `[0, 1]`.
///
/// Shape: `mean` (the arms' expected rewards) `[A]`.
///
/// # Panics
/// If there is no arm or no round, or a mean is outside of `[0, 1]`.
///
/// Source: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), Finite-time Analysis of the Multiarmed Bandit Problem, theorem 1.
// ANCHOR: mcts.ucb1-regret
pub fn regret_bound(mean: &[f64], rounds: u64) -> f64 {
    assert!(!mean.is_empty(), "there is no arm");
    assert!(rounds > 0, "there is no round");
    assert!(mean.iter().all(|m| (0.0..=1.0).contains(m)), "the means {mean:?} must lie in [0, 1]");
    let best = mean.iter().fold(0.0, |m: f64, x| m.max(*x));
    let gaps = || mean.iter().map(|m| best - m).filter(|gap| *gap > 0.0);
    let explored: f64 = gaps().map(|gap| (rounds as f64).ln() / gap).sum();
    8.0 * explored + (1.0 + std::f64::consts::PI.powi(2) / 3.0) * gaps().sum::<f64>()
}
// ANCHOR_END: mcts.ucb1-regret

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bonus_of_the_only_child_rises_twice_before_it_falls() {
        let bonus: Vec<f64> = (1..=4).map(|n| score(0.0, n, n, 1.0)).collect();
        for (b, printed) in bonus.iter().zip([0.0, 0.5887, 0.6051, 0.5887]) {
            assert!((b - printed).abs() < 1e-4, "{b} against {printed}");
        }
    }

    #[test]
    fn the_bound_is_the_published_one() {
        assert!((regret_bound(&[0.7, 0.5], 30_000) - 413.2).abs() < 0.1);
        assert!((regret_bound(&[0.7, 0.5], 1000) - 277.2).abs() < 0.1);
        assert_eq!(regret_bound(&[0.4, 0.4], 1000), 0.0);
    }
}

//! The target network: a second set of parameters that follows the first one late.

use rederive_math::{Real, multiversion};

// ANCHOR: dqn.target-hard
/// How often a counter that goes from `before` to `now` meets a multiple of `period`.
///
/// # Panics
/// If `period` is 0.
#[inline]
pub fn crossings(before: u64, now: u64, period: u64) -> u64 {
    now / period - before / period
}

/// Copies the online parameters to the target at the steps `period`, `2 period`, ..., and says whether it did.
///
/// ID `dqn.target-hard`: the target changes only at multiples of the period and then equals the online parameters. Between two
/// copies the targets of all transitions are fixed, and fitting them is an ordinary regression. Where several
/// environments step together the counter may jump over a multiple; the copy is then made at once.
///
/// Shapes: `target` and `online` of one length; the counter went from `before` to `now`.
///
/// # Panics
/// If the lengths differ or `period` is 0.
///
/// Source: V. Mnih et al. (2015), Human-level control through deep reinforcement learning.
pub fn hard<F: Real>(target: &mut [F], online: &[F], before: u64, now: u64, period: u64) -> bool {
    assert_eq!(target.len(), online.len(), "target against online");
    let due = crossings(before, now, period) > 0;
    if due {
        target.copy_from_slice(online);
    }
    due
}
// ANCHOR_END: dqn.target-hard

multiversion! {
    // ANCHOR: dqn.target-soft
    /// Moves the target a share `kappa` of the way to the online parameters.
    ///
    /// ID `dqn.target-soft`: `target <- (1 - kappa) target + kappa online`, so that the target is a mean of all earlier online
    /// parameters with weights that fall geometrically. With `kappa = 1` it is a copy.
    ///
    /// Shapes: `target` and `online` of one length.
    ///
    /// # Panics
    /// If the lengths differ or `kappa` is outside of `[0, 1]`.
    ///
    /// Source: T. P. Lillicrap et al. (2016), Continuous control with deep reinforcement learning.
    pub fn soft<F: Real>(target: &mut [F], online: &[F], kappa: F) {
        assert_eq!(target.len(), online.len(), "target against online");
        assert!(kappa >= F::zero() && kappa <= F::one(), "kappa is {kappa} but must lie in [0, 1]");
        let keep = F::one() - kappa;
        for (t, &o) in target.iter_mut().zip(online) {
            *t = keep * *t + kappa * o;
        }
    }
    // ANCHOR_END: dqn.target-soft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_happen_at_multiples_of_the_period() {
        let mut target = [0.0f32];
        let copied: Vec<u64> = (1..=10).filter(|&t| hard(&mut target, &[t as f32], t - 1, t, 4)).collect();
        assert_eq!((copied, target), (vec![4, 8], [8.0]));
        assert_eq!((crossings(3, 9, 4), crossings(4, 7, 4), crossings(0, 0, 1)), (2, 0, 0));
    }
}

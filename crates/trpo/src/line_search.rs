//! Backtracking on the true divergence and the true gain (`trpo.line-search`).

use rederive_math::Real;

/// What counts for a candidate, means over the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trial {
    /// `KL(old || candidate)`, nats.
    pub kl: f64,
    /// How much the surrogate gains on the old policy.
    pub gain: f64,
}

impl Trial {
    /// Whether a step may be taken: inside the trust region, and for the better. False for NaN.
    pub fn acceptable(&self, target_kl: f64) -> bool {
        self.kl <= target_kl && self.gain > 0.0
    }
}

/// How far and how often to back off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backtracking {
    /// The radius of the trust region, nats.
    pub target_kl: f64,
    /// Each candidate is this much shorter than the one before, in (0, 1).
    pub shrink: f64,
    /// At most so many candidates.
    pub max_trials: usize,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The share of the step that was taken, `shrink^k`; `None` if the parameters are the old ones.
    pub share: Option<f64>,
    /// Candidates tried.
    pub trials: usize,
    /// The last candidate's figures: those of the step, if one was taken.
    pub last: Trial,
}

// ANCHOR: trpo.line-search
/// Takes the longest of the steps `d, c d, c^2 d, ...` that stays inside the trust region and gains.
///
/// ID `trpo.line-search`: the first candidate with true `mean KL(old || new) <= Delta` and surrogate gain `> 0` is accepted,
/// and none that fails either. Where all fail the old parameters are left, bit for bit. If `g != 0` and `F` is definite, some
/// power is acceptable: to first order the gain is `c^k g^T d > 0`, and the divergence falls as `c^(2k)`.
///
/// `params` `[P]` holds the old parameters and is written; `old` `[P]` is room; `trial(params)` measures a candidate.
///
/// # Panics
/// If a length differs.
///
/// Source: J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, appendix C.
pub fn line_search<F: Real>(
    params: &mut [F],
    step: &[F],
    old: &mut [F],
    rule: Backtracking,
    mut trial: impl FnMut(&[F]) -> Trial,
) -> Found {
    assert_eq!(params.len(), step.len(), "params against step");
    assert_eq!(params.len(), old.len(), "params against old");
    old.copy_from_slice(params);
    let mut found = Found { share: None, trials: 0, last: Trial::default() };
    let mut share = 1.0;
    while found.trials < rule.max_trials {
        for ((p, &o), &d) in params.iter_mut().zip(&*old).zip(step) {
            *p = o + F::of(share) * d;
        }
        found.last = trial(params);
        found.trials += 1;
        if found.last.acceptable(rule.target_kl) {
            found.share = Some(share);
            return found;
        }
        share *= rule.shrink;
    }
    params.copy_from_slice(old);
    found
}
// ANCHOR_END: trpo.line-search

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Backtracking = Backtracking { target_kl: 0.02, shrink: 0.5, max_trials: 4 };

    #[test]
    fn the_first_acceptable_candidate_is_taken() {
        let (mut params, mut old) = ([1.0f64], [0.0]);
        let found = line_search(&mut params, &[8.0], &mut old, RULE, |p| Trial {
            kl: 0.005 * (p[0] - 1.0),
            gain: 1.0,
        });
        assert_eq!((found.share, found.trials, params, found.last.kl), (Some(0.5), 2, [5.0], 0.02));
    }

    #[test]
    fn otherwise_the_old_parameters_stay_bit_for_bit() {
        // 1 + 1e17 - 1e17 would not be 1 again.
        let (mut params, mut old) = ([1.0f32, 0.1], [0.0; 2]);
        for bad in [
            Trial { kl: 0.03, gain: 1.0 },
            Trial { kl: 0.01, gain: 0.0 },
            Trial { kl: f64::NAN, gain: 1.0 },
            Trial { kl: 0.0, gain: f64::NAN },
        ] {
            let found = line_search(&mut params, &[1e17, 1e17], &mut old, RULE, |_| bad);
            assert_eq!((found.share, found.trials, params), (None, 4, [1.0, 0.1]));
        }
    }
}

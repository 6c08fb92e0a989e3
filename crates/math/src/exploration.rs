//! Exploration around a greedy action.

use crate::{Real, Stream, categorical};

fn assert_share<F: Real>(epsilon: F) {
    assert!(epsilon >= F::zero() && epsilon <= F::one(), "epsilon is {epsilon} but must lie in [0, 1]");
}

/// The probabilities of epsilon-greedy.
///
/// ID `prob.epsilon-greedy`: `pi(a | s) = (1 - eps) 1[a = a*] + eps / A`: the random branch is uniform over *all*
/// actions, so the greedy action has `1 - eps + eps / A`. Of equal largest values the first is greedy.
///
/// Shapes: `value` (action values of one state) and `out` `[A]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ, there is no action, or `epsilon` is outside of `[0, 1]`.
///
/// Source: C. J. C. H. Watkins (1989), Learning from Delayed Rewards.
// ANCHOR: prob.epsilon-greedy
pub fn epsilon_greedy<F: Real>(value: &[F], epsilon: F, out: &mut [F]) {
    assert!(value.len() == out.len(), "value has {} entries but out has {}", value.len(), out.len());
    assert!(!value.is_empty(), "there is no action to choose");
    assert_share(epsilon);
    out.fill(epsilon / F::of(value.len() as f64));
    out[categorical::mode(value)] += F::one() - epsilon;
}

/// The action that two uniform numbers in `[0, 1)` choose: a `coin` below `epsilon` takes the random branch, in which
/// `pick` chooses among all actions; otherwise the action is greedy.
///
/// ID `prob.epsilon-greedy`.
///
/// Shape: `value` `[A]`.
///
/// # Panics
/// If there is no action.
///
/// Source: C. J. C. H. Watkins (1989), Learning from Delayed Rewards.
#[inline]
pub fn choose<F: Real>(value: &[F], epsilon: F, coin: f64, pick: f64) -> usize {
    assert!(!value.is_empty(), "there is no action to choose");
    if coin < Real::to_f64(epsilon) {
        // Only rounding of the product could reach the number of actions.
        ((pick * value.len() as f64) as usize).min(value.len() - 1)
    } else {
        categorical::mode(value)
    }
}

/// An action of epsilon-greedy, drawn from `stream`. It takes two numbers whatever the branch.
///
/// ID `prob.epsilon-greedy`.
///
/// Shape: `value` `[A]`.
///
/// # Panics
/// If there is no action, or `epsilon` is outside of `[0, 1]`.
///
/// Source: C. J. C. H. Watkins (1989), Learning from Delayed Rewards.
#[inline]
pub fn sample<F: Real>(value: &[F], epsilon: F, stream: &mut Stream) -> usize {
    assert_share(epsilon);
    let (coin, pick) = (stream.unit(), stream.unit());
    choose(value, epsilon, coin, pick)
}

/// Geometric decay.
///
/// ID `prob.epsilon-greedy`: `eps_k = eps_0 c^k` for the `k`-th episode or step, with `k = 0` undecayed.
///
/// # Panics
/// If `start` or `factor` is outside of `[0, 1]`.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, chapter 2.
pub fn geometric_decay<F: Real>(start: F, factor: F, k: u64) -> F {
    assert_share(start);
    assert!(factor >= F::zero() && factor <= F::one(), "factor is {factor} but must lie in [0, 1]");
    start * factor.powf(F::of(k as f64))
}
// ANCHOR_END: prob.epsilon-greedy

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_branch_includes_the_greedy_action() {
        let mut p = [f64::NAN; 4];
        epsilon_greedy(&[0.0, 2.0, 2.0, -1.0], 0.1, &mut p);
        assert!((p[1] - 0.925).abs() < 1e-15 && p[2] == 0.025);
        for (epsilon, want) in [(0.0, [0.0, 1.0]), (1.0, [0.5, 0.5])] {
            let mut p = [f64::NAN; 2];
            epsilon_greedy(&[1.0, 3.0], epsilon, &mut p);
            assert_eq!(p, want);
        }
        let mut one = [f32::NAN];
        epsilon_greedy(&[7.0], 0.3, &mut one);
        assert_eq!(one, [1.0]);
    }

    #[test]
    fn the_coin_decides_the_branch() {
        let value = [0.0, 5.0, 1.0];
        let chosen = [(0.1, 0.0), (0.0999, 0.0), (0.0, 0.34), (0.0, 0.999_999)];
        assert_eq!(chosen.map(|(coin, pick)| choose(&value, 0.1, coin, pick)), [1, 0, 1, 2]);
        let mut stream = Stream::new(0, "explore", 0);
        assert!((0..100).all(|_| sample(&value, 0.0, &mut stream) == 1));
    }

    #[test]
    fn decay_is_geometric() {
        assert!((geometric_decay(0.9f64, 0.995, 1000) - 0.005_988_6).abs() < 1e-7);
        assert_eq!((geometric_decay(0.9, 0.5, 0), geometric_decay(0.9, 0.0, 0)), (0.9, 0.9));
    }
}

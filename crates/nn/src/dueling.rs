//! The dueling head (`dqn.dueling`): action values from a state value and one advantage per action.
//!
//! Wang, Schaul, Hessel, van Hasselt, Lanctot and de Freitas (2016), *Dueling network architectures for deep reinforcement
//! learning*.

use rederive_math::Real;

// ANCHOR: dqn.dueling
/// `q[b, a] = v[b] + adv[b, a] - mean over a' of adv[b, a']`, with `heads` `[B, 1 + A]` holding `v` in its first column and
/// `adv` in the others, and `q` `[B, A]`.
///
/// The mean over the actions is taken away because `v + c` and `adv - c` would give the same `q`: with it the mean of a
/// row of `q` is `v`. The head is linear, so the same function carries tangents forward.
///
/// # Panics
/// If `actions` is 0 or a length does not fit.
pub fn dueling<F: Real>(heads: &[F], actions: usize, q: &mut [F]) {
    check(heads, actions, q);
    let share = F::one() / F::of(actions as f64);
    for (heads, q) in heads.chunks_exact(1 + actions).zip(q.chunks_exact_mut(actions)) {
        let (value, advantages) = (heads[0], &heads[1..]);
        let shift = value - advantages.iter().fold(F::zero(), |sum, &a| sum + a) * share;
        for (q, &advantage) in q.iter_mut().zip(advantages) {
            *q = advantage + shift;
        }
    }
}

/// The transpose of [`dueling`]: from the gradient `d_q` `[B, A]` at the action values to `d_heads` `[B, 1 + A]` at the
/// heads, `d_v = sum of d_q` and `d_adv[a] = d_q[a] - mean of d_q`.
///
/// # Panics
/// If `actions` is 0 or a length does not fit.
pub fn dueling_gradient<F: Real>(d_q: &[F], actions: usize, d_heads: &mut [F]) {
    check(d_heads, actions, d_q);
    let share = F::one() / F::of(actions as f64);
    for (d_heads, d_q) in d_heads.chunks_exact_mut(1 + actions).zip(d_q.chunks_exact(actions)) {
        let sum = d_q.iter().fold(F::zero(), |sum, &d| sum + d);
        d_heads[0] = sum;
        for (d_head, &d) in d_heads[1..].iter_mut().zip(d_q) {
            *d_head = d - sum * share;
        }
    }
}
// ANCHOR_END: dqn.dueling

fn check<F>(heads: &[F], actions: usize, q: &[F]) {
    assert!(actions > 0, "a dueling head needs an action");
    assert_eq!(q.len() % actions, 0, "q against {actions} actions");
    assert_eq!(heads.len(), q.len() / actions * (1 + actions), "heads against q with {actions} actions");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_around_a_mean() {
        let mut q = [0.0; 4];
        dueling(&[10.0, 1.0, 5.0, -2.0, 0.0, 4.0], 2, &mut q);
        assert_eq!(q, [8.0, 12.0, -4.0, 0.0]);
        let mut d = [0.0; 3];
        dueling_gradient(&[1.0, 0.0], 2, &mut d);
        assert_eq!(d, [1.0, 0.5, -0.5]);
    }
}

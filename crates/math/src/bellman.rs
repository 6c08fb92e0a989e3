//! Bellman equations of finite processes given as dense arrays, and what dynamic programming does with them.
//!
//! `p` is `P(s' | s, a)` and `r` is `R(s, a, s')`, both `[S, A, S]`; a policy is `pi(a | s)` `[S, A]`; values of states are
//! slices `[S]`, values of pairs arrays `[S, A]`. A terminal state is one that leads back to itself and pays nothing. The
//! functions assert shapes; [`crate::mdp::validate`] looks at the numbers. Values must be finite: each is multiplied by its
//! probability, even where that is 0.

use crate::mdp::{self, NotAnMdp};
use crate::{Real, elimination, multiversion};
use ndarray::{Array2, ArrayRef2, ArrayRef3, Axis, CowArray, Ix2, Ix3};

/// Partial sums of an expectation: as many as keep a vector unit busy.
const LANES: usize = 16;

/// The backup of one pair: `sum_s' P(s' | s, a) [R(s, a, s') + gamma V(s')]`, in a fixed order of summation.
#[inline(always)]
fn expected<F: Real>(p: &[F], r: &[F], gamma: F, value: &[F]) -> F {
    let n = p.len();
    let (r, value) = (&r[..n], &value[..n]);
    let mut partial = [F::zero(); LANES];
    let blocks = n - n % LANES;
    for from in (0..blocks).step_by(LANES) {
        let (p, r, value) = (&p[from..][..LANES], &r[from..][..LANES], &value[from..][..LANES]);
        for lane in 0..LANES {
            partial[lane] = p[lane].mul_add(gamma.mul_add(value[lane], r[lane]), partial[lane]);
        }
    }
    let mut sum = F::zero();
    for i in blocks..n {
        sum = p[i].mul_add(gamma.mul_add(value[i], r[i]), sum);
    }
    sum + total(partial)
}

/// `sum_i a_i b_i` in the same order.
#[inline(always)]
fn dot<F: Real>(a: &[F], b: &[F]) -> F {
    let n = a.len();
    let b = &b[..n];
    let mut partial = [F::zero(); LANES];
    let blocks = n - n % LANES;
    for from in (0..blocks).step_by(LANES) {
        let (a, b) = (&a[from..][..LANES], &b[from..][..LANES]);
        for lane in 0..LANES {
            partial[lane] = a[lane].mul_add(b[lane], partial[lane]);
        }
    }
    let mut sum = F::zero();
    for i in blocks..n {
        sum = a[i].mul_add(b[i], sum);
    }
    sum + total(partial)
}

#[inline(always)]
fn total<F: Real>(mut partial: [F; LANES]) -> F {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            let high = partial[lane + half];
            partial[lane] += high;
        }
        half /= 2;
    }
    partial[0]
}

/// The largest of the values; NaN if one is.
#[inline(always)]
fn largest<F: Real>(values: impl Iterator<Item = F>) -> F {
    values.fold(F::neg_infinity(), |best, x| if x > best || x.is_nan() { x } else { best })
}

/// `p` and `r` in row-major order, copied only if they are not in it already.
struct Model<'a, F> {
    p: CowArray<'a, F, Ix3>,
    r: CowArray<'a, F, Ix3>,
    actions: usize,
    states: usize,
}

impl<'a, F: Real> Model<'a, F> {
    #[track_caller]
    fn new(p: &'a ArrayRef3<F>, r: &'a ArrayRef3<F>) -> Self {
        let (states, actions, next) = p.dim();
        assert!(states == next, "p has shape {:?} but must go from S states to S states", p.dim());
        assert!(r.dim() == p.dim(), "r has shape {:?} but p has shape {:?}", r.dim(), p.dim());
        assert!(actions > 0, "p has shape {:?}: there is no action", p.dim());
        Model { p: p.as_standard_layout(), r: r.as_standard_layout(), actions, states }
    }

    #[track_caller]
    fn check_values(&self, name: &str, value: &[F]) {
        assert!(
            value.len() == self.states,
            "{name} has {} entries but p has shape {:?}",
            value.len(),
            self.p.dim()
        );
    }

    #[track_caller]
    fn check_pairs<X>(&self, name: &str, pairs: &ArrayRef2<X>) {
        assert!(
            pairs.dim() == (self.states, self.actions),
            "{name} has shape {:?} but p has shape {:?}",
            pairs.dim(),
            self.p.dim()
        );
    }

    fn slices(&self) -> (&[F], &[F]) {
        (self.p.as_slice().expect("row-major"), self.r.as_slice().expect("row-major"))
    }
}

fn row_major<X: Clone>(a: &ArrayRef2<X>) -> CowArray<'_, X, Ix2> {
    a.as_standard_layout()
}

fn flat<'a, X>(a: &'a CowArray<'_, X, Ix2>) -> &'a [X] {
    a.as_slice().expect("row-major")
}

/// The backup of pair number `pair` (see [`crate::mdp::pair_index`]) from whole arrays.
#[inline(always)]
fn pair_backup<F: Real>(p: &[F], r: &[F], pair: usize, gamma: F, value: &[F]) -> F {
    let row = pair * value.len()..(pair + 1) * value.len();
    expected(&p[row.clone()], &r[row], gamma, value)
}

multiversion! {
    fn look_ahead_body<F: Real>(p: &[F], r: &[F], gamma: F, value: &[F], out: &mut [F]) {
        for (pair, q) in out.iter_mut().enumerate() {
            *q = pair_backup(p, r, pair, gamma, value);
        }
    }
}

multiversion! {
    fn expectation_body<F: Real>(p: &[F], r: &[F], policy: &[F], gamma: F, value: &[F], out: &mut [F]) {
        let actions = policy.len() / out.len().max(1);
        for (s, v) in out.iter_mut().enumerate() {
            let pairs = s * actions..(s + 1) * actions;
            *v = pairs.map(|pair| policy[pair] * pair_backup(p, r, pair, gamma, value)).sum();
        }
    }
}

multiversion! {
    fn optimality_body<F: Real>(p: &[F], r: &[F], actions: usize, gamma: F, value: &[F], out: &mut [F]) {
        for (s, v) in out.iter_mut().enumerate() {
            let pairs = s * actions..(s + 1) * actions;
            *v = largest(pairs.map(|pair| pair_backup(p, r, pair, gamma, value)));
        }
    }
}

multiversion! {
    /// `offset + gamma matrix x`, row by row.
    fn affine_body<F: Real>(matrix: &[F], offset: &[F], gamma: F, x: &[F], out: &mut [F]) {
        for (i, y) in out.iter_mut().enumerate() {
            *y = gamma.mul_add(dot(&matrix[i * x.len()..(i + 1) * x.len()], x), offset[i]);
        }
    }
}

/// One look ahead from values of states to values of pairs.
///
/// ID `bellman.q`: `Q(s, a) = sum_s' P(s' | s, a) [R(s, a, s') + gamma V(s')]`, which is `Q_pi` if `V = V_pi` and `Q*` if
/// `V = V*`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `value` `[S]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, equation 4.6.
// ANCHOR: bellman.q
pub fn look_ahead<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    value: &[F],
    out: &mut ArrayRef2<F>,
) {
    let model = Model::new(p, r);
    model.check_values("value", value);
    model.check_pairs("out", out);
    let (p, r) = model.slices();
    match out.as_slice_mut() {
        Some(out) => look_ahead_body(p, r, gamma, value, out),
        None => {
            for ((s, a), q) in out.indexed_iter_mut() {
                *q = pair_backup(p, r, mdp::pair_index(s, a, model.actions), gamma, value);
            }
        }
    }
}

/// The mean of `Q` under the policy in every state.
///
/// ID `bellman.q`: `V(s) = sum_a pi(a | s) Q(s, a)`.
///
/// Shapes: `policy` and `q` `[S, A]`, `out` `[S]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 3.5.
pub fn mean_value<F: Real>(policy: &ArrayRef2<F>, q: &ArrayRef2<F>, out: &mut [F]) {
    assert!(q.dim() == policy.dim(), "q has shape {:?} but policy has shape {:?}", q.dim(), policy.dim());
    assert!(out.len() == q.nrows(), "out has {} entries but q has shape {:?}", out.len(), q.dim());
    for ((v, policy), q) in out.iter_mut().zip(policy.rows()).zip(q.rows()) {
        *v = policy.iter().zip(q).map(|(&pi, &q)| pi * q).sum();
    }
}

/// The Bellman backup of the action values of a policy.
///
/// ID `bellman.q`: `(T Q)(s, a) = sum_s' P(s' | s, a) [R(s, a, s') + gamma sum_a' pi(a' | s') Q(s', a')]`, whose one fixed
/// point for `gamma < 1` is `Q_pi`. The inner mean is over the actions of the *next* state.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy`, `q` and `out` `[S, A]`; `value` `[S]` is overwritten with the inner means and
/// `out` with the backup.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, exercise 3.17.
pub fn expectation_backup_q<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    q: &ArrayRef2<F>,
    value: &mut [F],
    out: &mut ArrayRef2<F>,
) {
    mean_value(policy, q, value);
    look_ahead(p, r, gamma, value, out);
}
// ANCHOR_END: bellman.q

/// The Bellman backup of the state values of a policy.
///
/// ID `bellman.v`: `(T V)(s) = sum_a pi(a | s) sum_s' P(s' | s, a) [R(s, a, s') + gamma V(s')]`, whose one fixed point for
/// `gamma < 1` is `V_pi`.
///
/// ID `dp.contraction`: in the sup norm `|T U - T W| <= gamma |U - W|`; `U <= W` gives `T U <= T W`; `T (U + c) = T U + gamma c`.
/// The same holds for [`optimality_backup_v`].
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` `[S, A]`, `value` and `out` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. Bellman (1957), Dynamic Programming; E. V. Denardo (1967), Contraction Mappings in the Theory Underlying Dynamic
/// Programming.
// ANCHOR: bellman.v
// ANCHOR: dp.contraction
pub fn expectation_backup_v<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    value: &[F],
    out: &mut [F],
) {
    let model = Model::new(p, r);
    model.check_pairs("policy", policy);
    model.check_values("value", value);
    model.check_values("out", out);
    let (p, r) = model.slices();
    expectation_body(p, r, flat(&row_major(policy)), gamma, value, out);
}
// ANCHOR_END: dp.contraction

/// The exact values of a policy over the infinite horizon.
///
/// ID `bellman.v`: `V_pi = (I - gamma P_pi)^-1 r_pi = sum_t gamma^t P_pi^t r_pi`. Elimination on an `S x S` matrix.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` `[S, A]`, `out` `[S]`, overwritten.
///
/// # Errors
/// [`NotAnMdp::Discount`] for a `gamma` outside of `[0, 1)`, where there may be no value or many.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. A. Howard (1960), Dynamic Programming and Markov Processes.
pub fn solve_v<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    out: &mut [F],
) -> Result<(), NotAnMdp> {
    let model = Model::new(p, r);
    model.check_values("out", out);
    // Written so that NaN is refused.
    if !(gamma >= F::zero() && gamma < F::one()) {
        return Err(NotAnMdp::Discount(Real::to_f64(gamma)));
    }
    let (mut matrix, reward) = policy_model(p, r, policy);
    out.copy_from_slice(&reward);
    matrix.mapv_inplace(|prob| -gamma * prob);
    matrix.diag_mut().mapv_inplace(|x| x + F::one());
    if !elimination::solve(&mut matrix, out) {
        // The matrix dominates by rows: only a p or a policy that is no law gets here.
        out.fill(F::nan());
    }
    Ok(())
}
// ANCHOR_END: bellman.v

/// `P_pi` `[S, S]` and `r_pi` `[S]`.
fn policy_model<F: Real>(p: &ArrayRef3<F>, r: &ArrayRef3<F>, policy: &ArrayRef2<F>) -> (Array2<F>, Vec<F>) {
    let (states, actions, _) = p.dim();
    let mut kernel = Array2::zeros((states, states));
    mdp::policy_kernel(p, policy, &mut kernel);
    let mut mean = Array2::zeros((states, actions));
    mdp::mean_reward(p, r, &mut mean);
    let mut reward = vec![F::zero(); states];
    mean_value(policy, &mean, &mut reward);
    (kernel, reward)
}

/// How much better each action is than the policy's average.
///
/// ID `bellman.advantage`: `A(s, a) = Q(s, a) - V(s)`. For the values of a policy its mean over the policy is 0 in every state,
/// it is the mean TD error of the pair, and its largest entry is 0 in every state exactly if the policy is optimal.
///
/// Shapes: `q` and `out` `[S, A]`, `value` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: L. C. Baird (1993), Advantage Updating.
// ANCHOR: bellman.advantage
pub fn advantage<F: Real>(q: &ArrayRef2<F>, value: &[F], out: &mut ArrayRef2<F>) {
    assert!(q.dim() == out.dim(), "q has shape {:?} but out has shape {:?}", q.dim(), out.dim());
    assert!(value.len() == q.nrows(), "value has {} entries but q has shape {:?}", value.len(), q.dim());
    for ((s, a), advantage) in out.indexed_iter_mut() {
        *advantage = q[[s, a]] - value[s];
    }
}
// ANCHOR_END: bellman.advantage

#[track_caller]
fn check_deterministic<F>(next: &ArrayRef2<usize>, reward: &ArrayRef2<F>, policy: &ArrayRef2<F>) {
    assert!(
        next.dim() == reward.dim(),
        "next has shape {:?} but reward has shape {:?}",
        next.dim(),
        reward.dim()
    );
    assert!(
        policy.dim() == next.dim(),
        "policy has shape {:?} but next has shape {:?}",
        policy.dim(),
        next.dim()
    );
}

/// The backup of a policy's state values where each pair leads to one state.
///
/// ID `bellman.deterministic`: with `s' = f(s, a)`, `V(s) = sum_a pi(a | s) [R(s, a) + gamma V(f(s, a))]`. The policy may still be
/// random. No array over next states is needed.
///
/// Shapes: `next` (the function `f`), `reward` and `policy` `[S, A]`, `value` and `out` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together, or a next state does not exist.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 3.5.
// ANCHOR: bellman.deterministic
pub fn deterministic_backup_v<F: Real>(
    next: &ArrayRef2<usize>,
    reward: &ArrayRef2<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    value: &[F],
    out: &mut [F],
) {
    check_deterministic(next, reward, policy);
    let states = next.nrows();
    assert!(value.len() == states, "value has {} entries but next has {states} rows", value.len());
    assert!(out.len() == states, "out has {} entries but next has {states} rows", out.len());
    out.fill(F::zero());
    for ((s, a), &to) in next.indexed_iter() {
        out[s] += policy[[s, a]] * (reward[[s, a]] + gamma * value[to]);
    }
}

/// The backup of a policy's action values where each pair leads to one state.
///
/// ID `bellman.deterministic`: `Q(s, a) = R(s, a) + gamma sum_a' pi(a' | f(s, a)) Q(f(s, a), a')`.
///
/// Shapes: all `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together, or a next state does not exist.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 3.5.
pub fn deterministic_backup_q<F: Real>(
    next: &ArrayRef2<usize>,
    reward: &ArrayRef2<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    q: &ArrayRef2<F>,
    out: &mut ArrayRef2<F>,
) {
    check_deterministic(next, reward, policy);
    assert!(q.dim() == next.dim(), "q has shape {:?} but next has shape {:?}", q.dim(), next.dim());
    assert!(out.dim() == next.dim(), "out has shape {:?} but next has shape {:?}", out.dim(), next.dim());
    for ((s, a), &to) in next.indexed_iter() {
        let ahead: F = policy.row(to).iter().zip(q.row(to)).map(|(&pi, &q)| pi * q).sum();
        out[[s, a]] = reward[[s, a]] + gamma * ahead;
    }
}
// ANCHOR_END: bellman.deterministic

/// Values of a policy over a finite horizon, which depend on the time.
///
/// ID `bellman.time-index`: `V_T = 0` and `V_t(s) = sum_a pi_t(a | s) sum_s' P(s' | s, a) [R(s, a, s') + gamma V_{t+1}(s')]`, the
/// mean of the return *from* step `t`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` `[T, S, A]`, `out` `[T + 1, S]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. Bellman (1957), Dynamic Programming.
// ANCHOR: bellman.time-index
pub fn finite_horizon_values<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef3<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    let model = Model::new(p, r);
    let (horizon, states, actions) = policy.dim();
    assert!(
        (states, actions) == (model.states, model.actions),
        "policy has shape {:?} but p has shape {:?}",
        policy.dim(),
        p.dim()
    );
    assert!(
        out.dim() == (horizon + 1, states),
        "out has shape {:?} but policy has shape {:?}",
        out.dim(),
        policy.dim()
    );
    let mut value = vec![F::zero(); states];
    let mut before = value.clone();
    out.row_mut(horizon).fill(F::zero());
    for t in (0..horizon).rev() {
        expectation_backup_v(p, r, &policy.index_axis(Axis(0), t), gamma, &value, &mut before);
        std::mem::swap(&mut value, &mut before);
        out.row_mut(t).iter_mut().zip(&value).for_each(|(out, &v)| *out = v);
    }
}
// ANCHOR_END: bellman.time-index

/// The optimality backup of state values.
///
/// ID `bellman.optimality`: `(T V)(s) = max_a sum_s' P(s' | s, a) [R(s, a, s') + gamma V(s')]`, whose one fixed point for
/// `gamma < 1` is `V*`, the largest value in every state at once.
///
/// Shapes: `p` and `r` `[S, A, S]`, `value` and `out` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. Bellman (1957), Dynamic Programming.
// ANCHOR: bellman.optimality
pub fn optimality_backup_v<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    value: &[F],
    out: &mut [F],
) {
    let model = Model::new(p, r);
    model.check_values("value", value);
    model.check_values("out", out);
    let (p, r) = model.slices();
    optimality_body(p, r, model.actions, gamma, value, out);
}

/// The largest `Q` of every state.
///
/// ID `bellman.optimality`: `V(s) = max_a Q(s, a)`.
///
/// Shapes: `q` `[S, A]`, `out` `[S]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. Bellman (1957), Dynamic Programming.
pub fn max_value<F: Real>(q: &ArrayRef2<F>, out: &mut [F]) {
    assert!(out.len() == q.nrows(), "out has {} entries but q has shape {:?}", out.len(), q.dim());
    for (v, q) in out.iter_mut().zip(q.rows()) {
        *v = largest(q.iter().copied());
    }
}

/// The optimality backup of action values, one sweep of Q-value iteration.
///
/// ID `bellman.optimality`: `(T Q)(s, a) = sum_s' P(s' | s, a) [R(s, a, s') + gamma max_a' Q(s', a')]`. The maximum is inside
/// the mean over next states.
///
/// ID `dp.q-vi`: from the same start, `max_a Q_k = V_k` and `Q_{k+1} = r + gamma P V_k` at every sweep.
///
/// Shapes: `p` and `r` `[S, A, S]`, `q` and `out` `[S, A]`; `value` `[S]` is overwritten with the maxima of `q` and `out` with
/// the backup.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: C. J. C. H. Watkins (1989), Learning from Delayed Rewards.
// ANCHOR: dp.q-vi
pub fn optimality_backup_q<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    q: &ArrayRef2<F>,
    value: &mut [F],
    out: &mut ArrayRef2<F>,
) {
    max_value(q, value);
    look_ahead(p, r, gamma, value, out);
}
// ANCHOR_END: dp.q-vi
// ANCHOR_END: bellman.optimality

/// Sweeps of the policy's backup, each on all states at once.
///
/// ID `dp.policy-evaluation`: `V_k = r_pi + gamma P_pi V_{k-1}`, with `|V_k - V_pi| <= gamma^k |V_0 - V_pi|` in the sup norm. The chain
/// of the policy is formed once, so that a sweep costs `S^2` products instead of `S^2 A`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` `[S, A]`; `value` `[S]` holds the start and afterwards the result.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 4.1.
// ANCHOR: dp.policy-evaluation
pub fn evaluate<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    sweeps: usize,
    value: &mut [F],
) {
    let model = Model::new(p, r);
    model.check_pairs("policy", policy);
    model.check_values("value", value);
    let (kernel, reward) = policy_model(p, r, policy);
    let kernel = kernel.as_slice().expect("row-major");
    let mut before = value.to_vec();
    for _ in 0..sweeps {
        before.copy_from_slice(value);
        affine_body(kernel, &reward, gamma, &before, value);
    }
}
// ANCHOR_END: dp.policy-evaluation

/// Sweeps of the optimality backup, each on all states at once (Jacobi).
///
/// IDs `bellman.optimality`, `dp.vi-rate`: `V_k = T V_{k-1}`.
///
/// Shapes: `p` and `r` `[S, A, S]`; `value` `[S]` holds the start and afterwards the result.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. Bellman (1957), Dynamic Programming.
pub fn value_iteration<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    sweeps: usize,
    value: &mut [F],
) {
    let model = Model::new(p, r);
    model.check_values("value", value);
    let (p, r) = model.slices();
    let mut before = value.to_vec();
    for _ in 0..sweeps {
        before.copy_from_slice(value);
        optimality_body(p, r, model.actions, gamma, &before, value);
    }
}

/// How many sweeps from `V = 0` give the optimal values exactly, if any number does.
///
/// ID `dp.vi-finite`: where no path comes back to a state, up to absorbing states that pay nothing, the number of steps of
/// the longest path. `None` for any other process: there convergence is only geometric.
///
/// Shapes: `p` and `r` `[S, A, S]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes.
// ANCHOR: dp.vi-finite
pub fn sweeps_to_exact<F: Real>(p: &ArrayRef3<F>, r: &ArrayRef3<F>) -> Option<usize> {
    let Model { states, actions, .. } = Model::new(p, r);
    let leads = |s: usize, next: usize| (0..actions).any(|a| p[[s, a, next]] > F::zero());
    let absorbs = |s: usize| {
        (0..actions).all(|a| r[[s, a, s]] == F::zero())
            && (0..states).all(|next| next == s || !leads(s, next))
    };
    // The longest path from a state, once those of all its successors are known.
    let mut longest: Vec<Option<usize>> = (0..states).map(|s| absorbs(s).then_some(0)).collect();
    for _ in 0..states {
        for s in 0..states {
            if longest[s].is_none() {
                let mut successors = (0..states).filter(|&next| leads(s, next));
                longest[s] = successors
                    .try_fold(0, |most, next| longest[next].map(|steps| most.max(steps)))
                    .map(|m| m + 1);
            }
        }
    }
    longest.into_iter().try_fold(0, |most, steps| Some(most.max(steps?)))
}
// ANCHOR_END: dp.vi-finite

/// How far value iteration can still be from its limit after `k` sweeps.
///
/// ID `dp.vi-rate`: `|V_k - V*| <= gamma^k |V_0 - V*|` in the sup norm; `distance` is `|V_0 - V*|`.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes, theorem 6.3.3.
// ANCHOR: dp.vi-rate
pub fn rate_bound<F: Real>(gamma: F, k: usize, distance: F) -> F {
    num_traits::pow(gamma, k) * distance
}

/// How far the values of a sweep can be from the limit, given the largest change that the sweep made.
///
/// ID `dp.vi-rate`: `|V_k - V*| <= gamma / (1 - gamma) |V_k - V_{k-1}|` in the sup norm: a stopping rule. The change itself is
/// no bound.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes, theorem 6.3.1.
pub fn change_bound<F: Real>(gamma: F, change: F) -> F {
    gamma / (F::one() - gamma) * change
}

/// Between which two shifts of the sweep's values the limit lies, given the change of every state.
///
/// ID `dp.vi-rate`: with `d = V_k - V_{k-1}` and `c = gamma / (1 - gamma)`, `V_k + c min d <= V* <= V_k + c max d` in every state.
/// Adding the midpoint of the two shifts to `V_k` leaves an error of at most half their distance, often after far fewer
/// sweeps than [`change_bound`] needs; *not* adding it leaves values off by nearly a constant.
///
/// Shape: `change` `[S]`.
///
/// # Panics
/// If there is no state.
///
/// Source: J. MacQueen (1966), A Modified Dynamic Programming Method for Markovian Decision Problems; E. L. Porteus (1971),
/// Some Bounds for Discounted Sequential Decision Processes.
pub fn span_bounds<F: Real>(gamma: F, change: &[F]) -> (F, F) {
    assert!(!change.is_empty(), "change has no entry");
    let scale = gamma / (F::one() - gamma);
    let low = -largest(change.iter().map(|&d| -d));
    (scale * low, scale * largest(change.iter().copied()))
}
// ANCHOR_END: dp.vi-rate

/// What all rewards after the first `steps` can still add up to.
///
/// ID `dp.horizon-tail`: if `|R| <= max_reward` then `|sum_{t >= M} gamma^t r_t| <= gamma^M / (1 - gamma) max_reward`, and so far apart,
/// at most, are `V*` and the values of `M` decisions. The exponent counts rewards already taken.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes, section 5.4.
// ANCHOR: dp.horizon-tail
pub fn horizon_tail<F: Real>(gamma: F, steps: usize, max_reward: F) -> F {
    num_traits::pow(gamma, steps) / (F::one() - gamma) * max_reward
}
// ANCHOR_END: dp.horizon-tail

/// How much a greedy policy can lose by values that are off by `error`.
///
/// ID `dp.greedy-loss`: if `pi` is greedy for `V`, `|V* - V_pi| <= 2 gamma / (1 - gamma) |V - V*|` in the sup norm.
///
/// Source: S. P. Singh, R. C. Yee (1994), An Upper Bound on the Loss from Approximate Optimal-Value Functions.
// ANCHOR: dp.greedy-loss
pub fn greedy_loss<F: Real>(gamma: F, error: F) -> F {
    F::of(2.0) * gamma / (F::one() - gamma) * error
}
// ANCHOR_END: dp.greedy-loss

/// The index of the first largest entry.
#[inline(always)]
fn first_largest<F: Real>(values: impl Iterator<Item = F>) -> usize {
    let mut best = (0, F::neg_infinity());
    for (a, q) in values.enumerate() {
        if q > best.1 {
            best = (a, q);
        }
    }
    best.0
}

/// The greedy policy of action values: the first action with the largest `Q` in every state.
///
/// ID `dp.deterministic-optimal`: greedy with respect to `Q*` it is optimal among *all* policies, random and history-dependent ones
/// included. Greedy with respect to the values of some other policy it is an improvement and no more.
///
/// Shapes: `q` `[S, A]`, `out` `[S]`, overwritten with action indices.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: D. Blackwell (1965), Discounted Dynamic Programming.
// ANCHOR: dp.deterministic-optimal
pub fn greedy_q<F: Real>(q: &ArrayRef2<F>, out: &mut [usize]) {
    assert!(out.len() == q.nrows(), "out has {} entries but q has shape {:?}", out.len(), q.dim());
    for (action, q) in out.iter_mut().zip(q.rows()) {
        *action = first_largest(q.iter().copied());
    }
}
// ANCHOR_END: dp.deterministic-optimal

/// The greedy policy of state values: the first action that is best after one look ahead.
///
/// ID `dp.v-needs-model`: `argmax_a sum_s' P(s' | s, a) [R(s, a, s') + gamma V(s')]` needs `P` and `R`; [`greedy_q`] does not. Two
/// processes may share `V*` and have different best actions.
///
/// Shapes: `p` and `r` `[S, A, S]`, `value` `[S]`; `out` `[S]` is overwritten with action indices.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 3.6.
// ANCHOR: dp.v-needs-model
pub fn greedy_v<F: Real>(p: &ArrayRef3<F>, r: &ArrayRef3<F>, gamma: F, value: &[F], out: &mut [usize]) {
    let model = Model::new(p, r);
    model.check_values("value", value);
    assert!(out.len() == model.states, "out has {} entries but p has shape {:?}", out.len(), p.dim());
    let (p, r) = model.slices();
    for (s, action) in out.iter_mut().enumerate() {
        let pairs = s * model.actions..(s + 1) * model.actions;
        *action = first_largest(pairs.map(|pair| pair_backup(p, r, pair, gamma, value)));
    }
}
// ANCHOR_END: dp.v-needs-model

/// The optimality backup of one state, in place; returns by how much its value changed.
///
/// ID `rtdp.async-backup`: `V(s) <- max_a sum_s' P(s' | s, a) [R(s, a, s') + gamma V(s')]`: one maximum over the whole sum, whatever
/// action is taken afterwards. In any order that comes back to every state for ever, `V` tends to `V*`; from `V_0 >= V*` it stays
/// above, and if also `T V_0 <= V_0` it never rises.
///
/// Shapes: `p` and `r` `[S, A, S]`, `value` `[S]`, of which entry `state` is overwritten.
///
/// # Panics
/// If the shapes do not belong together, or there is no such state.
///
/// Source: A. G. Barto, S. J. Bradtke, S. P. Singh (1995), Learning to Act Using Real-Time Dynamic Programming.
// ANCHOR: rtdp.async-backup
pub fn backup_state<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    value: &mut [F],
    state: usize,
) -> F {
    let (p, r) =
        (p.slice_axis(Axis(0), (state..state + 1).into()), r.slice_axis(Axis(0), (state..state + 1).into()));
    let (_, actions, states) = p.dim();
    assert!(r.dim() == p.dim(), "r has shape {:?} but p has shape {:?}", r.dim(), p.dim());
    assert!(value.len() == states, "value has {} entries but p goes to {states} states", value.len());
    let (p, r) = (p.as_standard_layout(), r.as_standard_layout());
    let (p, r) = (p.as_slice().expect("row-major"), r.as_slice().expect("row-major"));
    let mut best = [F::zero()];
    optimality_body(p, r, actions, gamma, value, &mut best);
    let change = best[0] - value[state];
    value[state] = best[0];
    change
}
// ANCHOR_END: rtdp.async-backup

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::at_every_level;
    use ndarray::{Array3, array};

    /// From state 0, action 0 stays and pays 1, action 1 leaves for good and pays 2.
    fn stay_or_leave() -> (Array3<f64>, Array3<f64>) {
        let p = array![[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]];
        let r = array![[[1.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]];
        (p, r)
    }

    #[test]
    fn values_of_staying_and_of_leaving() {
        let (p, r) = stay_or_leave();
        let mut v = [0.0; 2];
        solve_v(&p, &r, &array![[1.0, 0.0], [1.0, 0.0]], 0.75, &mut v).unwrap();
        assert_eq!(v, [4.0, 0.0]);
        let mut q = Array2::zeros((2, 2));
        look_ahead(&p, &r, 0.75, &v, &mut q);
        assert_eq!(q, array![[4.0, 2.0], [0.0, 0.0]]);
        let mut actions = [9; 2];
        greedy_q(&q, &mut actions);
        assert_eq!(actions, [0, 0]);
        greedy_v(&p, &r, 0.25, &[0.0; 2], &mut actions);
        assert_eq!(actions, [1, 0]);
        assert!(solve_v(&p, &r, &array![[1.0, 0.0], [1.0, 0.0]], 1.0, &mut v).is_err());
        assert!(solve_v(&p, &r, &array![[1.0, 0.0], [1.0, 0.0]], f64::NAN, &mut v).is_err());
    }

    #[test]
    fn sweeps_and_single_backups() {
        let (p, r) = stay_or_leave();
        let mut v = [0.0; 2];
        value_iteration(&p, &r, 0.75, 3, &mut v);
        assert_eq!(v, [2.875, 0.0]);
        assert_eq!(backup_state(&p, &r, 0.75, &mut v, 0), 0.281_25);
        assert_eq!(v, [3.156_25, 0.0]);
        let mut v = [0.0; 2];
        evaluate(&p, &r, &array![[0.5, 0.5], [1.0, 0.0]], 0.5, 2, &mut v);
        assert_eq!(v, [1.875, 0.0]);
    }

    #[test]
    fn bounds_by_hand() {
        assert_eq!(span_bounds(0.5, &[3.0, -1.0, 2.0]), (-1.0, 3.0));
        assert_eq!((change_bound(0.75, 1.0), rate_bound(0.5, 3, 8.0)), (3.0, 1.0));
        assert_eq!((horizon_tail(0.5, 2, 4.0), greedy_loss(0.5, 3.0)), (2.0, 6.0));
    }

    #[test]
    fn the_longest_path_is_found_where_there_is_one() {
        let (p, r) = stay_or_leave();
        assert_eq!(sweeps_to_exact(&p, &r), None);
        // 0 -> 1 or 2, 1 -> 2, 2 absorbs.
        let mut p = Array3::zeros((3, 2, 3));
        for (s, a, next) in [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 2)] {
            p[[s, a, next]] = 1.0;
        }
        assert_eq!(sweeps_to_exact(&p, &Array3::<f64>::zeros((3, 2, 3))), Some(2));
        let mut paid = Array3::zeros((3, 2, 3));
        paid[[2, 1, 2]] = 1.0;
        assert_eq!(sweeps_to_exact(&p, &paid), None);
    }

    #[test]
    fn every_level_and_layout_gives_the_same_bits() {
        let (states, actions) = (37, 3);
        let mut seed = 1u32;
        let mut draw = |_| {
            seed = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (seed >> 8) as f32 / (1 << 24) as f32
        };
        let p = Array3::from_shape_fn((states, actions, states), |_| draw(()) / states as f32);
        let r = Array3::from_shape_fn((states, actions, states), |_| draw(()) - 0.5);
        let v: Vec<f32> = (0..states).map(|_| draw(())).collect();
        let turned =
            |a: &Array3<f32>| a.view().reversed_axes().as_standard_layout().into_owned().reversed_axes();
        let results = at_every_level(|| {
            let mut out = vec![0.0; states];
            optimality_backup_v(&p, &r, 0.9, &v, &mut out);
            let mut again = vec![0.0; states];
            optimality_backup_v(&turned(&p), &turned(&r), 0.9, &v, &mut again);
            assert_eq!(out, again);
            let mut one = v.clone();
            backup_state(&p, &r, 0.9, &mut one, 5);
            assert_eq!(one[5], out[5]);
            let mut q = Array2::zeros((actions, states)).reversed_axes();
            look_ahead(&p, &r, 0.9, &v, &mut q);
            (out, q)
        });
        assert!(results.iter().all(|result| *result == results[0]));
        let mut of_q = vec![0.0; states];
        max_value(&results[0].1, &mut of_q);
        assert_eq!(of_q, results[0].0);
    }
}

//! Random inputs: finite MDPs, game trees, policies, points of the simplex, rollouts, batches and groups.
//!
//! All values shrink towards small sizes, zeros and plain structures. None of the laws uses code under test.

mod game_tree;

pub use game_tree::{Branch, GameTree, game_tree};

use ndarray::{Array1, Array2, Array3};
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::End;

/// A discount factor from `0..=max`, with both ends drawn often.
pub fn gamma(max: f64) -> impl Strategy<Value = f64> + Clone + Send + Sync {
    prop_oneof![8 => 0.0..=max, 1 => Just(0.0), 1 => Just(max)]
}

/// A number from `[0, 1]`, with both ends drawn often.
pub fn unit() -> impl Strategy<Value = f64> + Clone + Send + Sync {
    prop_oneof![8 => 0.0..=1.0f64, 1 => Just(0.0), 1 => Just(1.0)]
}

/// A standard normal number.
pub fn normal() -> impl Strategy<Value = f64> + Clone + Send + Sync {
    (0.0..1.0f64, 0.0..1.0f64).prop_map(|(u, v)| box_muller(u, v))
}

/// `n` standard normal numbers.
pub fn normals(
    n: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    vec(normal(), n)
}

fn box_muller(u: f64, v: f64) -> f64 {
    (-2.0 * (-u).ln_1p()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// SIMPLEX: a probability vector of `n` entries, uniform on the simplex (Dirichlet(1)), all positive.
pub fn simplex(
    n: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    vec(0.0..1.0f64, n).prop_map(|u| normalise(u.into_iter().map(exponential).collect()))
}

/// SIMPLEX with exact zeros: each entry is zero with probability 0.3, but never all of them.
pub fn simplex_with_zeros(
    n: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    vec((0.0..1.0f64, weighted(0.3)), n).prop_map(|entries| {
        let mut p: Vec<f64> =
            entries.into_iter().map(|(u, zero)| if zero { 0.0 } else { exponential(u) }).collect();
        if p.iter().all(|&x| x == 0.0) {
            p[0] = 1.0;
        }
        normalise(p)
    })
}

/// Two points of one simplex with `2..=6` entries, all positive.
pub fn simplex_pair() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (2..=6usize, simplex(6), simplex(6)).prop_map(|(n, p, q)| (head(p, n), head(q, n)))
}

/// Two points of one simplex with `2..=6` entries, where either may have exact zeros.
pub fn simplex_pair_with_zeros() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (2..=6usize, simplex_with_zeros(6), simplex_with_zeros(6)).prop_map(|(n, p, q)| (head(p, n), head(q, n)))
}

fn head(mut p: Vec<f64>, n: usize) -> Vec<f64> {
    p.truncate(n);
    if p.iter().all(|&x| x == 0.0) {
        p[n - 1] = 1.0;
    }
    normalise(p)
}

/// `-log(1-u)`, kept away from zero so that a weight is positive.
fn exponential(u: f64) -> f64 {
    -(-u.min(1.0 - 1e-12)).ln_1p() + 1e-9
}

fn normalise(mut p: Vec<f64>) -> Vec<f64> {
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|x| *x /= sum);
    p
}

/// A finite Markov decision process as dense arrays.
#[derive(Clone, Debug)]
pub struct Mdp {
    /// `P(s'|s,a)`, shape `[S, A, S']`.
    pub p: Array3<f64>,
    /// `R(s,a,s')`, shape `[S, A, S']`.
    pub r: Array3<f64>,
    /// The law of the first state, shape `[S]`.
    pub mu: Array1<f64>,
    /// The discount factor.
    pub gamma: f64,
}

impl Mdp {
    /// S.
    pub fn states(&self) -> usize {
        self.p.dim().0
    }

    /// A.
    pub fn actions(&self) -> usize {
        self.p.dim().1
    }
}

/// A policy `pi(a|s)`, shape `[S, A]`, all entries positive.
pub type Policy = Array2<f64>;

const MAX_STATES: usize = 8;
const MAX_ACTIONS: usize = 4;

/// MDP: 2 to 8 states, 2 to 4 actions, discount up to `max_gamma` (0.99; 0.95 where central differences follow).
///
/// Transition rows follow Dirichlet(0.3) or Dirichlet(1). With probability 0.15 each, independently: all rows are one-hot;
/// the last state absorbs without reward; the states are layered, so that no path comes back (then the last one absorbs).
pub fn mdp(max_gamma: f64) -> impl Strategy<Value = Mdp> + Clone + Send + Sync {
    mdp_of(2..=MAX_STATES, 2..=MAX_ACTIONS, gamma(max_gamma))
}

/// MDP-tiny: 2 or 3 states, 2 actions, discount in `[0, 1]`; with a horizon `T` of 1 to 4 all trajectories can be listed.
pub fn mdp_tiny() -> impl Strategy<Value = (Mdp, usize)> + Clone + Send + Sync {
    (mdp_of(2..=3, 2..=2, unit()), 1..=4usize)
}

/// An MDP with a number of states and actions drawn from the given ranges.
pub fn mdp_of(
    states: std::ops::RangeInclusive<usize>,
    actions: std::ops::RangeInclusive<usize>,
    gamma: impl Strategy<Value = f64> + Clone + Send + Sync,
) -> impl Strategy<Value = Mdp> + Clone + Send + Sync {
    let (max_s, max_a) = (*states.end(), *actions.end());
    let transitions = max_s * max_a * max_s;
    let structure = (weighted(0.15), weighted(0.15), weighted(0.15), any::<bool>());
    (
        (states, actions, gamma, structure),
        vec((0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64), transitions),
        vec(-2.0..=2.0f64, transitions),
        vec(0.0..1.0f64, max_s),
    )
        .prop_map(
            move |((s, a, gamma, (one_hot, absorbing, layered, sparse)), weights, rewards, start)| {
                let mut p = Array3::zeros((s, a, s));
                let mut r =
                    Array3::from_shape_fn((s, a, s), |(i, j, k)| rewards[(i * max_a + j) * max_s + k]);
                for i in 0..s {
                    for j in 0..a {
                        let first = if layered { (i + 1).min(s - 1) } else { 0 };
                        let row: Vec<f64> = (first..s)
                            .map(|k| {
                                let (u, v, w) = weights[(i * max_a + j) * max_s + k];
                                if sparse { gamma_0_3(u, v, w) } else { exponential(u) }
                            })
                            .collect();
                        let best = (0..row.len()).max_by(|&x, &y| row[x].total_cmp(&row[y])).unwrap_or(0);
                        let sum: f64 = row.iter().sum();
                        for (k, weight) in row.iter().enumerate() {
                            p[[i, j, first + k]] =
                                if one_hot { f64::from(u8::from(k == best)) } else { weight / sum };
                        }
                    }
                }
                if absorbing || layered {
                    for j in 0..a {
                        for k in 0..s {
                            p[[s - 1, j, k]] = f64::from(u8::from(k == s - 1));
                            r[[s - 1, j, k]] = 0.0;
                        }
                    }
                }
                let mu = Array1::from(normalise(start[..s].iter().map(|&u| exponential(u)).collect()));
                Mdp { p, r, mu, gamma }
            },
        )
}

/// A Gamma(0.3) weight from three uniform numbers: Gamma(1.3), whose quantile is approximated after Wilson and Hilferty,
/// times the 1/0.3-th power of a uniform number.
fn gamma_0_3(u: f64, v: f64, w: f64) -> f64 {
    let a: f64 = 1.3;
    let cube_root = 1.0 - 1.0 / (9.0 * a) + box_muller(u, v) / (3.0 * a.sqrt());
    a * cube_root.max(1e-2).powi(3) * (1.0 - w).powf(1.0 / 0.3) + 1e-12
}

/// POL: `states x actions` probabilities, the softmax of standard normal logits; scaled by 8 with probability 0.1.
pub fn policy(states: usize, actions: usize) -> impl Strategy<Value = Policy> + Clone + Send + Sync {
    (normals(states * actions), weighted(0.1))
        .prop_map(move |(logits, sharp)| softmax_rows(&logits, states, actions, actions, sharp))
}

/// MDP with one policy.
pub fn mdp_and_policy(max_gamma: f64) -> impl Strategy<Value = (Mdp, Policy)> + Clone + Send + Sync {
    (mdp(max_gamma), pool()).prop_map(|(mdp, pool)| {
        let policy = from_pool(&mdp, &pool);
        (mdp, policy)
    })
}

/// MDP with two policies.
pub fn mdp_and_policies(
    max_gamma: f64,
) -> impl Strategy<Value = (Mdp, Policy, Policy)> + Clone + Send + Sync {
    (mdp(max_gamma), pool(), pool()).prop_map(|(mdp, one, two)| {
        let (one, two) = (from_pool(&mdp, &one), from_pool(&mdp, &two));
        (mdp, one, two)
    })
}

/// MDP-tiny with a horizon and one policy.
pub fn tiny_and_policy() -> impl Strategy<Value = (Mdp, usize, Policy)> + Clone + Send + Sync {
    (mdp_tiny(), pool()).prop_map(|((mdp, horizon), pool)| {
        let policy = from_pool(&mdp, &pool);
        (mdp, horizon, policy)
    })
}

/// MDP-tiny with a horizon and two policies.
pub fn tiny_and_policies() -> impl Strategy<Value = (Mdp, usize, Policy, Policy)> + Clone + Send + Sync {
    (mdp_tiny(), pool(), pool()).prop_map(|((mdp, horizon), one, two)| {
        let (one, two) = (from_pool(&mdp, &one), from_pool(&mdp, &two));
        (mdp, horizon, one, two)
    })
}

type Pool = (Vec<f64>, bool);

fn pool() -> impl Strategy<Value = Pool> + Clone + Send + Sync {
    (normals(MAX_STATES * MAX_ACTIONS), weighted(0.1))
}

fn from_pool(mdp: &Mdp, (logits, sharp): &Pool) -> Policy {
    softmax_rows(logits, mdp.states(), mdp.actions(), MAX_ACTIONS, *sharp)
}

fn softmax_rows(logits: &[f64], states: usize, actions: usize, stride: usize, sharp: bool) -> Policy {
    let scale = if sharp { 8.0 } else { 1.0 };
    let mut policy = Array2::from_shape_fn((states, actions), |(s, a)| scale * logits[s * stride + a]);
    for mut row in policy.rows_mut() {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.mapv_inplace(|x| (x - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    policy
}

/// ROLL: a rollout `[T, N]` in which every column is several segments one after another.
#[derive(Clone, Debug)]
pub struct Roll {
    /// `reward[t]` follows `action[t]`.
    pub reward: Array2<f64>,
    /// `V(s_t)`.
    pub value: Array2<f64>,
    /// `V` of the true successor: `value[t+1]` inside a segment, a number of its own at the end of one. After termination
    /// it is junk that must not be used.
    pub next_value: Array2<f64>,
    /// Whether the next state is worth nothing.
    pub terminated: Array2<bool>,
    /// Whether a limit cut the episode; both flags may be set, then termination wins.
    pub truncated: Array2<bool>,
    /// The discount factor, in `[0, 1]`.
    pub gamma: f64,
    /// The trace parameter, in `[0, 1]`.
    pub gae_lambda: f64,
}

/// One segment of one column of a [`Roll`].
#[derive(Clone, Debug)]
pub struct Segment {
    /// The column.
    pub n: usize,
    /// The row of its first step.
    pub first: usize,
    /// Its rewards.
    pub reward: Vec<f64>,
    /// Its values, one per step.
    pub value: Vec<f64>,
    /// The value after its last step: 0 if it terminated, else the value of the true final state.
    pub bootstrap: f64,
    /// Whether it ended in a terminal state.
    pub terminated: bool,
}

impl Roll {
    /// T, the number of rows.
    pub fn steps(&self) -> usize {
        self.reward.nrows()
    }

    /// The two flags as the estimators take them.
    pub fn end(&self) -> Array2<End> {
        Array2::from_shape_fn(self.reward.dim(), |i| End::from_flags(self.terminated[i], self.truncated[i]))
    }

    /// All segments, column by column, cut after every step that is done and after the last row.
    pub fn segments(&self) -> Vec<Segment> {
        let (steps, columns) = self.reward.dim();
        let mut segments = Vec::new();
        for n in 0..columns {
            let mut first = 0;
            for t in 0..steps {
                let done = self.terminated[[t, n]] || self.truncated[[t, n]];
                if done || t + 1 == steps {
                    segments.push(Segment {
                        n,
                        first,
                        reward: (first..=t).map(|k| self.reward[[k, n]]).collect(),
                        value: (first..=t).map(|k| self.value[[k, n]]).collect(),
                        bootstrap: if self.terminated[[t, n]] { 0.0 } else { self.next_value[[t, n]] },
                        terminated: self.terminated[[t, n]],
                    });
                    first = t + 1;
                }
            }
        }
        segments
    }
}

impl Segment {
    /// The number of steps.
    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Whether there is no step (never, as drawn).
    pub fn is_empty(&self) -> bool {
        self.reward.is_empty()
    }

    /// `V(s_{k})` for `k` in `0..=len`, the last being the bootstrap.
    pub fn value_after(&self, k: usize) -> f64 {
        if k < self.len() { self.value[k] } else { self.bootstrap }
    }
}

/// ROLL with 1 to 32 rows, 1 to 4 columns, and any mixture of endings.
pub fn roll() -> impl Strategy<Value = Roll> + Clone + Send + Sync {
    roll_of(1..=32, 1..=4)
}

/// A rollout whose numbers of rows and columns are drawn from the given ranges.
pub fn roll_of(
    steps: std::ops::RangeInclusive<usize>,
    columns: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Roll> + Clone + Send + Sync {
    let (max_t, max_n) = (*steps.end(), *columns.end());
    // 0..=5: the episode goes on; 6: terminated; 7: truncated; 8: both flags.
    let step = (-2.0..=2.0f64, -3.0..=3.0f64, -3.0..=3.0f64, 0..=8u8);
    (steps, columns, unit(), unit(), vec(step, max_t * max_n)).prop_map(
        move |(t, n, gamma, gae_lambda, steps)| {
            let at = |(i, j): (usize, usize)| steps[i * max_n + j];
            let reward = Array2::from_shape_fn((t, n), |i| at(i).0);
            let value = Array2::from_shape_fn((t, n), |i| at(i).1);
            let terminated = Array2::from_shape_fn((t, n), |i| matches!(at(i).3, 6 | 8));
            let truncated = Array2::from_shape_fn((t, n), |i| matches!(at(i).3, 7 | 8));
            let next_value = Array2::from_shape_fn((t, n), |(i, j)| {
                let done = at((i, j)).3 >= 6;
                if done || i + 1 == t { at((i, j)).2 } else { value[[i + 1, j]] }
            });
            Roll { reward, value, next_value, terminated, truncated, gamma, gae_lambda }
        },
    )
}

/// BATCH: what a clipped surrogate sees.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `log pi(a|s)` under the policy that collected the data.
    pub old_log_prob: Vec<f64>,
    /// `log pi(a|s)` under the trained policy.
    pub log_prob: Vec<f64>,
    /// Standard normal advantages.
    pub advantage: Vec<f64>,
}

/// BATCH with 1 to 64 samples and log-ratios of standard deviation 0.5.
pub fn batch() -> impl Strategy<Value = Batch> + Clone + Send + Sync {
    vec((-5.0..=0.0f64, normal(), normal()), 1..=64).prop_map(|samples| Batch {
        old_log_prob: samples.iter().map(|s| s.0).collect(),
        log_prob: samples.iter().map(|s| s.0 + 0.5 * s.1).collect(),
        advantage: samples.iter().map(|s| s.2).collect(),
    })
}

/// GROUP: a categorical policy over few outcomes and a group size, so that every group can be listed.
#[derive(Clone, Debug)]
pub struct Group {
    /// The policy's logits.
    pub logits: Vec<f64>,
    /// Its probabilities.
    pub prob: Vec<f64>,
    /// The reward of each outcome, real or 0 and 1.
    pub reward: Vec<f64>,
    /// K, with `outcomes^K <= 5000`.
    pub size: usize,
}

/// GROUP with 2 to 4 outcomes and 2 to 6 members.
pub fn group() -> impl Strategy<Value = Group> + Clone + Send + Sync {
    (2..=4usize, 2..=6usize, normals(4), vec((-2.0..=2.0f64, any::<bool>()), 4), any::<bool>()).prop_map(
        |(n, size, logits, rewards, binary)| {
            let prob = softmax_rows(&logits, 1, n, 4, false).into_raw_vec_and_offset().0;
            let reward =
                rewards[..n].iter().map(|&(r, b)| if binary { f64::from(u8::from(b)) } else { r }).collect();
            Group { logits: logits[..n].to_vec(), prob, reward, size }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    fn draw<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
        let mut runner = TestRunner::deterministic();
        (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
    }

    #[test]
    fn an_mdp_is_one_and_every_structure_occurs() {
        let (mut one_hot, mut absorbing, mut layered) = (0, 0, 0);
        for mdp in draw(&mdp(0.99), 600) {
            let (s, a) = (mdp.states(), mdp.actions());
            assert!((2..=8).contains(&s) && (2..=4).contains(&a) && (0.0..=0.99).contains(&mdp.gamma));
            assert!((mdp.mu.sum() - 1.0).abs() < 1e-12 && mdp.mu.iter().all(|&x| x > 0.0));
            for i in 0..s {
                for j in 0..a {
                    let row = mdp.p.slice(ndarray::s![i, j, ..]);
                    assert!((row.sum() - 1.0).abs() < 1e-12 && row.iter().all(|&x| x >= 0.0));
                }
            }
            one_hot += u32::from(mdp.p.iter().all(|&x| x == 0.0 || x == 1.0));
            absorbing += u32::from(mdp.p[[s - 1, 0, s - 1]] == 1.0 && mdp.r[[s - 1, 0, 0]] == 0.0);
            layered += u32::from((0..s - 1).all(|i| (0..=i).all(|k| mdp.p[[i, 0, k]] == 0.0)));
        }
        for count in [one_hot, absorbing, layered] {
            assert!((45..=250).contains(&count), "{one_hot} {absorbing} {layered}");
        }
    }

    #[test]
    fn policies_are_positive_and_normalised() {
        for (mdp, horizon, one, two) in draw(&tiny_and_policies(), 100) {
            assert!((1..=4).contains(&horizon));
            for policy in [one, two] {
                assert_eq!(policy.dim(), (mdp.states(), mdp.actions()));
                assert!(policy.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
                assert!(policy.iter().all(|&x| x > 0.0));
            }
        }
    }

    #[test]
    fn simplex_points_are_normalised_and_zeros_occur_where_asked_for() {
        for (p, q) in draw(&simplex_pair(), 200) {
            assert!(p.len() == q.len() && p.iter().chain(&q).all(|&x| x > 0.0));
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        let zeros = draw(&simplex_pair_with_zeros(), 200);
        assert!(zeros.iter().filter(|(p, _)| p.contains(&0.0)).count() > 50);
        assert!(zeros.iter().all(|(p, q)| (p.iter().chain(q).sum::<f64>() - 2.0).abs() < 1e-12));
    }

    #[test]
    fn rollouts_hold_every_kind_of_ending() {
        let rolls = draw(&roll(), 200);
        let count = |f: &dyn Fn(&Roll) -> bool| rolls.iter().filter(|r| f(r)).count();
        let both = |r: &Roll| r.terminated.iter().zip(&r.truncated).any(|(&a, &b)| a && b);
        assert!(count(&both) > 50);
        assert!(count(&|r| r.segments().len() > r.reward.ncols()) > 100);
        assert!(count(&|r| r.steps() == 1) > 0 && count(&|r| r.gamma == 1.0) > 0);
        for roll in &rolls {
            let end = roll.end();
            for segment in roll.segments() {
                let last = [segment.first + segment.len() - 1, segment.n];
                assert_eq!(segment.terminated, end[last].terminated());
                for k in 1..segment.len() {
                    let inside = [segment.first + k - 1, segment.n];
                    assert!(!end[inside].done() && roll.next_value[inside] == segment.value[k]);
                }
            }
            assert_eq!(roll.segments().iter().map(Segment::len).sum::<usize>(), roll.reward.len());
        }
    }

    #[test]
    fn every_group_can_be_listed() {
        for group in draw(&group(), 100) {
            assert!(group.prob.len().pow(u32::try_from(group.size).unwrap()) <= 5000);
            assert!((group.prob.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert_eq!(group.logits.len(), group.reward.len());
        }
    }

    #[test]
    fn normal_numbers_have_unit_variance() {
        let x = draw(&normal(), 20_000);
        let mean = x.iter().sum::<f64>() / 2e4;
        let square = x.iter().map(|x| x * x).sum::<f64>() / 2e4;
        assert!(mean.abs() < 0.04 && (square - 1.0).abs() < 0.05, "{mean} {square}");
    }

    #[test]
    fn sparse_weights_have_the_moments_of_a_gamma_law() {
        let w: Vec<f64> = draw(&(0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64), 40_000)
            .into_iter()
            .map(|(u, v, w)| gamma_0_3(u, v, w))
            .collect();
        let mean = w.iter().sum::<f64>() / 4e4;
        let square = w.iter().map(|x| x * x).sum::<f64>() / 4e4;
        // Gamma(0.3) has mean 0.3 and second moment 0.39.
        assert!((mean - 0.3).abs() < 0.02 && (square - 0.39).abs() < 0.04, "{mean} {square}");
    }
}

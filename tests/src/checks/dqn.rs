//! Deep Q-networks: `dqn.*` but for the dueling head and the frame stack.
//!
//! Targets, losses and rules for the target network are compared with loops and closed forms, the replay buffer with a
//! queue and with the list of all that a sampler can draw. The checks of the training loop are in `dqn/training.rs`.

mod training;

use super::nn::plain_forward;
use crate::generators::{Mdp, mdp, normal, normals, unit};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, TOL_STAT, Worst, require};
use crate::oracles::{gradient, samples, tuples};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rand::RngCore;
use rederive_dqn::n_step::Steps;
use rederive_dqn::replay::{Batch, Precision, Replay};
use rederive_dqn::{Loss, NStep, Priorities, SumTree, loss, prioritized, target};
use rederive_math::{End, Stream};
use rederive_nn::{Activation, Input, Network, NetworkSpec};
use std::collections::{BTreeMap, VecDeque};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        random("dqn.td-target", "definition", TOL_ID, targets(), target_definition),
        random("dqn.td-target", "loss", TOL_ID, (targets(), any::<bool>()), loss_definition),
        random("dqn.td-target", "loss-gradient", TOL_FD, (targets(), any::<bool>()), loss_gradient),
        random("dqn.td-target", "gradient", TOL_FD, networks(), target_gradient),
        // The rewards are summed in single precision.
        random("dqn.td-target", "n-step", 1e-5, steps(), n_step_brute_force),
        random(
            "dqn.td-target",
            "single-precision",
            1e-5,
            (targets(), any::<bool>()),
            target_single_precision,
        ),
        random("dqn.target-hard", "definition", EXACT, copies(), hard_definition),
        random(
            "dqn.target-hard",
            "value-iteration",
            TOL_ID,
            (mdp(0.99), 1..=4usize),
            hard_is_value_iteration,
        ),
        random("dqn.target-soft", "definition", TOL_ID, soft_case(), soft_definition),
        random("dqn.target-soft", "constant", TOL_ID, (normals(2..=2), unit(), 0..200u32), soft_constant),
        fixed("dqn.target-soft", "closed", TOL_STAT, |_| soft_closed()),
        random("dqn.target-soft", "edges", EXACT, normals(2..=40), soft_edges),
        random("dqn.target-soft", "single-precision", 1e-6, soft_case(), soft_single_precision),
        random("dqn.replay", "contents", EXACT, pushes(), replay_contents),
        fixed("dqn.replay", "inclusion", EXACT, |_| replay_inclusion()),
        fixed("dqn.replay", "frequencies", TOL_STAT, replay_frequencies),
        fixed("dqn.replay", "refusals", EXACT, |_| replay_refusals()),
        fixed("dqn.replay", "bytes", 1e-6, |_| replay_bytes()),
        random(
            "dqn.replay",
            "strata",
            EXACT,
            (vec(0.05..=2.0f32, 1..=40), 1..=12usize, any::<u64>()),
            strata,
        ),
        random("dqn.replay", "sum-tree", TOL_ID, tree_case(), tree_linear_scan),
        random("dqn.replay", "proportional", EXACT, vec(0..=6u32, 1..=600), tree_proportional),
        fixed("dqn.replay", "priorities", TOL_STAT, priority_frequencies),
        random("dqn.replay", "importance", 2e-6, (vec(1e-3..=10.0f32, 1..=40), unit()), importance_weights),
        random("dqn.double-q", "definition", TOL_ID, targets(), double_definition),
        random("dqn.double-q", "single", EXACT, targets(), double_of_one_network),
        // One case lists the outcomes of two independent tables.
        random("dqn.double-q", "inequality", TOL_INEQ, noise(), double_inequality).at_most(96),
        fixed("dqn.double-q", "closed", TOL_STAT, |_| double_closed()),
    ];
    checks.extend(training::checks());
    checks
}

// Targets and losses

/// A batch of transitions with action values of what follows by two networks.
#[derive(Clone, Debug)]
struct Targets {
    reward: Vec<f64>,
    terminated: Vec<bool>,
    discount: Vec<f64>,
    action: Vec<u32>,
    weight: Vec<f64>,
    q: Array2<f64>,
    next: Array2<f64>,
    select: Array2<f64>,
}

fn targets() -> impl Strategy<Value = Targets> + Clone + Send + Sync {
    let row = (normal(), any::<bool>(), unit(), 0..6u32, 0.0..=2.0f64);
    (1..=6usize, vec(row, 1..=40), vec((normal(), normal(), normal()), 240)).prop_map(
        |(actions, rows, values)| {
            let table = |pick: fn(&(f64, f64, f64)) -> f64| {
                Array2::from_shape_fn((rows.len(), actions), |(i, a)| 3.0 * pick(&values[i * 6 + a]))
            };
            Targets {
                reward: rows.iter().map(|r| 2.0 * r.0).collect(),
                terminated: rows.iter().map(|r| r.1).collect(),
                discount: rows.iter().map(|r| r.2).collect(),
                action: rows.iter().map(|r| r.3 % actions as u32).collect(),
                weight: rows.iter().map(|r| r.4).collect(),
                q: table(|v| v.0),
                next: table(|v| v.1),
                select: table(|v| v.2),
            }
        },
    )
}

fn largest(row: &[f64]) -> usize {
    (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("an action")
}

fn target_definition(case: Targets) -> Measured {
    let mut next = case.next.clone();
    for (mut row, _) in next.rows_mut().into_iter().zip(&case.terminated).filter(|(_, end)| **end) {
        row.fill(f64::NAN); // what follows an end is never read
    }
    let mut y = vec![f64::NAN; case.reward.len()];
    loss::td_target(&case.reward, &case.terminated, &case.discount, &next, &mut y);
    let mut worst = Worst::new();
    for (i, &y) in y.iter().enumerate() {
        let best = case.next.row(i).iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let alive = f64::from(u8::from(!case.terminated[i]));
        worst.same(y, case.reward[i] + case.discount[i] * alive * best);
    }
    worst.done()
}

/// The loss of one error by cases.
fn plain_loss(kind: Loss, x: f64) -> f64 {
    match kind {
        Loss::Squared => x * x / 2.0,
        Loss::Huber if x.abs() <= 1.0 => x * x / 2.0,
        Loss::Huber => x.abs() - 0.5,
    }
}

fn kind(huber: bool) -> Loss {
    if huber { Loss::Huber } else { Loss::Squared }
}

/// The mean loss of a batch with action values `q`.
fn mean_loss(case: &Targets, q: &[f64], weights: Option<&[f64]>, huber: bool) -> f64 {
    let (n, actions) = case.q.dim();
    let term = |i: usize| {
        let error = q[i * actions + case.action[i] as usize] - case.reward[i];
        weights.map_or(1.0, |w| w[i]) * plain_loss(kind(huber), error) / n as f64
    };
    (0..n).map(term).sum()
}

fn loss_definition((case, huber): (Targets, bool)) -> Measured {
    let Targets { q, action, reward: y, weight, .. } = &case;
    let (mut d_q, mut errors) = (Array2::from_elem(q.dim(), f64::NAN), vec![f64::NAN; y.len()]);
    let mut worst = Worst::new();
    for weights in [Some(weight.as_slice()), None] {
        let value = loss::td_loss(q, action, y, weights, kind(huber), &mut d_q, &mut errors);
        worst.same(value, mean_loss(&case, &q.iter().copied().collect::<Vec<_>>(), weights, huber));
        for (i, &error) in errors.iter().enumerate() {
            worst.same(error, y[i] - q[[i, action[i] as usize]]);
        }
        worst.holds(d_q.indexed_iter().all(|((i, a), &d)| a == action[i] as usize || d == 0.0));
    }
    worst.done()
}

fn loss_gradient((case, huber): (Targets, bool)) -> Measured {
    let Targets { q, action, reward: y, weight, .. } = &case;
    let (mut d_q, mut errors) = (Array2::from_elem(q.dim(), f64::NAN), vec![f64::NAN; y.len()]);
    let flat: Vec<f64> = q.iter().copied().collect();
    let mut worst = Worst::new();
    for weights in [Some(weight.as_slice()), None] {
        loss::td_loss(q, action, y, weights, kind(huber), &mut d_q, &mut errors);
        let found: Vec<f64> = d_q.iter().copied().collect();
        worst.gradient(&found, &gradient(|q| mean_loss(&case, q, weights, huber), &flat));
    }
    worst.done()
}

fn target_single_precision((case, huber): (Targets, bool)) -> Measured {
    let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let widen = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let Targets { terminated, action, .. } = &case;
    let (reward, discount, weight) = (narrow(&case.reward), narrow(&case.discount), narrow(&case.weight));
    let (q, next, select) =
        (case.q.mapv(|x| x as f32), case.next.mapv(|x| x as f32), case.select.mapv(|x| x as f32));
    let n = reward.len();
    let (mut y, mut y64) = ([vec![0.0f32; n], vec![0.0f32; n]], [vec![0.0; n], vec![0.0; n]]);
    loss::td_target(&reward, terminated, &discount, &next, &mut y[0]);
    loss::double_q_target(&reward, terminated, &discount, &select, &next, &mut y[1]);
    let (r64, g64, w64) = (widen(&reward), widen(&discount), widen(&weight));
    let (q64, next64, select64) = (q.mapv(f64::from), next.mapv(f64::from), select.mapv(f64::from));
    loss::td_target(&r64, terminated, &g64, &next64, &mut y64[0]);
    loss::double_q_target(&r64, terminated, &g64, &select64, &next64, &mut y64[1]);
    let mut worst = Worst::new();
    for (y, y64) in y.iter().zip(&y64) {
        worst.all(&widen(y), y64);
        let (mut d_q, mut errors) = (Array2::zeros(q.dim()), vec![0.0; n]);
        let (mut d_q64, mut errors64) = (Array2::zeros(q.dim()), vec![0.0; n]);
        let value = loss::td_loss(&q, action, y, Some(&weight), kind(huber), &mut d_q, &mut errors);
        let wide = loss::td_loss(&q64, action, y64, Some(&w64), kind(huber), &mut d_q64, &mut errors64);
        worst.same(f64::from(value), wide).all(&d_q.mapv(f64::from), &d_q64).all(&widen(&errors), &errors64);
    }
    worst.done()
}

/// Two sets of parameters of a tiny network, and a batch of transitions.
#[derive(Clone, Debug)]
struct Networks {
    sizes: [usize; 3],
    online: Vec<f64>,
    target: Vec<f64>,
    obs: Array2<f64>,
    next_obs: Array2<f64>,
    batch: Targets,
    huber: bool,
    activation: Activation,
}

fn networks() -> impl Strategy<Value = Networks> + Clone + Send + Sync {
    let activation = prop_oneof![Just(Activation::Tanh), Just(Activation::Identity)];
    let shape =
        (1..=3usize, 1..=4usize, any::<bool>(), prop_oneof![3 => Just(false), 1 => Just(true)], activation);
    (shape, targets(), vec((normal(), normal()), 70), vec((normal(), normal()), 120)).prop_map(
        |((inputs, hidden, huber, same, activation), batch, params, obs)| {
            let (n, actions) = batch.q.dim();
            let sizes = [inputs, hidden, actions];
            let len = inputs * hidden + hidden + hidden * actions + actions;
            let online: Vec<f64> = params[..len].iter().map(|p| p.0).collect();
            let target = if same { online.clone() } else { params[..len].iter().map(|p| p.1).collect() };
            let at = |i: usize, k: usize| obs[(i * inputs + k) % obs.len()];
            Networks {
                sizes,
                online,
                target,
                obs: Array2::from_shape_fn((n, inputs), |(i, k)| at(i, k).0),
                next_obs: Array2::from_shape_fn((n, inputs), |(i, k)| at(i, k).1),
                batch,
                huber,
                activation,
            }
        },
    )
}

fn target_gradient(case: Networks) -> Measured {
    let Networks {
        sizes: [inputs, hidden, actions],
        online,
        target,
        obs,
        next_obs,
        batch,
        huber,
        activation,
    } = &case;
    let spec = NetworkSpec {
        input: Input::Flat(*inputs),
        conv: Vec::new(),
        hidden: vec![*hidden],
        outputs: *actions,
        activation: *activation,
        dueling: false,
    };
    let network = Network::new(&spec)?;
    let n = obs.nrows();
    let mut ws = network.workspace(n);
    let mut y = vec![0.0; n];
    let next_q = network.forward(target, next_obs, &mut ws).to_owned();
    loss::td_target(&batch.reward, &batch.terminated, &batch.discount, &next_q, &mut y);
    let (mut d_q, mut errors) = (Array2::zeros((n, *actions)), vec![0.0; n]);
    let q = network.forward(online, obs, &mut ws).to_owned();
    loss::td_loss(&q, &batch.action, &y, None, kind(*huber), &mut d_q, &mut errors);
    let mut grad = vec![0.0; online.len()];
    network.backward(online, obs, &d_q, &mut ws, &mut grad);

    let values = |params: &[f64], obs: &Array2<f64>, i: usize| {
        plain_forward(&case.sizes, *activation, params, &obs.row(i).to_vec(), |_| {})
    };
    let fixed: Vec<f64> = (0..n)
        .map(|i| {
            let best = values(target, next_obs, i).into_iter().fold(f64::NEG_INFINITY, f64::max);
            batch.reward[i] + if batch.terminated[i] { 0.0 } else { batch.discount[i] * best }
        })
        .collect();
    let total = |params: &[f64]| {
        let one = |i: usize| {
            plain_loss(kind(*huber), values(params, obs, i)[batch.action[i] as usize] - fixed[i]) / n as f64
        };
        (0..n).map(one).sum::<f64>()
    };
    let mut worst = Worst::new();
    worst.gradient(&grad, &gradient(total, online));
    // The last layer's weights and bias of an action that nobody took.
    let last = inputs * hidden + hidden;
    for a in (0..*actions).filter(|&a| !batch.action.contains(&(a as u32))) {
        worst.holds((0..=*hidden).all(|h| grad[last + h * actions + a] == 0.0));
    }
    worst.done()
}

// Several rewards

#[derive(Clone, Debug)]
struct StepCase {
    num_envs: usize,
    n: usize,
    gamma: f64,
    /// Reward and end of each step, round by round.
    steps: Vec<(f64, End)>,
}

fn steps() -> impl Strategy<Value = StepCase> + Clone + Send + Sync {
    let end = prop_oneof![6 => Just(End::No), 1 => Just(End::Terminated), 1 => Just(End::Truncated)];
    (1..=3usize, 1..=5usize, unit(), vec((normal(), end), 3..=90))
        .prop_map(|(num_envs, n, gamma, steps)| StepCase { num_envs, n, gamma, steps })
}

/// Where a transition begins and ends, its action, reward and discount, and whether it terminated.
type Seen = (f32, f32, u32, f64, f64, bool);

fn n_step_brute_force(case: StepCase) -> Measured {
    let StepCase { num_envs, n, gamma, steps } = case;
    let rounds = steps.len() / num_envs;
    // Observation number t of environment e is t + 1000 e before its step number t, and half more after it: those two differ
    // where the episode ends.
    let before = |e: usize, t: usize| (t + 1000 * e) as f32;
    let mut gatherer = NStep::new(num_envs, n, 1, gamma);
    let mut found: Vec<Vec<Seen>> = vec![Vec::new(); num_envs];
    for t in 0..rounds {
        for (e, found) in found.iter_mut().enumerate() {
            gatherer.begin(e, &[before(e, t)], (t % 7) as u32);
            let (reward, end) = steps[t * num_envs + e];
            gatherer.finish(e, reward as f32, end, |s| {
                let (r, d) = (f64::from(s.reward), f64::from(s.discount));
                found.push((s.obs[0], before(e, t) + 0.5, s.action, r, d, s.terminated));
            });
        }
    }
    let mut worst = Worst::new();
    for (e, found) in found.iter().enumerate() {
        let (mut wanted, mut first): (Vec<Seen>, usize) = (Vec::new(), 0);
        for t in 0..rounds {
            let done = steps[t * num_envs + e].1.done();
            // Every start of this episode from which there are n rewards, or, at an end, at most n.
            let starts = (first..=t).filter(|s| t + 1 - s == n || (done && t + 1 - s < n));
            for s in starts {
                let reward = (s..=t).map(|i| gamma.powi((i - s) as i32) * steps[i * num_envs + e].0).sum();
                let terminated = steps[t * num_envs + e].1 == End::Terminated;
                let discount = gamma.powi((t + 1 - s) as i32);
                wanted.push((before(e, s), before(e, t) + 0.5, (s % 7) as u32, reward, discount, terminated));
            }
            if done {
                first = t + 1;
            }
        }
        worst.holds(found.len() == wanted.len());
        for (f, w) in found.iter().zip(&wanted) {
            worst.holds((f.0, f.1, f.2, f.5) == (w.0, w.1, w.2, w.5));
            worst.same(f.3, w.3).same(f.4, w.4);
        }
    }
    worst.done()
}

// Target networks

fn copies() -> impl Strategy<Value = (u64, Vec<(u64, f64)>)> + Clone + Send + Sync {
    (prop_oneof![4 => 1..=9u64, 1 => Just(1000u64)], vec((1..=4u64, normal()), 1..=60))
}

fn hard_definition((period, updates): (u64, Vec<(u64, f64)>)) -> Measured {
    let (mut online, mut target) = (vec![0.0, 1.0], vec![0.5, 0.25]);
    let mut wanted = target.clone();
    let mut now = 0;
    let mut worst = Worst::new();
    for (step, change) in updates {
        online.iter_mut().for_each(|x| *x += change);
        let copied = target::hard(&mut target, &online, now, now + step, period);
        let due = (now + 1..=now + step).any(|t| t % period == 0);
        if due {
            wanted.clone_from(&online);
        }
        worst.holds(copied == due && target == wanted);
        now += step;
    }
    worst.holds(panics(|| target::hard(&mut [0.0], &[0.0], 0, 1, 0)));
    worst.done()
}

/// Regression on frozen targets until nothing moves, a copy, and again: each round is one step of value iteration.
fn hard_is_value_iteration((mdp, rounds): (Mdp, usize)) -> Measured {
    let (states, actions) = (mdp.states(), mdp.actions());
    // All transitions with their probabilities as weights, times how many there are: the mean loss is then the expected one.
    let mut rows = Vec::new();
    for ((s, a, next), &p) in mdp.p.indexed_iter().filter(|(_, p)| **p > 0.0) {
        rows.push((s, a, next, p));
    }
    let n = rows.len();
    let reward: Vec<f64> = rows.iter().map(|&(s, a, next, _)| mdp.r[[s, a, next]]).collect();
    let weight: Vec<f64> = rows.iter().map(|row| row.3 * n as f64).collect();
    let action: Vec<u32> = rows.iter().map(|row| row.1 as u32).collect();
    let (terminated, discount) = (vec![false; n], vec![mdp.gamma; n]);
    let mut online = vec![0.0; states * actions];
    let mut target = online.clone();
    let mut wanted = Array2::<f64>::zeros((states, actions));
    let (mut y, mut errors) = (vec![0.0; n], vec![0.0; n]);
    let mut d_q = Array2::zeros((n, actions));
    let table = |params: &[f64], state: fn(&(usize, usize, usize, f64)) -> usize| {
        Array2::from_shape_fn((n, actions), |(i, a)| params[state(&rows[i]) * actions + a])
    };
    for round in 0..rounds as u64 {
        loss::td_target(&reward, &terminated, &discount, &table(&target, |row| row.2), &mut y);
        for _ in 0..80 {
            let q = table(&online, |row| row.0);
            loss::td_loss(&q, &action, &y, Some(&weight), Loss::Squared, &mut d_q, &mut errors);
            for (row, d_q) in rows.iter().zip(d_q.rows()) {
                for (a, d) in d_q.iter().enumerate() {
                    online[row.0 * actions + a] -= 0.5 * d;
                }
            }
        }
        let best = |s: usize| wanted.row(s).iter().copied().fold(f64::NEG_INFINITY, f64::max);
        wanted = Array2::from_shape_fn((states, actions), |(s, a)| {
            (0..states).map(|k| mdp.p[[s, a, k]] * (mdp.r[[s, a, k]] + mdp.gamma * best(k))).sum()
        });
        target::hard(&mut target, &online, 7 * round, 7 * (round + 1), 7);
    }
    Worst::new().all(&target, &wanted).done()
}

type SoftCase = (f64, Vec<Vec<f64>>);

fn soft_case() -> impl Strategy<Value = SoftCase> + Clone + Send + Sync {
    let kappa = prop_oneof![6 => 0.0..=1.0f64, 1 => Just(0.0), 1 => Just(1.0)];
    (kappa, 1..=40usize).prop_flat_map(|(kappa, n)| (Just(kappa), vec(vec(normal(), n), 1..=20)))
}

fn soft_definition((kappa, history): SoftCase) -> Measured {
    let mut target = history[0].clone();
    history[1..].iter().for_each(|online| target::soft(&mut target, online, kappa));
    let n = history.len() - 1;
    let mut worst = Worst::new();
    for (i, &t) in target.iter().enumerate() {
        let weight = |k: usize| {
            let later = (1.0 - kappa).powi((n - k) as i32);
            if k == 0 { later } else { kappa * later }
        };
        worst.same(t, (0..=n).map(|k| weight(k) * history[k][i]).sum());
        let values = || history.iter().map(|h| h[i]);
        worst.at_most(t, values().fold(f64::NEG_INFINITY, f64::max));
        worst.at_most(values().fold(f64::INFINITY, f64::min), t);
    }
    worst.done()
}

fn soft_constant((ends, kappa, n): (Vec<f64>, f64, u32)) -> Measured {
    let (first, online) = (ends[0], ends[1]);
    let mut target = [first];
    (0..n).for_each(|_| target::soft(&mut target, &[online], kappa));
    Worst::new().same(target[0], online + (1.0 - kappa).powi(n as i32) * (first - online)).done()
}

fn soft_closed() -> Measured {
    let mut target = [0.0];
    (0..1000).for_each(|_| target::soft(&mut target, &[1.0], 0.005));
    Worst::new().printed(target[0], 0.993_346, 6).done()
}

fn soft_edges(x: Vec<f64>) -> Measured {
    let (from, online) = x.split_at(x.len() / 2);
    let online = &online[..from.len()];
    let mut worst = Worst::new();
    for (kappa, wanted) in [(0.0, from), (1.0, online)] {
        let mut target = from.to_vec();
        target::soft(&mut target, online, kappa);
        worst.holds(target == wanted);
    }
    for kappa in [-0.1, 1.1, f64::NAN] {
        worst.holds(panics(|| target::soft(&mut from.to_vec(), online, kappa)));
    }
    worst.done()
}

fn soft_single_precision((kappa, history): SoftCase) -> Measured {
    let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let (mut wide, mut target) = (history[0].clone(), narrow(&history[0]));
    for online in &history[1..] {
        target::soft(&mut wide, online, kappa);
        target::soft(&mut target, &narrow(online), kappa as f32);
    }
    Worst::new().all(&target.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), &wide).done()
}

// The replay buffer

#[derive(Clone, Debug)]
struct Pushes {
    capacity: usize,
    width: usize,
    image: bool,
    items: Vec<(u8, f64, bool)>,
}

fn pushes() -> impl Strategy<Value = Pushes> + Clone + Send + Sync {
    (
        prop_oneof![1 => Just(1usize), 4 => 1..=20usize],
        0..=40usize,
        any::<bool>(),
        vec(any::<(u8, bool)>(), 0..=60),
    )
        .prop_map(|(capacity, width, image, items)| Pushes {
            capacity,
            width,
            image,
            items: items.into_iter().enumerate().map(|(i, (tag, end))| (tag, i as f64, end)).collect(),
        })
}

/// A transition, written out.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    obs: Vec<f32>,
    next_obs: Vec<f32>,
    action: u32,
    reward: f32,
    discount: f32,
    terminated: bool,
}

impl Item {
    fn push(&self, replay: &mut Replay) -> usize {
        let Item { action, reward, discount, terminated, .. } = *self;
        replay.push(Steps { obs: &self.obs, action, reward, discount, terminated }, &self.next_obs)
    }

    fn at(batch: &Batch, i: usize) -> Self {
        Item {
            obs: batch.obs.row(i).to_vec(),
            next_obs: batch.next_obs.row(i).to_vec(),
            action: batch.action[i],
            reward: batch.reward[i],
            discount: batch.discount[i],
            terminated: batch.terminated[i],
        }
    }

    fn numbered(i: usize) -> Self {
        let x = i as f32;
        Item {
            obs: vec![x],
            next_obs: vec![x + 0.5],
            action: i as u32,
            reward: -x,
            discount: 0.9,
            terminated: false,
        }
    }
}

fn replay_contents(case: Pushes) -> Measured {
    let precision = if case.image { Precision::Byte } else { Precision::F32 };
    let mut replay = Replay::new(case.capacity, case.width, precision).map_err(|n| format!("{n} bytes"))?;
    let mut queue: VecDeque<Item> = VecDeque::new();
    let mut worst = Worst::new();
    for (k, &(tag, number, terminated)) in case.items.iter().enumerate() {
        // An image has multiples of 1/255, which a byte holds exactly; other numbers are any.
        let pixel = |i: usize| f32::from(tag.wrapping_mul(31).wrapping_add(i as u8)) / 255.0;
        let x = |i: usize| if case.image { pixel(i) } else { (number as f32 + 0.1).powi(2) / (i + 1) as f32 };
        let item = Item {
            obs: (0..case.width).map(x).collect(),
            next_obs: (0..case.width).map(|i| x(i + 1)).collect(),
            action: u32::from(tag),
            reward: number as f32 / 3.0,
            discount: 0.5 + f32::from(tag) / 512.0,
            terminated,
        };
        let slot = item.push(&mut replay);
        worst.holds(slot == k % case.capacity);
        queue.push_back(item);
        if queue.len() > case.capacity {
            queue.pop_front();
        }
        let slots: Vec<u32> = replay.slots().collect();
        worst.holds((replay.len(), slots.len()) == (queue.len(), queue.len()));
        let mut batch = Batch::new(slots.len(), case.width);
        batch.slot.copy_from_slice(&slots);
        replay.gather(&mut batch);
        worst.holds((0..slots.len()).all(|i| Item::at(&batch, i) == queue[i]));
    }
    worst.holds(replay.is_empty() == case.items.is_empty());
    worst.done()
}

/// Gives the numbers that it was told.
struct Told(VecDeque<u64>);

impl RngCore for Told {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.pop_front().expect("as many numbers as it takes")
    }

    fn fill_bytes(&mut self, dst: &mut [u8]) {
        dst.chunks_mut(8).for_each(|c| c.copy_from_slice(&self.next_u64().to_le_bytes()[..c.len()]));
    }
}

/// Lets the sampler draw everything that it can draw: every set of B slots has to come equally often, whence every
/// transition is in a share B / n of them, and the mean over all batches of a batch's mean is the buffer's.
fn replay_inclusion() -> Measured {
    let mut worst = Worst::new();
    for n in 1..=6usize {
        let mut replay = Replay::new(n, 1, Precision::F32).map_err(|n| format!("{n} bytes"))?;
        // More than fit, so that the oldest ones are overwritten.
        (0..n + 3).for_each(|i| {
            Item::numbered(i).push(&mut replay);
        });
        for size in 1..=n {
            let mut batch = Batch::new(size, 1);
            let mut sets: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
            let (mut outcomes, mut total) = (0u64, 0.0);
            tuples(n, size, &mut |draw| {
                // The draw number k is below n - size + 1 + k.
                let sides = |k: usize| n - size + 1 + k;
                if draw.iter().enumerate().any(|(k, &d)| d >= sides(k)) {
                    return;
                }
                let number = |(k, &d): (usize, &usize)| {
                    let side = (1u128 << 64) / sides(k) as u128;
                    (d as u128 * side + side / 2) as u64
                };
                replay.sample(&mut batch, &mut Told(draw.iter().enumerate().map(number).collect()));
                let mut set: Vec<u32> = batch.reward.iter().map(|r| -*r as u32).collect();
                set.sort_unstable();
                set.dedup();
                worst.holds(set.len() == size && set.iter().all(|&i| (3..n + 3).contains(&(i as usize))));
                total += batch.reward.iter().map(|r| f64::from(*r)).sum::<f64>() / size as f64;
                *sets.entry(set).or_default() += 1;
                outcomes += 1;
            });
            let binomial = (0..size).fold(1, |c, k| c * (n - k) / (k + 1));
            worst.holds(sets.len() == binomial);
            worst.holds(sets.values().all(|&count| count * binomial as u64 == outcomes));
            for i in 3..n + 3 {
                let with: u64 =
                    sets.iter().filter(|(set, _)| set.contains(&(i as u32))).map(|(_, c)| c).sum();
                worst.holds(with * n as u64 == outcomes * size as u64);
            }
            let mean = -((3..n + 3).sum::<usize>() as f64) / n as f64;
            worst.holds((total / outcomes as f64 - mean).abs() < 1e-12);
        }
    }
    worst.done()
}

fn replay_frequencies(seed: u64) -> Measured {
    let mut worst = Worst::new();
    for (capacity, pushed, size) in [(50, 50, 8), (64, 200, 60), (300, 40, 40), (1000, 300, 2)] {
        let mut replay = Replay::new(capacity, 1, Precision::F32).map_err(|n| format!("{n} bytes"))?;
        (0..pushed).for_each(|i| {
            Item::numbered(i).push(&mut replay);
        });
        let (len, rounds) = (replay.len(), 40_000);
        let mut counts = vec![0u32; pushed];
        let mut batch = Batch::new(size, 1);
        let mut rng = Stream::new(seed, "replay", size as u64);
        for _ in 0..rounds {
            replay.sample(&mut batch, &mut rng);
            batch.action.iter().for_each(|&a| counts[a as usize] += 1);
        }
        let p = size as f64 / len as f64;
        let (gone, kept) = counts.split_at(pushed - len);
        worst.holds(gone.iter().all(|&c| c == 0));
        for &count in kept {
            let se = (p * (1.0 - p) / f64::from(rounds)).sqrt();
            worst.within_five_se(f64::from(count) / f64::from(rounds), p, se);
        }
    }
    worst.done()
}

fn replay_refusals() -> Measured {
    let mut replay = Replay::new(5, 1, Precision::F32).map_err(|n| format!("{n} bytes"))?;
    let mut worst = Worst::new();
    for len in 0..5 {
        let (mut batch, mut rng) = (Batch::new(len + 1, 1), Stream::new(0, "replay", 0));
        worst.holds(panics(|| replay.sample(&mut batch, &mut rng)));
        Item::numbered(len).push(&mut replay);
        replay.sample(&mut batch, &mut rng);
    }
    worst.holds(panics(|| Replay::new(0, 1, Precision::F32)));
    let wide = Item { obs: vec![0.0; 2], ..Item::numbered(0) };
    worst.holds(panics(|| wide.push(&mut replay)));
    worst.done()
}

/// Numbers in [0, 1] come back as the nearest multiple of 1/255.
fn replay_bytes() -> Measured {
    let mut replay = Replay::new(1, 1, Precision::Byte).map_err(|n| format!("{n} bytes"))?;
    let mut batch = Batch::new(1, 1);
    let mut worst = Worst::new();
    for i in 0..=2000u16 {
        let x = f32::from(i) / 2000.0;
        let item = Item { obs: vec![x], next_obs: vec![1.0 - x], ..Item::numbered(0) };
        item.push(&mut replay);
        replay.gather(&mut batch);
        for (kept, x) in [(batch.obs[[0, 0]], x), (batch.next_obs[[0, 0]], 1.0 - x)] {
            let steps = f64::from(kept) * 255.0;
            worst.add((steps - steps.round()).abs() * 1e-2);
            worst.add((f64::from(kept) - f64::from(x)).abs() - 0.5 / 255.0);
        }
    }
    worst.done()
}

// Priorities

/// Each draw comes from its own part of the total: the place of what is drawn, in the sum of all priorities, overlaps it.
fn strata((errors, size, seed): (Vec<f32>, usize, u64)) -> Measured {
    let mut priorities = Priorities::new(errors.len(), 1.0, 1e-6);
    let slots: Vec<u32> = (0..errors.len() as u32).collect();
    slots.iter().for_each(|&slot| priorities.insert(slot as usize));
    priorities.update(&slots, &errors);
    let weight: Vec<f64> = (0..errors.len()).map(|i| priorities.tree().get(i)).collect();
    let total: f64 = weight.iter().sum();
    let (mut slot, mut importance) = (vec![u32::MAX; size], vec![0.0; size]);
    priorities.sample(0.5, &mut Stream::new(seed, "strata", 0), &mut slot, &mut importance);
    let mut worst = Worst::new();
    for (k, &s) in slot.iter().enumerate() {
        let start: f64 = weight[..s as usize].iter().sum();
        let (low, high) = (k as f64 * total / size as f64, (k + 1) as f64 * total / size as f64);
        worst.holds(start <= high + 1e-9 * total && start + weight[s as usize] >= low - 1e-9 * total);
    }
    worst.done()
}

/// Weights, changes to them, and places to look for.
type TreeCase = (Vec<f64>, Vec<(u16, f64)>, Vec<f64>);

fn tree_case() -> impl Strategy<Value = TreeCase> + Clone + Send + Sync {
    let weight = || prop_oneof![4 => 0.0..=3.0f64, 1 => Just(0.0), 1 => 1e-9..=1e-6f64];
    let len = prop_oneof![4 => 1..=40usize, 2 => 200..=300usize, 1 => 4000..=5000usize];
    len.prop_flat_map(move |n| (vec(weight(), n), vec((any::<u16>(), weight()), 0..=60), vec(unit(), 1..=40)))
}

fn tree_linear_scan((mut weights, changes, places): TreeCase) -> Measured {
    let n = weights.len();
    let mut tree = SumTree::new(n);
    weights.iter().enumerate().for_each(|(i, &w)| tree.set(i, w));
    for (i, w) in changes {
        let i = usize::from(i) % n;
        weights[i] = w;
        tree.set(i, w);
    }
    let total: f64 = weights.iter().sum();
    let mut worst = Worst::new();
    worst.scaled(tree.total(), total, total).holds((0..n).all(|i| tree.get(i) == weights[i]));
    let mut fresh = SumTree::new(n);
    weights.iter().enumerate().for_each(|(i, &w)| fresh.set(i, w));
    worst.holds(fresh.total().to_bits() == tree.total().to_bits());
    if total == 0.0 {
        return worst.holds(panics(|| tree.find(0.0))).done();
    }
    for u in places.into_iter().map(|u| u * tree.total()).chain([0.0, tree.total()]) {
        let found = tree.find(u);
        worst.holds(found < n && weights[found] > 0.0);
        let before: f64 = weights[..found].iter().sum();
        // u lies in the interval of what was found, but for rounding.
        worst.add((before - u).max(u - before - weights[found]).max(0.0) / total);
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        worst.holds(panics(|| tree.clone().set(0, bad)));
    }
    worst.holds(panics(|| tree.clone().set(n, 1.0)));
    worst.done()
}

/// With whole numbers for weights nothing rounds: of all whole numbers below the total, as many lead to an index as its weight.
fn tree_proportional(weights: Vec<u32>) -> Measured {
    let mut tree = SumTree::new(weights.len());
    weights.iter().enumerate().for_each(|(i, &w)| tree.set(i, f64::from(w)));
    let mut counts = vec![0; weights.len()];
    (0..weights.iter().sum::<u32>()).for_each(|u| counts[tree.find(f64::from(u))] += 1);
    Worst::new().holds(counts == weights).done()
}

fn priority_frequencies(seed: u64) -> Measured {
    let mut worst = Worst::new();
    for (n, size, alpha, eps) in [(7usize, 4usize, 0.6, 1e-6), (40, 8, 1.0, 0.1), (20, 3, 0.0, 1e-3)] {
        let mut priorities = Priorities::new(n + 5, alpha, eps);
        (0..n).for_each(|slot| priorities.insert(slot));
        worst.holds((0..n).all(|i| priorities.tree().get(i) == 1.0));
        let errors: Vec<f32> = (0..n).map(|i| (i as f32 - 3.0) * 0.37).collect();
        let slots: Vec<u32> = (0..n as u32).collect();
        priorities.update(&slots, &errors);
        let weight: Vec<f64> = errors.iter().map(|e| (f64::from(e.abs()) + eps).powf(alpha)).collect();
        for (i, &w) in weight.iter().enumerate() {
            worst.add((priorities.tree().get(i) - w).abs() / w / 1e-5);
        }
        let total: f64 = weight.iter().sum();
        let (rounds, mut rng) = (60_000, Stream::new(seed, "priorities", n as u64));
        let mut counts = vec![0u32; n + 5];
        let (mut slot, mut importance) = (vec![0; size], vec![0.0; size]);
        for _ in 0..rounds {
            priorities.sample(0.5, &mut rng, &mut slot, &mut importance);
            slot.iter().for_each(|&s| counts[s as usize] += 1);
        }
        worst.holds(counts[n..].iter().all(|&c| c == 0));
        let mut before = 0.0;
        for (i, &w) in weight.iter().enumerate() {
            // The share of transition i in each of the equal parts of the total.
            let part = total / size as f64;
            let share = |k: usize| {
                let (low, high) = (k as f64 * part, (k + 1) as f64 * part);
                ((before + w).min(high) - before.max(low)).max(0.0) / part
            };
            let variance: f64 = (0..size).map(|k| share(k) * (1.0 - share(k))).sum();
            let mean = size as f64 * w / total;
            // The weights are kept in single precision.
            let se = (variance / f64::from(rounds)).sqrt() + 1e-6;
            worst.within_five_se(f64::from(counts[i]) / f64::from(rounds), mean, se);
            before += w;
        }
        // A new transition has the largest priority that there was.
        priorities.insert(n);
        let top = weight.iter().copied().fold(1.0, f64::max);
        worst.add((priorities.tree().get(n) - top).abs() / top / 1e-5);
    }
    worst.done()
}

fn importance_weights((weights, beta): (Vec<f32>, f64)) -> Measured {
    let mut found = weights.clone();
    prioritized::importance(beta as f32, &mut found);
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let n = 1000.0;
    let raw: Vec<f64> = weights.iter().map(|&w| (n * f64::from(w) / total).powf(-beta)).collect();
    let top = raw.iter().copied().fold(0.0, f64::max);
    let mut worst = Worst::new();
    for (found, raw) in found.iter().zip(&raw) {
        worst.same(f64::from(*found), raw / top);
    }
    worst.holds(found.contains(&1.0)).done()
}

// Double Q-learning

fn double_definition(case: Targets) -> Measured {
    let mut y = vec![f64::NAN; case.reward.len()];
    let (mut select, mut next) = (case.select.clone(), case.next.clone());
    for (i, _) in case.terminated.iter().enumerate().filter(|(_, end)| **end) {
        select.row_mut(i).fill(f64::NAN);
        next.row_mut(i).fill(f64::NAN);
    }
    loss::double_q_target(&case.reward, &case.terminated, &case.discount, &select, &next, &mut y);
    let mut worst = Worst::new();
    for (i, &y) in y.iter().enumerate() {
        let chosen = largest(&case.select.row(i).to_vec());
        let follows = if case.terminated[i] { 0.0 } else { case.discount[i] * case.next[[i, chosen]] };
        worst.same(y, case.reward[i] + follows);
    }
    worst.done()
}

/// Where both networks are one, the target is the single one.
fn double_of_one_network(case: Targets) -> Measured {
    let Targets { reward, terminated, discount, next, .. } = &case;
    let (mut double, mut single) = (vec![f64::NAN; reward.len()], vec![f64::NAN; reward.len()]);
    loss::double_q_target(reward, terminated, discount, next, next, &mut double);
    loss::td_target(reward, terminated, discount, next, &mut single);
    Worst::new().holds(double == single).done()
}

/// Unbiased estimates of two to three action values: the values that noise can take and how likely, by action.
#[derive(Clone, Debug)]
struct Noise {
    mean: Vec<f64>,
    noise: Vec<Vec<f64>>,
    prob: Vec<Vec<f64>>,
}

fn noise() -> impl Strategy<Value = Noise> + Clone + Send + Sync {
    let mean = prop_oneof![3 => normal(), 1 => Just(0.0)];
    let one = (mean, vec((normal(), 0.05..=1.0f64), 1..=3));
    vec(one, 2..=3).prop_map(|actions| {
        let mut found = Noise { mean: Vec::new(), noise: Vec::new(), prob: Vec::new() };
        for (mean, points) in actions {
            let total: f64 = points.iter().map(|p| p.1).sum();
            let prob: Vec<f64> = points.iter().map(|p| p.1 / total).collect();
            let bias: f64 = points.iter().zip(&prob).map(|(p, q)| p.0 * q).sum();
            found.mean.push(mean);
            found.noise.push(points.iter().map(|p| mean + p.0 - bias).collect());
            found.prob.push(prob);
        }
        found
    })
}

/// The means of the single and the double target over all outcomes of two independent estimates.
fn mean_targets(case: &Noise) -> (f64, f64) {
    let actions = case.mean.len();
    let mut tables = Vec::new();
    tuples(3, actions, &mut |pick| {
        if pick.iter().zip(&case.prob).all(|(&k, prob)| k < prob.len()) {
            let values: Vec<f64> = (0..actions).map(|a| case.noise[a][pick[a]]).collect();
            let prob: f64 = (0..actions).map(|a| case.prob[a][pick[a]]).product();
            tables.push((Array2::from_shape_vec((1, actions), values).expect("one row"), prob));
        }
    });
    let (mut single, mut double) = (0.0, 0.0);
    let probs: Vec<f64> = tables.iter().map(|t| t.1).collect();
    samples(&probs, 2, &mut |pair, prob| {
        let (mut y, select, evaluate) = ([f64::NAN], &tables[pair[0]].0, &tables[pair[1]].0);
        loss::double_q_target(&[0.0], &[false], &[1.0], select, evaluate, &mut y);
        double += prob * y[0];
        loss::td_target(&[0.0], &[false], &[1.0], select, &mut y);
        single += prob * y[0];
    });
    (single, double)
}

fn double_inequality(case: Noise) -> Measured {
    let (single, double) = mean_targets(&case);
    let best = case.mean.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut worst = Worst::new();
    worst.at_most(double, best).at_most(best, single);
    if case.mean.iter().all(|&m| m == case.mean[0]) {
        worst.same(double, best);
    }
    worst.done()
}

fn double_closed() -> Measured {
    let coin = |mean: f64| (vec![mean - 1.0, mean + 1.0], vec![0.5, 0.5]);
    let of = |means: [f64; 2]| {
        let (noise, prob) = means.map(coin).into_iter().unzip();
        Noise { mean: means.to_vec(), noise, prob }
    };
    let (single, double) = mean_targets(&of([0.5, 0.0]));
    let mut worst = Worst::new();
    worst.printed(single, 0.875, 12).printed(double, 0.375, 12);
    let (single, double) = mean_targets(&of([0.0, 0.0]));
    worst.printed(single, 0.5, 12).printed(double, 0.0, 12);
    // Of equal values the first one is selected.
    let mut y = [f64::NAN];
    loss::double_q_target(
        &[0.0],
        &[false],
        &[1.0],
        &array![[2.0, 2.0, 1.0]],
        &array![[5.0, 7.0, 9.0]],
        &mut y,
    );
    require(y == [5.0], || format!("a tie selected {y:?}"))?;
    worst.done()
}

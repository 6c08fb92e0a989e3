use crate::generators::{Mdp, gamma, mdp_and_policies, mdp_of, normals, simplex, unit};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_STAT, Worst, require};
use crate::oracles::{integral, mean_reward, tuples};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::{End, Stream, monte_carlo, td};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("qlearn.expected-update", "definition", TOL_ID, table_case(), definition),
        random("qlearn.expected-update", "behaviour", TOL_ID, table_case(), behaviour),
        fixed("qlearn.expected-update", "closed", EXACT, |_| update_closed()),
        random("qlearn.terminal", "definition", EXACT, transition(), terminal),
        fixed("qlearn.terminal", "closed", EXACT, |_| terminal_closed()),
        // One case makes 200 000 updates.
        random("qlearn.convergence", "seeded", TOL_STAT, learning_case(), convergence).at_most(12),
        random("qlearn.convergence", "sweep", TOL_INEQ, (sure_mdp(), normals(12)), full_sweeps),
        random("qlearn.convergence", "update", EXACT, (learning_case(), transition()), one_entry),
        fixed("qlearn.convergence", "unvisited", EXACT, unvisited),
        fixed("qlearn.convergence", "off-policy", TOL_STAT, |_| off_policy()),
        random("qlearn.max-bias", "definition", TOL_ID, noise(), max_bias),
        random("qlearn.max-bias", "inequality", TOL_INEQ, noise(), max_is_larger),
        // One case lists the outcomes of two independent tables.
        random("qlearn.max-bias", "double", TOL_INEQ, noise(), double_is_not_larger).at_most(64),
        fixed("qlearn.max-bias", "closed", TOL_STAT, |_| max_closed()),
    ]
}

#[derive(Clone, Debug)]
struct TableCase {
    mdp: Mdp,
    behaviours: [Array2<f64>; 2],
    q: Array2<f64>,
}

fn table_case() -> impl Strategy<Value = TableCase> + Clone + Send + Sync {
    (mdp_and_policies(0.99), normals(32)).prop_map(|((mdp, one, two), q)| {
        let q = Array2::from_shape_fn(one.dim(), |(s, a)| 3.0 * q[s * 4 + a]);
        TableCase { mdp, behaviours: [one, two], q }
    })
}

fn largest(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// `r + gamma P max Q`, with the plain maximum of each row taken first.
fn backup(mdp: &Mdp, q: &Array2<f64>) -> Array2<f64> {
    let best: Vec<f64> = q.rows().into_iter().map(|row| largest(&row.to_vec())).collect();
    let reward = mean_reward(mdp);
    Array2::from_shape_fn(q.dim(), |(s, a)| {
        reward[s][a] + mdp.gamma * (0..mdp.states()).map(|k| mdp.p[[s, a, k]] * best[k]).sum::<f64>()
    })
}

fn definition(case: TableCase) -> Measured {
    let TableCase { mdp, q, .. } = &case;
    let mut left = Array2::from_elem(q.dim(), f64::NAN);
    td::expected_q_update(&mdp.p, &mdp.r, q, mdp.gamma, &mut left);
    let right = backup(mdp, q);
    let mut worst = Worst::new();
    worst.all(&(&left + q), &right);
    for ((s, a), &right) in right.indexed_iter() {
        let sampled: f64 = (0..mdp.states())
            .map(|k| {
                let target = td::q_target(mdp.r[[s, a, k]], false, &q.row(k).to_vec(), mdp.gamma);
                mdp.p[[s, a, k]] * target
            })
            .sum();
        worst.same(sampled, right);
    }
    worst.done()
}

/// Who chooses the actions does not change the mean target of a pair: from the joint law of action and next state.
fn behaviour(case: TableCase) -> Measured {
    let TableCase { mdp, behaviours, q } = &case;
    let right = backup(mdp, q);
    let mut worst = Worst::new();
    for behaviour in behaviours {
        for ((s, a), &right) in right.indexed_iter() {
            let mut sum = 0.0;
            for k in 0..mdp.states() {
                let joint = behaviour[[s, a]] * mdp.p[[s, a, k]];
                sum += joint * td::q_target(mdp.r[[s, a, k]], false, &q.row(k).to_vec(), mdp.gamma);
            }
            worst.same(sum, behaviour[[s, a]] * right);
        }
    }
    worst.done()
}

fn update_closed() -> Measured {
    // Two states follow with probability 1/2 each, whose best actions differ: the mean of the maxima is 1, the maximum of the
    // mean 1/2.
    let mut p = ndarray::Array3::zeros((3, 2, 3));
    for a in 0..2 {
        p[[0, a, 1]] = 0.5;
        p[[0, a, 2]] = 0.5;
        p[[1, a, 1]] = 1.0;
        p[[2, a, 2]] = 1.0;
    }
    let q = Array2::from_shape_fn((3, 2), |(s, a)| f64::from(u8::from(s == a + 1)));
    let mut out = Array2::from_elem((3, 2), f64::NAN);
    td::expected_q_update(&p, &ndarray::Array3::zeros((3, 2, 3)), &q, 1.0, &mut out);
    require(out[[0, 0]] == 1.0, || format!("{} instead of the mean of the maxima, 1", out[[0, 0]]))?;
    Ok(0.0)
}

#[derive(Clone, Debug)]
struct Transition {
    next_q: Vec<f64>,
    reward: f64,
    terminated: bool,
    truncated: bool,
    gamma: f64,
}

fn transition() -> impl Strategy<Value = Transition> + Clone + Send + Sync {
    (normals(1..=5), -2.0..=2.0f64, any::<bool>(), any::<bool>(), unit()).prop_map(
        |(next_q, reward, terminated, truncated, gamma)| Transition {
            next_q,
            reward,
            terminated,
            truncated,
            gamma,
        },
    )
}

fn terminal(case: Transition) -> Measured {
    let end = End::from_flags(case.terminated, case.truncated);
    let left = td::q_target(case.reward, end.terminated(), &case.next_q, case.gamma);
    // Termination wins over a limit that is reached in the same step; a limit alone keeps the bootstrap.
    let right = if case.terminated { case.reward } else { case.reward + case.gamma * largest(&case.next_q) };
    require(left == right, || format!("{left} instead of {right}"))?;
    let poisoned = td::q_target(case.reward, true, &vec![f64::NAN; case.next_q.len()], case.gamma);
    require(poisoned == case.reward, || "the values behind a terminal state are used".to_owned())?;
    Ok(0.0)
}

fn terminal_closed() -> Measured {
    let stale = [5.0, 2.0];
    let targets = [true, false].map(|terminated| td::q_target(1.0, terminated, &stale, 0.9));
    require(targets == [1.0, 5.5], || format!("{targets:?} instead of 1 and 5.5"))?;
    require(panics(|| td::q_target(1.0, false, &[], 0.9)), || "no action is accepted".to_owned())?;
    Ok(0.0)
}

/// A small process and a seed.
fn learning_case() -> impl Strategy<Value = (Mdp, u64)> + Clone + Send + Sync {
    (mdp_of(2..=4, 2..=2, gamma(0.8)), any::<u64>())
}

/// `Q*` by plain sweeps.
fn optimal(mdp: &Mdp) -> Array2<f64> {
    let mut q = Array2::zeros((mdp.states(), mdp.actions()));
    for _ in 0..300 {
        q = backup(mdp, &q);
    }
    q
}

fn draw(mdp: &Mdp, s: usize, a: usize, u: f64) -> usize {
    let mut left = u;
    for k in 0..mdp.states() {
        left -= mdp.p[[s, a, k]];
        if left < 0.0 {
            return k;
        }
    }
    // Rounding left a rest: the last state that can follow.
    (0..mdp.states()).rev().find(|&k| mdp.p[[s, a, k]] > 0.0).unwrap_or(0)
}

/// Tabular Q-learning on pairs from `pairs`, with `alpha = n^-0.7` counted per pair.
fn learn(mdp: &Mdp, pairs: &[(usize, usize)], updates: usize, stream: &mut Stream, q: &mut [f64]) {
    let actions = mdp.actions();
    let mut count = vec![0u64; q.len()];
    for _ in 0..updates {
        let (s, a) = pairs[stream.below(pairs.len() as u32) as usize];
        let next = draw(mdp, s, a, stream.unit());
        count[s * actions + a] += 1;
        let alpha = monte_carlo::step_size(count[s * actions + a], 0.7);
        td::q_update(q, actions, (s, a), mdp.r[[s, a, next]], Some(next), alpha, mdp.gamma);
    }
}

fn all_pairs(mdp: &Mdp) -> Vec<(usize, usize)> {
    (0..mdp.states() * mdp.actions()).map(|i| (i / mdp.actions(), i % mdp.actions())).collect()
}

/// The largest error that counts as converged.
fn allowed(mdp: &Mdp) -> f64 {
    0.05 * mdp.r.iter().fold(0.0, |m: f64, r| m.max(r.abs())) / (1.0 - mdp.gamma)
}

fn distance(q: &[f64], to: &Array2<f64>) -> f64 {
    q.iter().zip(to).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()))
}

fn convergence((mdp, seed): (Mdp, u64)) -> Measured {
    let mut stream = Stream::new(seed, "q-learning-check", 0);
    let mut q = vec![0.0; mdp.states() * mdp.actions()];
    learn(&mdp, &all_pairs(&mdp), 200_000, &mut stream, &mut q);
    Ok(distance(&q, &optimal(&mdp)) / allowed(&mdp))
}

/// A process without chance.
fn sure_mdp() -> impl Strategy<Value = Mdp> + Clone + Send + Sync {
    mdp_of(2..=4, 2..=3, gamma(0.99)).prop_map(|mut mdp| {
        for mut row in mdp.p.rows_mut() {
            let best = (0..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
            row.fill(0.0);
            row[best] = 1.0;
        }
        mdp
    })
}

/// Full steps without chance: each sweep over all pairs shrinks the error by `gamma` or more.
fn full_sweeps((mdp, start): (Mdp, Vec<f64>)) -> Measured {
    let actions = mdp.actions();
    let mut target = Array2::zeros((mdp.states(), actions));
    while {
        let next = backup(&mdp, &target);
        let moved = (&next - &target).iter().any(|x| x.abs() > 1e-13);
        target = next;
        moved
    } {}
    let mut q: Vec<f64> = start[..mdp.states() * actions].to_vec();
    let scale = target.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    let mut worst = Worst::new();
    for _ in 0..5 {
        let before = distance(&q, &target);
        for (s, a) in all_pairs(&mdp) {
            let next = draw(&mdp, s, a, 0.5);
            td::q_update(&mut q, actions, (s, a), mdp.r[[s, a, next]], Some(next), 1.0, mdp.gamma);
        }
        worst.at_most(distance(&q, &target) / scale, mdp.gamma * before / scale);
    }
    worst.done()
}

/// One update moves one entry towards its target, and no other.
fn one_entry(((mdp, seed), case): ((Mdp, u64), Transition)) -> Measured {
    let (states, actions) = (mdp.states(), mdp.actions());
    let mut stream = Stream::new(seed, "q-learning-check", 1);
    let before: Vec<f64> = (0..states * actions).map(|_| stream.normal()).collect();
    let (s, a) = (stream.below(states as u32) as usize, stream.below(actions as u32) as usize);
    let (next, alpha) = (stream.below(states as u32) as usize, stream.unit());
    let mut after = before.clone();
    let led_to = (!case.terminated).then_some(next);
    let delta = td::q_update(&mut after, actions, (s, a), case.reward, led_to, alpha, case.gamma);
    let row = &before[next * actions..][..actions];
    let target = if case.terminated { case.reward } else { case.reward + case.gamma * largest(row) };
    for (i, (&now, &was)) in after.iter().zip(&before).enumerate() {
        if i == s * actions + a {
            let expected = was + alpha * (target - was);
            require(now == expected && delta == target - was, || format!("{now} instead of {expected}"))?;
        } else {
            require(now.to_bits() == was.to_bits(), || format!("entry {i} moved"))?;
        }
    }
    Ok(0.0)
}

/// A pair that is never visited keeps its first value, and the table does not converge.
fn unvisited(seed: u64) -> Measured {
    // Two states that lead to each other; action 1 pays in state 0.
    let mut p = ndarray::Array3::zeros((2, 2, 2));
    let mut r = ndarray::Array3::zeros((2, 2, 2));
    for a in 0..2 {
        p[[0, a, 1]] = 1.0;
        p[[1, a, 0]] = 1.0;
    }
    r[[0, 1, 1]] = 2.0;
    let mdp = Mdp { p, r, mu: ndarray::Array1::from(vec![1.0, 0.0]), gamma: 0.8 };
    let best = optimal(&mdp);
    let mut stream = Stream::new(seed, "q-learning-check", 2);
    let mut q = vec![0.25; 4];
    let mut pairs = all_pairs(&mdp);
    pairs.retain(|&pair| pair != (0, 1));
    learn(&mdp, &pairs, 20_000, &mut stream, &mut q);
    require(q[1] == 0.25, || format!("the pair that was never visited holds {}", q[1]))?;
    let missed = distance(&q, &best) > allowed(&mdp);
    require(missed, || "without the best action the table still converges".to_owned())?;
    learn(&mdp, &all_pairs(&mdp), 200_000, &mut stream, &mut q);
    let reached = distance(&q, &best) <= allowed(&mdp);
    require(reached, || "with all pairs the table does not converge".to_owned())?;
    Ok(0.0)
}

/// Uniform behaviour, one state, rewards 1 and 0: Q-learning reaches 10, the value of the behaviour is 5.
fn off_policy() -> Measured {
    let (mut q, mut on_policy) = ([0.0; 2], [0.0; 2]);
    for _ in 0..400 {
        for a in 0..2 {
            let reward = 1.0 - a as f64;
            td::q_update(&mut q, 2, (0, a), reward, Some(0), 1.0, 0.9);
            on_policy[a] = td::expected_sarsa_target(reward, false, &on_policy, &[0.5, 0.5], 0.9);
        }
    }
    let mut worst = Worst::new();
    worst.printed(q[0], 10.0, 9).printed(q[1], 9.0, 9);
    worst.printed(on_policy[0], 5.5, 9).printed(0.5 * (on_policy[0] + on_policy[1]), 5.0, 9).done()
}

/// Values and probabilities of one estimate per action.
type Noise = (Vec<Vec<f64>>, Vec<Vec<f64>>);

/// Up to four estimates of up to three values, half of them rounded so that values tie.
fn noise() -> impl Strategy<Value = Noise> + Clone + Send + Sync {
    let estimate = (normals(1..=3), simplex(3), any::<bool>()).prop_map(|(mut x, p, round)| {
        if round {
            x.iter_mut().for_each(|x| *x = x.round());
        }
        let mass: f64 = p[..x.len()].iter().sum();
        let p: Vec<f64> = p[..x.len()].iter().map(|p| p / mass).collect();
        (x, p)
    });
    vec(estimate, 1..=4).prop_map(|estimates| estimates.into_iter().unzip())
}

/// Calls `f` with every outcome of all estimates and its probability.
fn outcomes((value, prob): &Noise, f: &mut dyn FnMut(&[f64], f64)) {
    tuples(3, value.len(), &mut |index| {
        if index.iter().zip(value).all(|(&i, v)| i < v.len()) {
            let drawn: Vec<f64> = index.iter().zip(value).map(|(&i, v)| v[i]).collect();
            f(&drawn, index.iter().zip(prob).map(|(&i, p)| p[i]).product());
        }
    });
}

fn means((value, prob): &Noise) -> Vec<f64> {
    value.iter().zip(prob).map(|(v, p)| v.iter().zip(p).map(|(v, p)| v * p).sum()).collect()
}

fn max_bias(noise: Noise) -> Measured {
    let mut mean = 0.0;
    outcomes(&noise, &mut |drawn, prob| mean += prob * largest(drawn));
    Worst::new().same(td::expected_max(&noise.0, &noise.1), mean).done()
}

fn max_is_larger(noise: Noise) -> Measured {
    let q = means(&noise);
    let mean = td::expected_max(&noise.0, &noise.1);
    let mut worst = Worst::new();
    worst.at_most(largest(&q), mean);
    // By how much: the mean of what the truly best action falls behind. Zero only if it never does.
    let best = (0..q.len()).fold(0, |best, a| if q[a] > q[best] { a } else { best });
    let mut behind = 0.0;
    outcomes(&noise, &mut |drawn, prob| behind += prob * (largest(drawn) - drawn[best]));
    worst.scaled(mean - largest(&q), behind, mean.abs());
    worst.done()
}

/// The mean of the double estimate is a mixture of the true values, by how often each action is selected.
fn double_is_not_larger(noise: Noise) -> Measured {
    let q = means(&noise);
    let (mut mean, mut mixture) = (0.0, 0.0);
    outcomes(&noise, &mut |select, one| {
        let first = (0..q.len()).fold(0, |best, a| if select[a] > select[best] { a } else { best });
        mixture += one * q[first];
        outcomes(&noise, &mut |evaluate, two| {
            mean += one * two * td::double_q_target(0.0, false, select, evaluate, 1.0);
        });
    });
    let mut worst = Worst::new();
    worst.same(mean, mixture).at_most(mean, largest(&q)).done()
}

fn max_closed() -> Measured {
    let coin = (vec![vec![-1.0, 1.0]; 2], vec![vec![0.5, 0.5]; 2]);
    let mut worst = Worst::new();
    worst.printed(td::expected_max(&coin.0, &coin.1), 0.5, 12);
    // max(x, y) = (x + y + |x - y|) / 2, and x - y has variance 2.
    let law = |z: f64| (-z * z / 4.0).exp() / (4.0 * std::f64::consts::PI).sqrt();
    let larger = integral(0.0, 17.0, |z| z * law(z));
    worst.printed(td::gaussian_max_bias(1.0), 0.564_190, 6).printed(td::gaussian_max_bias(1.0), larger, 7);
    worst.printed(td::gaussian_max_bias(2.5), 2.5 * larger, 7);
    // Estimates without noise have no bias.
    let sure = (vec![vec![2.0], vec![3.0], vec![-1.0]], vec![vec![1.0]; 3]);
    worst.printed(td::expected_max(&sure.0, &sure.1), 3.0, 12);
    // The double estimator of the two coins: the selected value is independent, so its mean is 0.
    let mut double = 0.0;
    outcomes(&coin, &mut |select, one| {
        outcomes(&coin, &mut |evaluate, two| {
            double += one * two * td::double_q_target(0.0, false, select, evaluate, 1.0);
        });
    });
    worst.printed(double, 0.0, 12).done()
}

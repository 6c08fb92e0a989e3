use crate::generators::{Mdp, Policy, gamma, mdp_and_policy, mdp_of, normals};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{action_value, mean_reward, policy_value, tuples};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::Array2;
use proptest::prelude::*;
use proptest::sample::select;
use rederive_math::td;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("sarsa.expected-update", "definition", TOL_ID, table_case(), definition),
        random("sarsa.expected-update", "targets", TOL_ID, table_case(), targets),
        random("sarsa.expected-update", "variance", TOL_ID, table_case(), variance),
        random("sarsa.expected-update", "deterministic", EXACT, table_case(), deterministic),
        fixed("sarsa.expected-update", "terminal", EXACT, |_| terminal()),
        // Sharp policies of slow chains take a thousand sweeps.
        random("sarsa.fixed-point", "fixed-policy", TOL_SOLVE, mdp_and_policy(0.95), fixed_policy)
            .at_most(64),
        random("sarsa.fixed-point", "soft-greedy", TOL_SOLVE, soft_case(), soft_greedy).at_most(64),
        random("sarsa.fixed-point", "bound", TOL_INEQ, soft_case(), soft_bound).at_most(64),
        random("sarsa.fixed-point", "contraction", TOL_INEQ, (soft_case(), normals(24)), contraction),
        fixed("sarsa.fixed-point", "closed", TOL_STAT, |_| closed()),
    ]
}

/// A process, a policy and a table of action values.
fn table_case() -> impl Strategy<Value = (Mdp, Policy, Array2<f64>)> + Clone + Send + Sync {
    (mdp_and_policy(0.99), normals(32)).prop_map(|((mdp, policy), q)| {
        let q = Array2::from_shape_fn(policy.dim(), |(s, a)| 3.0 * q[s * 4 + a]);
        (mdp, policy, q)
    })
}

fn expected_update(mdp: &Mdp, policy: &Policy, q: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::from_elem(q.dim(), f64::NAN);
    td::expected_sarsa_update(&mdp.p, &mdp.r, policy, q, mdp.gamma, &mut out);
    out
}

/// With the matrix that leads from pair to pair: `r + gamma P_pi Q - Q`.
fn definition((mdp, policy, q): (Mdp, Policy, Array2<f64>)) -> Measured {
    let (states, actions) = q.dim();
    let reward = mean_reward(&mdp);
    let left = expected_update(&mdp, &policy, &q);
    let mut worst = Worst::new();
    for s in 0..states {
        for a in 0..actions {
            // The pair (s, a) leads to (s', a') with probability P(s' | s, a) pi(a' | s').
            let row: Vec<f64> = (0..states * actions)
                .map(|pair| mdp.p[[s, a, pair / actions]] * policy[[pair / actions, pair % actions]])
                .collect();
            let ahead: f64 = row.iter().zip(&q).map(|(p, q)| p * q).sum();
            worst.same(left[[s, a]], reward[s][a] + mdp.gamma * ahead - q[[s, a]]);
        }
    }
    worst.done()
}

/// The mean of the sampled targets of both kinds.
fn targets((mdp, policy, q): (Mdp, Policy, Array2<f64>)) -> Measured {
    let left = expected_update(&mdp, &policy, &q);
    let mut worst = Worst::new();
    for ((s, a), &left) in left.indexed_iter() {
        let (mut sampled, mut averaged) = (0.0, 0.0);
        for next in 0..mdp.states() {
            let (prob, reward) = (mdp.p[[s, a, next]], mdp.r[[s, a, next]]);
            let (row, law) = (q.row(next).to_vec(), policy.row(next).to_vec());
            averaged += prob * td::expected_sarsa_target(reward, false, &row, &law, mdp.gamma);
            for (x, p) in row.iter().zip(&law) {
                sampled += prob * p * td::sarsa_target(reward, false, *x, mdp.gamma);
            }
        }
        worst.same(sampled - q[[s, a]], left).same(averaged - q[[s, a]], left);
    }
    worst.done()
}

/// Law of the target: outcomes and probabilities.
fn spread(law: &[(f64, f64)]) -> f64 {
    let mean: f64 = law.iter().map(|(x, p)| x * p).sum();
    law.iter().map(|(x, p)| p * (x - mean) * (x - mean)).sum()
}

fn variance((mdp, policy, q): (Mdp, Policy, Array2<f64>)) -> Measured {
    let mut extra = Array2::from_elem(q.dim(), f64::NAN);
    td::sarsa_extra_variance(&mdp.p, &policy, &q, mdp.gamma, &mut extra);
    let mut worst = Worst::new();
    for ((s, a), &extra) in extra.indexed_iter() {
        let (mut sampled, mut averaged) = (Vec::new(), Vec::new());
        for next in 0..mdp.states() {
            let (prob, reward) = (mdp.p[[s, a, next]], mdp.r[[s, a, next]]);
            let row = q.row(next).to_vec();
            let law = policy.row(next).to_vec();
            averaged.push((td::expected_sarsa_target(reward, false, &row, &law, mdp.gamma), prob));
            for (x, p) in row.iter().zip(&law) {
                sampled.push((td::sarsa_target(reward, false, *x, mdp.gamma), prob * p));
            }
        }
        worst.scaled(spread(&sampled) - spread(&averaged), extra, spread(&sampled));
    }
    worst.done()
}

/// A policy without chance adds no variance, and expected SARSA is SARSA.
fn deterministic((mdp, policy, q): (Mdp, Policy, Array2<f64>)) -> Measured {
    let mut sure = Policy::zeros(policy.dim());
    for (mut row, law) in sure.rows_mut().into_iter().zip(policy.rows()) {
        let best = (0..law.len()).fold(0, |best, a| if law[a] > law[best] { a } else { best });
        row[best] = 1.0;
        let x: Vec<f64> = q.row(0).to_vec();
        let one = td::expected_sarsa_target(0.5, false, &x, &row.to_vec(), mdp.gamma);
        let other = td::sarsa_target(0.5, false, x[best], mdp.gamma);
        require(one == other, || format!("{one} instead of {other}"))?;
    }
    let mut extra = Array2::from_elem(q.dim(), f64::NAN);
    td::sarsa_extra_variance(&mdp.p, &sure, &q, mdp.gamma, &mut extra);
    require(extra.iter().all(|&x| x == 0.0), || format!("a sure action adds variance: {extra}"))?;
    Ok(0.0)
}

fn terminal() -> Measured {
    let ended = [
        td::sarsa_target(1.0, true, f64::NAN, 0.9),
        td::expected_sarsa_target(1.0, true, &[f64::NAN, 5.0], &[0.5, 0.5], 0.9),
    ];
    require(ended == [1.0, 1.0], || format!("{ended:?} instead of 1 at the end"))?;
    let goes_on = [
        td::sarsa_target(1.0, false, 4.0, 0.5),
        td::expected_sarsa_target(1.0, false, &[4.0, 8.0], &[0.25, 0.75], 0.5),
    ];
    require(goes_on == [3.0, 4.5], || format!("{goes_on:?} instead of 3 and 4.5"))?;
    let refused = panics(|| td::expected_sarsa_target(1.0, false, &[4.0], &[0.5, 0.5], 0.5));
    require(refused, || "a policy of another number of actions is accepted".to_owned())?;
    Ok(0.0)
}

fn fixed_policy((mdp, policy): (Mdp, Policy)) -> Measured {
    let mut q = Array2::zeros(policy.dim());
    for _ in 0..sweeps(mdp.gamma) {
        q = &q + &expected_update(&mdp, &policy, &q);
    }
    let mut worst = Worst::new();
    for ((s, a), &q) in q.indexed_iter() {
        worst.solved(q, action_value(&mdp, &policy)[s][a], mdp.gamma);
    }
    worst.done()
}

/// Sweeps until the first error has shrunk by `1e-13`.
fn sweeps(gamma: f64) -> usize {
    if gamma == 0.0 { 2 } else { 2 + (-13.0 / gamma.log10()).ceil() as usize }
}

/// Few enough states and actions to list all deterministic policies.
fn soft_case() -> impl Strategy<Value = (Mdp, f64)> + Clone + Send + Sync {
    (mdp_of(2..=4, 2..=3, gamma(0.95)), select(vec![0.0, 0.1, 0.3, 1.0]))
}

fn soft_backup(mdp: &Mdp, epsilon: f64, q: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::from_elem(q.dim(), f64::NAN);
    td::soft_greedy_backup(&mdp.p, &mdp.r, q, epsilon, mdp.gamma, &mut out);
    out
}

fn soft_fixed_point(mdp: &Mdp, epsilon: f64) -> Array2<f64> {
    let mut q = Array2::zeros((mdp.states(), mdp.actions()));
    for _ in 0..sweeps(mdp.gamma) {
        q = soft_backup(mdp, epsilon, &q);
    }
    q
}

/// The deterministic choice `choice`, softened.
fn softened(choice: &[usize], actions: usize, epsilon: f64) -> Policy {
    Policy::from_shape_fn((choice.len(), actions), |(s, a)| {
        epsilon / actions as f64 + if choice[s] == a { 1.0 - epsilon } else { 0.0 }
    })
}

/// The fixed point is `Q` of its own soft policy, and of the best soft policy.
fn soft_greedy((mdp, epsilon): (Mdp, f64)) -> Measured {
    let q = soft_fixed_point(&mdp, epsilon);
    let (states, actions) = q.dim();
    let greedy: Vec<usize> = q
        .rows()
        .into_iter()
        .map(|row| (0..actions).fold(0, |best, a| if row[a] > row[best] { a } else { best }))
        .collect();
    let own = softened(&greedy, actions, epsilon);
    let mut best = vec![f64::NEG_INFINITY; states];
    tuples(actions, states, &mut |choice| {
        let value = policy_value(&mdp, &softened(choice, actions, epsilon));
        best.iter_mut().zip(value).for_each(|(best, v)| *best = best.max(v));
    });
    let mut worst = Worst::new();
    for s in 0..states {
        for a in 0..actions {
            worst.solved(q[[s, a]], action_value(&mdp, &own)[s][a], mdp.gamma);
        }
        let value: f64 = (0..actions).map(|a| own[[s, a]] * q[[s, a]]).sum();
        worst.solved(value, best[s], mdp.gamma);
    }
    worst.done()
}

/// At most `Q*`, and `Q*` itself without exploration.
fn soft_bound((mdp, epsilon): (Mdp, f64)) -> Measured {
    let (states, actions) = (mdp.states(), mdp.actions());
    let q = soft_fixed_point(&mdp, epsilon);
    let mut value = vec![f64::NEG_INFINITY; states];
    tuples(actions, states, &mut |choice| {
        let other = policy_value(&mdp, &softened(choice, actions, 0.0));
        value.iter_mut().zip(other).for_each(|(v, o)| *v = v.max(o));
    });
    let reward = mean_reward(&mdp);
    let mut worst = Worst::new();
    for ((s, a), &q) in q.indexed_iter() {
        let ahead: f64 = (0..states).map(|k| mdp.p[[s, a, k]] * value[k]).sum();
        let optimal = reward[s][a] + mdp.gamma * ahead;
        worst.at_most(q, optimal);
        if epsilon == 0.0 {
            worst.same(q, optimal);
        }
    }
    worst.done()
}

fn contraction(((mdp, epsilon), entries): ((Mdp, f64), Vec<f64>)) -> Measured {
    let shape = (mdp.states(), mdp.actions());
    let table = |from: usize| Array2::from_shape_fn(shape, |(s, a)| 5.0 * entries[from + s * 3 + a]);
    let (one, two) = (table(0), table(12));
    let distance = |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let after = distance(&soft_backup(&mdp, epsilon, &one), &soft_backup(&mdp, epsilon, &two));
    Worst::new().at_most(after, mdp.gamma * distance(&one, &two)).done()
}

fn closed() -> Measured {
    // One state, rewards 1 and 0: exploring in one step of ten costs half of a tenth of everything that is to come.
    let one_hot = Array2::from_shape_fn((1, 2), |(_, a)| 1.0 - a as f64);
    let mdp = Mdp {
        p: ndarray::Array3::ones((1, 2, 1)),
        r: one_hot.into_shape_with_order((1, 2, 1)).expect("two pairs"),
        mu: ndarray::Array1::ones(1),
        gamma: 0.9,
    };
    let mut worst = Worst::new();
    for (epsilon, q) in [(0.0, 10.0), (0.1, 9.55), (1.0, 5.5)] {
        let found = soft_fixed_point(&mdp, epsilon);
        worst.printed(found[[0, 0]], q, 9).printed(found[[0, 1]], q - 1.0, 9);
    }
    worst.done()
}

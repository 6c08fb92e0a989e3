//! Solvers of sparse processes, each against elimination on the same process.

use crate::generators::{Mdp as Dense, mdp, mdp_and_policy, mdp_of, normals, policy, unit};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{Lists, best_finite_horizon, best_stationary, deterministic, policy_value};
use crate::{Check, Measured, fixed, random};
use ndarray::Array2;
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_env::{Mdp, Outcome, finite_table};
use rederive_math::{Real, Stream, bellman, maxent};
use rederive_tabular::{
    Options, Solution, SolveError, evaluate, evaluate_direct, evaluate_stochastic, finite_horizon,
    gauss_seidel, inexact_policy_iteration, modified_policy_iteration, policy_iteration,
    prioritized_sweeping, q_value_iteration, rtdp, soft_policy_iteration, soft_value_iteration, trial,
    value_iteration,
};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    let mut all = vec![
        random("dp.policy-iteration", "improvement", TOL_INEQ, (mdp_and_policy(0.99), unit()), improvement),
        random(
            "dp.policy-iteration",
            "definition",
            TOL_SOLVE,
            mdp_of(2..=4, 2..=3, 0.0..=0.99f64),
            iteration,
        ),
        fixed("dp.policy-iteration", "ties", EXACT, |_| ties()),
        random("dp.finite-horizon-vi", "definition", TOL_ID, horizons(), finite),
        random("dp.finite-horizon-vi", "sparse", TOL_ID, (sparse(), 1..=12usize), finite_sparse),
        fixed("dp.finite-horizon-vi", "closed", EXACT, |_| finite_closed()),
        random("rtdp.coverage", "error-bound", TOL_STAT, sparse(), trials).at_most(64),
        fixed("rtdp.coverage", "closed", EXACT, |_| coverage_closed()),
        random("bellman.v", "direct", TOL_STAT, evaluations(), direct_evaluation),
        random("dp.policy-evaluation", "error-bound", TOL_STAT, evaluations(), iterative_evaluation),
        random("maxent.soft-bellman", "error-bound", TOL_STAT, (sparse(), unit()), soft_values),
        random("maxent.soft-improvement", "error-bound", TOL_STAT, (sparse(), unit()), soft_policies),
        random("bellman.optimality", "undiscounted", TOL_STAT, ending(), undiscounted),
        fixed("bellman.optimality", "never-ends", EXACT, |_| never_ends()),
        random("dp.vi-rate", "threads", EXACT, sparse(), threads),
        fixed("dp.vi-rate", "span-stop", TOL_STAT, |_| span_stop()),
        fixed("dp.gridworld", "solvers", 1e-9, |_| environment("GridWorld-v0")),
    ];
    for row in SOLVERS {
        let Row { id, property, property_f32, solve, solve_f32 } = row;
        all.push(random(id, property, TOL_STAT, sparse(), move |case: Sparse| error_bound(&case, solve)));
        all.push(random(id, property_f32, TOL_STAT, sparse(), move |case: Sparse| {
            error_bound(&case, solve_f32)
        }));
    }
    for (property, environment_id) in [
        ("frozen-lake", "FrozenLake-v1"),
        ("frozen-lake-8x8", "FrozenLake8x8-v1"),
        ("cliff-walking", "CliffWalking-v1"),
        ("taxi", "Taxi-v3"),
    ] {
        all.push(fixed("bellman.optimality", property, 1e-9, move |_| environment(environment_id)));
    }
    all
}

type Solve<P> = fn(&Mdp<P>, &Options) -> Result<Solution, SolveError>;

/// A solver and what its checks are called.
struct Row {
    id: &'static str,
    property: &'static str,
    property_f32: &'static str,
    solve: Solve<f64>,
    solve_f32: Solve<f32>,
}

macro_rules! row {
    ($id:literal, $property:literal, $solver:ident) => {
        Row {
            id: $id,
            property: $property,
            property_f32: concat!($property, "-single-precision"),
            solve: $solver::<f64>,
            solve_f32: $solver::<f32>,
        }
    };
}

/// Every solver of the optimal values.
const SOLVERS: [Row; 7] = [
    row!("dp.vi-rate", "error-bound", value_iteration),
    row!("dp.q-vi", "error-bound", q_value_iteration),
    row!("dp.policy-iteration", "error-bound", policy_iteration),
    row!("dp.policy-iteration", "modified-error-bound", modified_policy_iteration),
    row!("dp.policy-iteration", "inexact-error-bound", inexact_policy_iteration),
    row!("rtdp.async-backup", "error-bound", gauss_seidel),
    row!("rtdp.async-backup", "prioritized-error-bound", prioritized_sweeping),
];

/// A process of lists: outcomes by state and action.
#[derive(Clone, Debug)]
struct Sparse {
    rows: Vec<Vec<Vec<Outcome>>>,
    start: Vec<f64>,
    gamma: f64,
    /// The decimal logarithm of the tolerance to ask for, relative to the largest value that there can be.
    digits: f64,
}

/// MDP with a number of actions of its own in every state, some outcomes that end the episode, and, at times, every action twice.
fn sparse() -> impl Strategy<Value = Sparse> + Clone + Send + Sync {
    let ends = vec((weighted(0.1), 0..8u32), 8 * 4 * 8);
    (mdp(0.99), vec(0..12usize, 8), ends, weighted(0.5), weighted(0.15), -9.0..=-1.0f64).prop_map(
        |(mdp, counts, ends, ending, twice, digits)| {
            let actions = |s: usize| 1 + counts[s] % mdp.actions();
            let outcome = |s: usize, a: usize, k: usize| {
                let (terminated, elsewhere) = ends[(s * 4 + a) * 8 + k];
                let terminated = terminated && ending;
                // Where the episode ends, the state that is named does not matter, whatever rows it has.
                let next = if terminated { elsewhere % mdp.states() as u32 } else { k as u32 };
                Outcome { prob: mdp.p[[s, a, k]], next, reward: mdp.r[[s, a, k]], terminated }
            };
            let row = |s: usize, a: usize| -> Vec<Outcome> {
                (0..mdp.states()).filter(|&k| mdp.p[[s, a, k]] > 0.0).map(|k| outcome(s, a, k)).collect()
            };
            let rows = (0..mdp.states()).map(|s| {
                let once: Vec<_> = (0..actions(s)).map(|a| row(s, a)).collect();
                if twice { once.iter().flat_map(|row| [row.clone(), row.clone()]).collect() } else { once }
            });
            Sparse { rows: rows.collect(), start: mdp.mu.to_vec(), gamma: mdp.gamma, digits }
        },
    )
}

/// Outcomes as [`Lists`].
fn lists(rows: &[Vec<Vec<Outcome>>]) -> Lists {
    let mean = |row: &Vec<Outcome>| row.iter().map(|o| o.prob * o.reward).sum();
    let next = |row: &Vec<Outcome>| {
        row.iter().filter(|o| !o.terminated).map(|o| (o.next as usize, o.prob)).collect()
    };
    Lists {
        reward: rows.iter().map(|state| state.iter().map(mean).collect()).collect(),
        next: rows.iter().map(|state| state.iter().map(next).collect()).collect(),
    }
}

fn build<P: Real>(rows: &[Vec<Vec<Outcome>>]) -> Mdp<P> {
    let mut builder = Mdp::builder(rows.len());
    for state in rows {
        for row in state {
            builder.action(row).expect("a law");
        }
        builder.end_state().expect("an action");
    }
    builder.finish().expect("every state")
}

/// What is stored, widened to `f64`, as [`Lists`].
fn stored<P: Real>(mdp: &Mdp<P>) -> Lists {
    let next = |pair: usize| {
        mdp.entries(pair).map(|j| (mdp.next()[j] as usize, Real::to_f64(mdp.prob()[j]))).collect()
    };
    Lists {
        reward: (0..mdp.num_states())
            .map(|s| mdp.pairs(s).map(|pair| mdp.reward()[pair]).collect())
            .collect(),
        next: (0..mdp.num_states()).map(|s| mdp.pairs(s).map(next).collect()).collect(),
    }
}

/// The stored process with rows that sum to 1 where nothing ends the episode.
fn rescaled(rows: &[Vec<Vec<Outcome>>], own: &Lists) -> Lists {
    let mut meant = own.clone();
    for (given, stored) in rows.iter().flatten().zip(meant.next.iter_mut().flatten()) {
        if given.iter().all(|o| !o.terminated) {
            let sum: f64 = stored.iter().map(|(_, p)| p).sum();
            stored.iter_mut().for_each(|(_, p)| *p /= sum);
        }
    }
    meant
}

fn sup(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

/// What elimination may be off by, generously.
fn slack(gamma: f64, scale: f64) -> f64 {
    1e-12 * scale.max(1.0) / (1.0 - gamma)
}

/// Adds by how much `value` is further from `truth` than `bound`, in units of what elimination may be off by; compare with
/// [`TOL_STAT`].
fn within(worst: &mut Worst, value: &[f64], truth: &[f64], bound: f64, gamma: f64) {
    assert_eq!(value.len(), truth.len(), "as many values as states");
    worst.holds(bound >= 0.0);
    for (v, t) in value.iter().zip(truth) {
        let excess = (v - t).abs() - bound;
        worst.add(if excess <= 0.0 { 0.0 } else { excess / slack(gamma, sup(truth)) });
    }
}

impl Sparse {
    fn options<P: Real>(&self) -> Options {
        // Stored in single precision, rows sum to 1 only within some 1e-7, which sets a floor to what can be proven.
        let floor = if size_of::<P>() == 4 { 1e-5 / (1.0 - self.gamma) } else { 0.0 };
        let most = 2.0 / (1.0 - self.gamma);
        Options { tol: most * (10f64.powf(self.digits) + floor), ..Options::new(self.gamma) }
    }
}

/// The solver's values are within its bound of the truth, its bound is within the tolerance, and values, action values and policy
/// belong together.
fn error_bound<P: Real>(case: &Sparse, solve: Solve<P>) -> Measured {
    let mdp: Mdp<P> = build(&case.rows);
    let options = case.options::<P>();
    let solution = solve(&mdp, &options).map_err(|e| e.to_string())?;
    let own = stored(&mdp);
    let best = own.optimal_value(case.gamma);
    let mut worst = Worst::new();
    within(&mut worst, &solution.value, &best, solution.error_bound, case.gamma);
    worst.holds(solution.error_bound <= options.tol);
    worst.holds(solution.sweeps > 0.0 && solution.residual >= 0.0);
    // What the stored rows stand for: the rows as they were given, or, where rounding to single precision moved their sums, rows
    // that sum to 1 again.
    let meant = if size_of::<P>() == 8 { lists(&case.rows) } else { rescaled(&case.rows, &own) };
    within(&mut worst, &solution.value, &meant.optimal_value(case.gamma), solution.error_bound, case.gamma);
    consistent(&mut worst, &own, &mdp, &solution, &best, case.gamma)?;
    worst.done()
}

fn consistent<P: Real>(
    worst: &mut Worst,
    own: &Lists,
    mdp: &Mdp<P>,
    solution: &Solution,
    best: &[f64],
    gamma: f64,
) -> Result<(), String> {
    let slack = slack(gamma, sup(best));
    for s in 0..mdp.num_states() {
        let q = &solution.q[mdp.pairs(s)];
        let largest = q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = q.iter().position(|&x| x == largest);
        require(first == Some(solution.policy[s] as usize), || {
            format!("action {} of {q:?} in state {s}", solution.policy[s])
        })?;
        require(solution.value[s] == largest, || {
            format!("{} is not the largest of {q:?}", solution.value[s])
        })?;
        // The bound is one on every action value, not only on the largest.
        for (a, q) in q.iter().enumerate() {
            let off = (q - own.q(s, a, gamma, best)).abs() - solution.error_bound;
            worst.add(if off <= 0.0 { 0.0 } else { off / slack });
        }
    }
    Ok(())
}

// dp.policy-iteration

/// A policy that is at least as good as `pi` for one step, whatever it mixes, is at least as good for ever.
fn improvement(((mdp, policy), share): ((Dense, Array2<f64>), f64)) -> Measured {
    let v = policy_value(&mdp, &policy);
    let mut choice = vec![0; mdp.states()];
    bellman::greedy_v(&mdp.p, &mdp.r, mdp.gamma, &v, &mut choice);
    let mixed = deterministic(&choice, mdp.actions()) * share + &policy * (1.0 - share);
    let scale = sup(&v).max(1.0) / (1.0 - mdp.gamma);
    let mut worst = Worst::new();
    for (old, new) in v.iter().zip(policy_value(&mdp, &mixed)) {
        worst.at_most(old / scale, new / scale);
    }
    worst.done()
}

fn dense_rows(mdp: &Dense) -> Vec<Vec<Vec<Outcome>>> {
    let outcome = |s: usize, a: usize, k: usize| Outcome {
        prob: mdp.p[[s, a, k]],
        next: k as u32,
        reward: mdp.r[[s, a, k]],
        terminated: false,
    };
    let row = |s, a| (0..mdp.states()).map(|k| outcome(s, a, k)).collect();
    (0..mdp.states()).map(|s| (0..mdp.actions()).map(|a| row(s, a)).collect()).collect()
}

/// The policy that comes out is the best of all, and the rounds are no more than there are policies.
fn iteration(mdp: Dense) -> Measured {
    let sparse: Mdp<f64> = build(&dense_rows(&mdp));
    let policies = mdp.actions().pow(mdp.states() as u32) as u64;
    let options =
        Options { tol: 1e-9 / (1.0 - mdp.gamma), max_iterations: policies + 1, ..Options::new(mdp.gamma) };
    let solution = policy_iteration(&sparse, &options).map_err(|e| e.to_string())?;
    let choice: Vec<usize> = solution.policy.iter().map(|&a| a as usize).collect();
    let best = best_stationary(&mdp);
    let mut worst = Worst::new();
    super::bellman::all_solved(&mut worst, &solution.value, &best, mdp.gamma);
    let of_choice = policy_value(&mdp, &deterministic(&choice, mdp.actions()));
    super::bellman::all_solved(&mut worst, &of_choice, &best, mdp.gamma);
    // The equation of the optimum holds at the end.
    super::bellman::all_solved(
        &mut worst,
        &super::bellman::best_backup(&mdp, &solution.value),
        &solution.value,
        mdp.gamma,
    );
    worst.done()
}

/// Where actions are equally good, rounds end all the same: a handful of them is enough.
fn ties() -> Measured {
    let few = |gamma: f64| Options { tol: 1e-10 / (1.0 - gamma), max_iterations: 30, ..Options::new(gamma) };
    let methods: [Solve<f64>; 3] = [policy_iteration, modified_many, inexact_policy_iteration];
    // Two copies of one action.
    let copies = vec![vec![
        vec![Outcome { prob: 1.0, next: 0, reward: 0.1, terminated: false }],
        vec![Outcome { prob: 1.0, next: 0, reward: 0.1, terminated: false }],
    ]];
    for solve in methods {
        let solution = solve(&build(&copies), &few(0.9)).map_err(|e| format!("two copies: {e}"))?;
        require((solution.value[0] - 1.0).abs() < 1e-9, || format!("{} instead of 1", solution.value[0]))?;
        for id in ["FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v3", "CliffWalking-v1", "GridWorld-v0"] {
            let mdp = Mdp::<f64>::from_table(&finite_table(id).ok_or("no table")?);
            for gamma in [0.9, 0.99] {
                solve(&mdp, &few(gamma)).map_err(|e| format!("{id} at gamma {gamma}: {e}"))?;
            }
        }
    }
    Ok(0.0)
}

/// Modified policy iteration has more rounds than the exact one, as its evaluation is not exact.
fn modified_many(mdp: &Mdp<f64>, options: &Options) -> Result<Solution, SolveError> {
    modified_policy_iteration(mdp, &Options { max_iterations: 3000, ..*options })
}

// dp.finite-horizon-vi

/// Two states, two actions, at most three decisions, with gamma up to 1.
fn horizons() -> impl Strategy<Value = (Dense, usize)> + Clone + Send + Sync {
    (mdp_of(2..=2, 2..=2, unit()), 1..=3usize)
}

fn finite((mdp, horizon): (Dense, usize)) -> Measured {
    let sparse: Mdp<f64> = build(&dense_rows(&mdp));
    let solution = finite_horizon(&sparse, horizon, mdp.gamma, 1).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    for k in 0..=horizon {
        worst.all(solution.value.row(k), &best_finite_horizon(&mdp, k));
    }
    worst.done()
}

/// Longer horizons: against plain recursion, and the policies earn what the values say.
fn finite_sparse((case, horizon): (Sparse, usize)) -> Measured {
    let own = lists(&case.rows);
    let mdp: Mdp<f64> = build(&case.rows);
    let solution = finite_horizon(&mdp, horizon, case.gamma, 2).map_err(|e| e.to_string())?;
    let states = case.rows.len();
    let (mut v, mut followed) = (vec![0.0; states], vec![0.0; states]);
    let mut worst = Worst::new();
    for k in 0..horizon {
        worst.all(solution.value.row(k), &v);
        let best = |s: usize| {
            (0..own.reward[s].len()).map(|a| own.q(s, a, case.gamma, &v)).fold(f64::NEG_INFINITY, f64::max)
        };
        followed =
            (0..states).map(|s| own.q(s, solution.policy[[k, s]] as usize, case.gamma, &followed)).collect();
        v = (0..states).map(best).collect();
        worst.all(&followed, &v);
    }
    worst.all(solution.value.row(horizon), &v);
    worst.done()
}

fn finite_closed() -> Measured {
    let sure = |next: u32, reward: f64| vec![Outcome { prob: 1.0, next, reward, terminated: false }];
    // A reward of 1 at every step: k decisions earn k, not k + 1.
    let one: Mdp<f64> = build(&[vec![sure(0, 1.0)]]);
    let solution = finite_horizon(&one, 4, 1.0, 1).map_err(|e| e.to_string())?;
    let earned = solution.value.column(0).to_vec();
    require(earned == [0.0, 1.0, 2.0, 3.0, 4.0], || format!("{earned:?} instead of 0, 1, 2, 3, 4"))?;
    // 1 now, or move (paying nothing) to where 5 can be had: with one decision left take the 1, with two move.
    let rows = vec![vec![sure(0, 1.0), sure(1, 0.0)], vec![sure(1, 5.0)]];
    let solution = finite_horizon(&build::<f64>(&rows), 2, 1.0, 1).map_err(|e| e.to_string())?;
    let choice = solution.policy.column(0).to_vec();
    require(choice == [0, 1], || format!("{choice:?} instead of 0, 1"))?;
    // A sweep in place would see 5 one step early.
    require(solution.value[[1, 0]] == 1.0 && solution.value[[2, 0]] == 5.0, || {
        format!("{}", solution.value)
    })?;
    require(finite_horizon(&one, 0, 1.0, 1).is_err(), || "a horizon of 0 is accepted".to_owned())?;
    require(finite_horizon(&one, 1, 1.5, 1).is_err(), || "gamma 1.5 is accepted".to_owned())?;
    Ok(0.0)
}

// rtdp

/// The bound of real-time dynamic programming is on the mean value of the start.
fn trials(case: Sparse) -> Measured {
    let mdp: Mdp<f64> = build(&case.rows);
    let options = Options { tol: case.options::<f64>().tol.max(1e-4), ..case.options::<f64>() };
    let solution = rtdp(&mdp, &case.start, &options, 7).map_err(|e| e.to_string())?;
    let best = lists(&case.rows).optimal_value(case.gamma);
    let mean = |v: &[f64]| case.start.iter().zip(v).map(|(p, v)| p * v).sum::<f64>();
    let excess = (mean(&solution.value) - mean(&best)).abs() - solution.error_bound;
    let mut worst = Worst::new();
    worst.holds(solution.error_bound <= options.tol);
    worst.add(if excess <= 0.0 { 0.0 } else { excess / slack(case.gamma, sup(&best)) });
    worst.done()
}

fn coverage_closed() -> Measured {
    let outcome =
        |next: u32, reward: f64, terminated: bool| vec![Outcome { prob: 1.0, next, reward, terminated }];
    // In s0 the first action pays 0.1 and ends, the second pays nothing and leads to s1, which pays 1 and ends.
    let rows = vec![vec![outcome(0, 0.1, true), outcome(1, 0.0, false)], vec![outcome(0, 1.0, true)]];
    let mdp: Mdp<f64> = build(&rows);
    let run = |start: f64, explore: bool| {
        let mut rng = Stream::new(3, "coverage", 0);
        let mut value = [start; 2];
        for k in 0..1000 {
            if explore && k % 10 == 9 {
                trial(&mdp, &mut value, 1, 0.9, 100, &mut rng);
            }
            trial(&mdp, &mut value, 0, 0.9, 100, &mut rng);
        }
        value[0]
    };
    for (start, explore, worth) in [(0.0, false, 0.1), (2.0, false, 0.9), (0.0, true, 0.9)] {
        let v = run(start, explore);
        require(v == worth, || format!("{v} instead of {worth} from {start}, exploring: {explore}"))?;
    }
    let options = Options { tol: 1e-6, ..Options::new(0.9) };
    let solution = rtdp(&mdp, &[1.0, 0.0], &options, 1).map_err(|e| e.to_string())?;
    require((solution.value[0] - 0.9).abs() <= 1e-6, || format!("{} instead of 0.9", solution.value[0]))?;
    Ok(0.0)
}

// Evaluation

/// A process, one of its actions per state, and a random policy.
fn evaluations() -> impl Strategy<Value = (Sparse, Vec<usize>, Array2<f64>)> + Clone + Send + Sync {
    (sparse(), vec(0..840usize, 8), policy(8, 8))
}

fn direct_evaluation((case, choice, _): (Sparse, Vec<usize>, Array2<f64>)) -> Measured {
    let choice: Vec<usize> = case.rows.iter().zip(&choice).map(|(rows, c)| c % rows.len()).collect();
    let actions: Vec<u32> = choice.iter().map(|&a| a as u32).collect();
    let exact = lists(&case.rows).policy_value(&choice, case.gamma);
    let options = case.options::<f64>();
    let direct = evaluate_direct(&build::<f64>(&case.rows), &actions, &options).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    within(&mut worst, &direct.value, &exact, direct.error_bound, case.gamma);
    // Elimination is exact up to rounding, whatever it claims.
    within(&mut worst, &direct.value, &exact, 10.0 * slack(case.gamma, sup(&exact)), case.gamma);
    worst.holds(direct.error_bound <= options.tol);
    worst.done()
}

fn iterative_evaluation((case, choice, policy): (Sparse, Vec<usize>, Array2<f64>)) -> Measured {
    let own = lists(&case.rows);
    let mdp: Mdp<f64> = build(&case.rows);
    let options = case.options::<f64>();
    let choice: Vec<usize> = case.rows.iter().zip(&choice).map(|(rows, c)| c % rows.len()).collect();
    let actions: Vec<u32> = choice.iter().map(|&a| a as u32).collect();
    let swept = evaluate(&mdp, &actions, &options).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    let exact = own.policy_value(&choice, case.gamma);
    within(&mut worst, &swept.value, &exact, swept.error_bound, case.gamma);
    worst.holds(swept.error_bound <= options.tol);
    // A random policy: one action that mixes all of them.
    let (probs, mixed) = mix(&case, &own, &policy);
    let swept = evaluate_stochastic(&mdp, &probs, &options).map_err(|e| e.to_string())?;
    let exact = mixed.policy_value(&vec![0; case.rows.len()], case.gamma);
    within(&mut worst, &swept.value, &exact, swept.error_bound, case.gamma);
    worst.done()
}

/// Probabilities of all pairs from the rows of `policy`, and the process with the one action that follows them.
fn mix(case: &Sparse, own: &Lists, policy: &Array2<f64>) -> (Vec<f64>, Lists) {
    let mut probs = Vec::new();
    let mut mixed = Lists { reward: Vec::new(), next: Vec::new() };
    for (s, rows) in case.rows.iter().enumerate() {
        let sum: f64 = (0..rows.len()).map(|a| policy[[s, a]]).sum();
        let (mut reward, mut next) = (0.0, Vec::new());
        for a in 0..rows.len() {
            let pi = policy[[s, a]] / sum;
            probs.push(pi);
            reward += pi * own.reward[s][a];
            next.extend(own.next[s][a].iter().map(|&(k, p)| (k, pi * p)));
        }
        mixed.reward.push(vec![reward]);
        mixed.next.push(vec![next]);
    }
    (probs, mixed)
}

// Soft values

/// The soft optimal values, by plain sweeps until nothing moves.
fn soft_optimum(own: &Lists, gamma: f64, eta: f64) -> Vec<f64> {
    let mut v = vec![0.0; own.reward.len()];
    for _ in 0..super::bellman::until_rounding(gamma) {
        v = (0..v.len())
            .map(|s| {
                let q: Vec<f64> = (0..own.reward[s].len()).map(|a| own.q(s, a, gamma, &v)).collect();
                let max = q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                max + eta * q.iter().map(|q| ((q - max) / eta).exp()).sum::<f64>().ln()
            })
            .collect();
    }
    v
}

fn soft_values((case, u): (Sparse, f64)) -> Measured {
    soft_error_bound(&case, u, soft_value_iteration)
}

fn soft_policies((case, u): (Sparse, f64)) -> Measured {
    soft_error_bound(&case, u, soft_policy_iteration)
}

fn soft_error_bound(
    case: &Sparse,
    u: f64,
    solve: fn(&Mdp<f64>, f64, &Options) -> Result<rederive_tabular::SoftSolution, SolveError>,
) -> Measured {
    let eta = 0.05 * 40f64.powf(u);
    let mdp: Mdp<f64> = build(&case.rows);
    let options = case.options::<f64>();
    let solution = solve(&mdp, eta, &options).map_err(|e| e.to_string())?;
    let own = lists(&case.rows);
    let best = soft_optimum(&own, case.gamma, eta);
    let mut worst = Worst::new();
    within(&mut worst, &solution.value, &best, solution.error_bound, case.gamma);
    worst.holds(solution.error_bound <= options.tol);
    for s in 0..mdp.num_states() {
        // The policy is the softmax of the action values.
        let q = &solution.q[mdp.pairs(s)];
        let mut expected = vec![f64::NAN; q.len()];
        maxent::soft_policy(q, eta, &mut expected);
        for (pi, expected) in solution.policy[mdp.pairs(s)].iter().zip(&expected) {
            worst.add((pi - expected).abs() / 1e-9);
        }
        for (a, q) in q.iter().enumerate() {
            let off = (q - own.q(s, a, case.gamma, &solution.value)).abs();
            let excess = off - 2.0 * case.gamma * solution.error_bound;
            worst.add(if excess <= 0.0 { 0.0 } else { excess / slack(case.gamma, sup(&best)) });
        }
    }
    worst.done()
}

// No discount

/// A process whose episodes end: states lead to later ones only, and the last one ends whatever is done.
fn ending() -> impl Strategy<Value = (Sparse, Vec<f64>)> + Clone + Send + Sync {
    (sparse(), normals(8)).prop_map(|(mut case, extra)| {
        let last = case.rows.len() - 1;
        for (s, state) in case.rows.iter_mut().enumerate() {
            for outcome in state.iter_mut().flatten() {
                if s == last {
                    outcome.terminated = true;
                } else if !outcome.terminated {
                    outcome.next = outcome.next.max(s as u32 + 1);
                }
            }
        }
        case.gamma = 1.0;
        (case, extra)
    })
}

fn undiscounted((case, _): (Sparse, Vec<f64>)) -> Measured {
    let mdp: Mdp<f64> = build(&case.rows);
    let own = lists(&case.rows);
    let best = own.optimal_value(1.0);
    let mut worst = Worst::new();
    let options = Options { tol: 10f64.powf(case.digits), ..Options::new(1.0) };
    for row in SOLVERS {
        let solution = (row.solve)(&mdp, &options).map_err(|e| format!("{}: {e}", row.property))?;
        // As many steps as states: elimination loses next to nothing.
        within(&mut worst, &solution.value, &best, solution.error_bound, 0.9);
        worst.holds(solution.error_bound <= options.tol);
    }
    worst.done()
}

/// Without a discount, a process that can go on for ever has no bound and is refused; so is a discount above 1.
fn never_ends() -> Measured {
    let stay = Outcome { prob: 1.0, next: 0, reward: 0.0, terminated: false };
    let leave = Outcome { prob: 1.0, next: 0, reward: 1.0, terminated: true };
    let mdp: Mdp<f64> = build(&[vec![vec![leave], vec![stay]]]);
    for Row { property, solve, .. } in SOLVERS {
        let verdict = solve(&mdp, &Options::new(1.0));
        let refused = matches!(verdict, Err(SolveError::NeverEnds { state: 0, action: 1 }));
        require(refused, || format!("{property}: {verdict:?}"))?;
        for gamma in [-0.1, 1.1, f64::NAN] {
            let verdict = solve(&mdp, &Options::new(gamma));
            require(matches!(verdict, Err(SolveError::Config(_))), || {
                format!("{property}, {gamma}: {verdict:?}")
            })?;
        }
        let verdict = solve(&mdp, &Options { tol: 0.0, ..Options::new(0.9) });
        require(matches!(verdict, Err(SolveError::Config(_))), || format!("{property}, tol 0: {verdict:?}"))?;
    }
    Ok(0.0)
}

// Value iteration

fn threads(case: Sparse) -> Measured {
    let mdp: Mdp<f64> = build(&case.rows);
    let options = case.options::<f64>();
    let one = value_iteration(&mdp, &options).map_err(|e| e.to_string())?;
    for threads in [2, 3] {
        let many = value_iteration(&mdp, &Options { threads, ..options }).map_err(|e| e.to_string())?;
        require(one == many, || format!("{threads} threads give another solution"))?;
    }
    Ok(0.0)
}

/// Stopping by the span is sound only together with the shift: without it, values that all miss the same constant would pass.
fn span_stop() -> Measured {
    let mut worst = Worst::new();
    // One state that pays 1 for ever, gamma 0.999: the span is 0 at once, and the value is 1000, not 1 or 2.
    let pay = vec![vec![vec![Outcome { prob: 1.0, next: 0, reward: 1.0, terminated: false }]]];
    let options = Options { tol: 1e-6, ..Options::new(0.999) };
    let solution = value_iteration(&build::<f64>(&pay), &options).map_err(|e| e.to_string())?;
    worst.printed(solution.value[0], 1000.0, 6).holds(solution.iterations <= 5);
    // 30 states that all lead anywhere: a few sweeps, every value right.
    let mut rng = Stream::new(11, "span", 0);
    let rows: Vec<Vec<Vec<Outcome>>> = (0..30)
        .map(|_| {
            let mut row = || -> Vec<Outcome> {
                let weights: Vec<f64> = (0..30).map(|_| rng.unit()).collect();
                let sum: f64 = weights.iter().sum();
                let outcome = |(k, w): (usize, f64), reward| Outcome {
                    prob: w / sum,
                    next: k as u32,
                    reward,
                    terminated: false,
                };
                weights.into_iter().enumerate().map(|kw| outcome(kw, rng.unit())).collect()
            };
            (0..3).map(|_| row()).collect()
        })
        .collect();
    let solution = value_iteration(&build::<f64>(&rows), &options).map_err(|e| e.to_string())?;
    within(&mut worst, &solution.value, &lists(&rows).optimal_value(0.999), options.tol, 0.999);
    // By the change alone it would take some 16 000 sweeps.
    worst.holds(solution.iterations < 30);
    worst.done()
}

// Environments

/// Every solver on an environment's exact table, against policy iteration with elimination.
fn environment(id: &str) -> Measured {
    let table = finite_table(id).ok_or_else(|| format!("no table of {id}"))?;
    let (states, actions) = (table.num_states(), table.num_actions());
    let rows: Vec<Vec<Vec<Outcome>>> =
        (0..states).map(|s| (0..actions).map(|a| table.row(s, a).to_vec()).collect()).collect();
    let mdp = Mdp::<f64>::from_table(&table);
    let gamma = 0.99;
    let best = lists(&rows).optimal_value(gamma);
    let options = Options { tol: 2e-10, ..Options::new(gamma) };
    let mut worst = Worst::new();
    for row in SOLVERS {
        let solution = (row.solve)(&mdp, &options).map_err(|e| format!("{}: {e}", row.property))?;
        for (v, b) in solution.value.iter().zip(&best) {
            worst.add((v - b).abs());
        }
        let chosen: Vec<usize> = solution.policy.iter().map(|&a| a as usize).collect();
        let own = lists(&rows);
        // One look ahead with the chosen action attains the optimum.
        for s in 0..states {
            worst.add((own.q(s, chosen[s], gamma, &best) - best[s]).abs());
        }
    }
    worst.done()
}

//! What all solvers share: the same optimum, bounds that hold, one result at any number of threads, and errors that say what to do.

use rederive_env::generate::{cycle, random};
use rederive_env::{Mdp, Outcome, finite_table};
use rederive_tabular::*;

type Solver = fn(&Mdp<f64>, &Options) -> Result<Solution, SolveError>;

const SOLVERS: [(&str, Solver); 8] = [
    ("value iteration", value_iteration),
    ("Q-value iteration", q_value_iteration),
    ("Gauss-Seidel", gauss_seidel),
    ("prioritized sweeping", prioritized_sweeping),
    ("policy iteration", policy_iteration),
    ("modified policy iteration", modified_policy_iteration),
    ("inexact policy iteration", inexact_policy_iteration),
    ("solve", solve),
];

fn table(id: &str) -> Mdp<f64> {
    Mdp::from_table(&finite_table(id).expect("a finite environment"))
}

/// A corridor of `n` cells in which every action may fall asleep, and all lead to the end.
fn proper(n: u32) -> Mdp<f64> {
    let mut builder = Mdp::builder(n as usize);
    for s in 0..n {
        for sleep in [0.5, 0.9] {
            let next = (s + 1).min(n - 1);
            let awake = Outcome { prob: 1.0 - sleep, next, reward: -1.0, terminated: s + 1 == n };
            let asleep = Outcome { prob: sleep, next: s, reward: -1.0 + sleep, terminated: false };
            builder.action(&[awake, asleep]).unwrap();
        }
        builder.end_state().unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn all_solvers_agree_within_their_bounds() {
    for id in ["FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v3", "CliffWalking-v1", "GridWorld-v0"] {
        let mdp = table(id);
        for gamma in [0.0, 0.6, 0.99] {
            let options = Options { tol: 1e-10, ..Options::new(gamma) };
            let reference = value_iteration(&mdp, &options).unwrap();
            for (name, solver) in SOLVERS {
                let solution = solver(&mdp, &options).unwrap();
                assert!(solution.error_bound <= 1e-10, "{name} on {id}, gamma {gamma}");
                for (a, b) in solution.value.iter().zip(&reference.value) {
                    assert!((a - b).abs() <= 2e-10, "{name} on {id}, gamma {gamma}: {a} against {b}");
                }
                for s in 0..mdp.num_states() {
                    let row = &solution.q[mdp.pairs(s)];
                    let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    assert_eq!(solution.value[s], best, "{name} on {id}");
                    assert_eq!(row.iter().position(|&q| q == best), Some(solution.policy[s] as usize));
                }
            }
        }
    }
}

#[test]
fn without_a_discount_a_process_has_to_end() {
    // From cell s there are 10 - s steps of 2 tries each, at a mean reward of -1 * 0.5 + -0.5 * 0.5 a try; sleeping more often costs
    // -1 * 0.1 + -0.1 * 0.9 a try, ten times per cell.
    let mdp = proper(10);
    for (name, solver) in SOLVERS {
        let solution = solver(&mdp, &Options::new(1.0)).unwrap();
        for s in 0..10 {
            let value = -0.75 * 2.0 * (10 - s) as f64;
            assert!((solution.value[s] - value).abs() <= solution.error_bound, "{name}, cell {s}");
        }
        assert!(solution.error_bound <= 1e-6);
    }
    let longest = longest_episode(&mdp).unwrap();
    assert!((100.0..102.0).contains(&longest), "{longest}");
    let error = solve(&table("CliffWalking-v1"), &Options::new(1.0)).unwrap_err();
    assert!(
        matches!(error, SolveError::NeverEnds { .. }) && error.to_string().contains("gamma = 1"),
        "{error}"
    );
}

#[test]
fn threads_change_no_bit() {
    let mdp = random::<f64>([20_000, 4, 5], 3, 1);
    let odd = Options { tol: 1e-7, ..Options::new(0.97) };
    for (name, solver) in SOLVERS.into_iter().filter(|(name, _)| *name != "prioritized sweeping") {
        let one = solver(&mdp, &odd).unwrap();
        for threads in [2, 3] {
            let many = solver(&mdp, &Options { threads, ..odd }).unwrap();
            assert!(one == many, "{name} on {threads} threads");
        }
    }
}

#[test]
fn single_precision_knows_its_limit() {
    let mut builder = Mdp::<f32>::builder(2);
    for _ in 0..2 {
        let thirds = [0, 1, 1].map(|next| Outcome { prob: 1.0 / 3.0, next, reward: 1.0, terminated: false });
        builder.action(&thirds).unwrap();
        builder.end_state().unwrap();
    }
    let mdp = builder.finish().unwrap();
    let error = value_iteration(&mdp, &Options { tol: 1e-9, ..Options::new(0.99) }).unwrap_err().to_string();
    assert!(error.starts_with("tol = 1e-9: must be above") && error.contains("f32"), "{error}");
    let solution = value_iteration(&mdp, &Options { tol: 1e-2, ..Options::new(0.99) }).unwrap();
    assert!((solution.value[0] - 100.0).abs() <= solution.error_bound);
}

#[test]
fn options_out_of_range_are_named() {
    let mdp = table("FrozenLake-v1");
    let options = Options::new(0.9);
    let say = |options: Options| solve(&mdp, &options).unwrap_err().to_string();
    assert_eq!(say(Options { gamma: 1.5, ..options }), "gamma = 1.5: must be in [0, 1]");
    assert_eq!(say(Options { gamma: f64::NAN, ..options }), "gamma = NaN: must be in [0, 1]");
    assert_eq!(say(Options { tol: 0.0, ..options }), "tol = 0: must be a finite number above 0");
    assert_eq!(say(Options { threads: 0, ..options }), "threads = 0: must be in 1..=1024");
    assert_eq!(say(Options { max_iterations: 0, ..options }), "max_iterations = 0: must be 1 or more");
    assert!(say(Options { max_iterations: 1, ..options }).starts_with("after max_iterations = 1 the error"));
    assert!(say(Options { tol: 1e-18, ..options }).contains("rounding in f64"));
    let error = soft_value_iteration(&mdp, 0.0, &options).unwrap_err().to_string();
    assert_eq!(error, "temperature = 0: must be a finite number above 0");
    assert_eq!(finite_horizon(&mdp, 0, 0.9, 1).unwrap_err().to_string(), "horizon = 0: must be 1 or more");
    let error = evaluate(&mdp, &[4; 16], &options).unwrap_err().to_string();
    assert_eq!(error, "policy = action 4 in state 0: must be in 0..=3");
    let error = rtdp(&mdp, &[0.0; 16], &options, 1).unwrap_err().to_string();
    assert_eq!(error, "start = a sum of 0: must be probabilities that sum to 1");
}

#[test]
fn huge_rewards_are_refused() {
    let mut builder = Mdp::<f64>::builder(1);
    builder.action(&[Outcome { prob: 1.0, next: 0, reward: 1e308, terminated: false }]).unwrap();
    builder.end_state().unwrap();
    let mdp = builder.finish().unwrap();
    for (name, solver) in SOLVERS {
        let error = solver(&mdp, &Options::new(0.99)).unwrap_err().to_string();
        assert!(error.contains("reward") || error.contains("tol"), "{name}: {error}");
    }
}

#[test]
fn evaluation_by_sweeps_and_by_elimination_agree() {
    let mdp = random::<f64>([300, 3, 4], 5, 1);
    let options = Options { tol: 1e-10, ..Options::new(0.95) };
    let policy: Vec<u32> = (0..300).map(|s| s % 3).collect();
    let sweeps = evaluate(&mdp, &policy, &options).unwrap();
    let direct = evaluate_direct(&mdp, &policy, &options).unwrap();
    let mut probs = vec![0.0; mdp.num_pairs()];
    for s in 0..300 {
        probs[mdp.pairs(s).start + policy[s] as usize] = 1.0;
    }
    let mixed = evaluate_stochastic(&mdp, &probs, &options).unwrap();
    for s in 0..300 {
        assert!((sweeps.value[s] - direct.value[s]).abs() <= 2e-10);
        assert!((mixed.value[s] - direct.value[s]).abs() <= 2e-10);
    }
}

#[test]
fn krylov_evaluation_saves_work_on_a_process_that_nearly_goes_in_cycles() {
    let mdp = cycle::<f64>([2_000, 4, 4], 10, 1e-3, 1, 1);
    let options = Options { tol: 1e-3, ..Options::new(0.9999) };
    let krylov = inexact_policy_iteration(&mdp, &options).unwrap();
    let sweeps = value_iteration(&mdp, &options).unwrap();
    assert!(sweeps.sweeps >= 20.0 * krylov.sweeps, "{} against {}", sweeps.sweeps, krylov.sweeps);
}

#[test]
fn trials_bound_the_value_of_the_start() {
    for id in ["FrozenLake-v1", "GridWorld-v0", "CliffWalking-v1"] {
        let table = finite_table(id).expect("a finite environment");
        let mdp = Mdp::<f64>::from_table(&table);
        let options = Options::new(0.95);
        let exact = policy_iteration(&mdp, &options).unwrap();
        let trials = rtdp(&mdp, table.start(), &options, 7).unwrap();
        let mean = |value: &[f64]| table.start().iter().zip(value).map(|(p, v)| p * v).sum::<f64>();
        let error = (mean(&trials.value) - mean(&exact.value)).abs();
        assert!(
            error <= trials.error_bound + exact.error_bound && trials.error_bound <= 1e-6,
            "{id}: {error}"
        );
    }
}

#[test]
fn soft_solvers_agree() {
    let mdp = table("FrozenLake-v1");
    for temperature in [0.01, 0.5, 3.0] {
        let options = Options { tol: 1e-9, ..Options::new(0.95) };
        let a = soft_value_iteration(&mdp, temperature, &options).unwrap();
        let b = soft_policy_iteration(&mdp, temperature, &options).unwrap();
        assert!(a.value.iter().zip(&b.value).all(|(a, b)| (a - b).abs() <= 2e-9));
        for s in 0..16 {
            let row = &a.policy[mdp.pairs(s)];
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}

use crate::generators::{Mdp, gamma, mdp_of, normals, unit};
use crate::measure::{TOL_STAT, Worst, require};
use crate::{Check, Measured, fixed, random};
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rederive_env::{
    Finite, FiniteModel, FiniteTable, Outcome, SyncVec, finite_table, make_vec, scene::Scene,
};
use rederive_math::{End, returns};
use rederive_q_learning::{Config, Method, QLearning, Trace};
use rederive_train::{EpisodeLog, Learner, Report};
use std::sync::Arc;

/// Whether the agents with tables do what the equations say.
pub fn checks() -> Vec<Check> {
    vec![
        fixed("qlearn.convergence", "frozen-lake", TOL_STAT, frozen_lake),
        // One case takes a million steps.
        random("qlearn.convergence", "agent", TOL_STAT, process(), optimal_values).at_most(4),
        random("sarsa.fixed-point", "agents", TOL_STAT, process(), soft_values).at_most(4),
        fixed("qlearn.max-bias", "agents", TOL_STAT, less_biased),
        random("td.nstep", "agent", AGENT, (corridor(), 1..=12usize), n_step_agent),
        random("gae.lambda-return", "agent", AGENT, (corridor(), unit()), forward_view),
        random("return.recursion", "agent", AGENT, corridor(), whole_returns),
    ]
}

/// Tables are 32 bits wide.
const AGENT: f64 = 1e-5;

/// A process as an environment.
struct Table(FiniteTable);

impl FiniteModel for Table {
    fn table(&self) -> &FiniteTable {
        &self.0
    }

    fn scene(&self, _: u32) -> Scene {
        Scene::new([0.0, 0.0, 1.0, 1.0])
    }
}

/// Learns for so many iterations and returns the table.
struct Run {
    agent: QLearning,
    env: Box<dyn rederive_env::VecEnv>,
    log: EpisodeLog,
}

impl Run {
    fn new(
        method: Method,
        config: Config,
        env: Box<dyn rederive_env::VecEnv>,
        seed: u64,
    ) -> Result<Self, String> {
        let log = EpisodeLog::new(config.num_envs);
        let agent = QLearning::new(method, config, env.as_ref(), seed).map_err(|e| e.to_string())?;
        let mut run = Run { agent, env, log };
        run.env.reset(seed);
        Ok(run)
    }

    fn learn(&mut self, iterations: usize) -> Result<&QLearning, String> {
        let mut report = Report::default();
        for _ in 0..iterations {
            let learnt = self.agent.iterate(self.env.as_mut(), 0.0, &mut self.log, &mut report);
            learnt.map_err(|e| e.to_string())?;
            self.log.drain().for_each(drop);
        }
        Ok(&self.agent)
    }
}

fn env(table: &FiniteTable, max_steps: Option<u32>) -> Box<dyn rederive_env::VecEnv> {
    let env = Finite::new(Arc::new(Table(table.clone())), max_steps);
    Box::new(SyncVec::new("process", vec![env]))
}

fn widen(q: ndarray::ArrayView2<'_, f32>) -> Array2<f64> {
    q.mapv(f64::from)
}

/// What the policy makes of a row of values.
type Follow = dyn Fn(&[f64]) -> f64;

/// The fixed point of `r + gamma (1 - terminated) follow(Q(s', .))`, from a process's own outcomes.
fn fixed_point(table: &FiniteTable, gamma: f64, follow: &Follow) -> Array2<f64> {
    let mut q = Array2::zeros((table.num_states(), table.num_actions()));
    for _ in 0..3000 {
        let value: Vec<f64> = q.rows().into_iter().map(|row| follow(&row.to_vec())).collect();
        q = Array2::from_shape_fn(q.dim(), |(s, a)| {
            let outcome = |o: &Outcome| {
                let after = if o.terminated { 0.0 } else { value[o.next as usize] };
                o.prob * (o.reward + gamma * after)
            };
            table.row(s, a).iter().map(outcome).sum()
        });
    }
    q
}

fn largest(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn soft(row: &[f64], epsilon: f64) -> f64 {
    (1.0 - epsilon) * largest(row) + epsilon * row.iter().sum::<f64>() / row.len() as f64
}

/// The largest difference over states in which an episode can be, terminal ones left out.
fn distance(table: &FiniteTable, left: &Array2<f64>, right: &Array2<f64>) -> f64 {
    let mut worst = Worst::new();
    for ((s, a), &x) in left.indexed_iter() {
        if table.row(s, a).iter().any(|o| !(o.terminated && o.next as usize == s)) {
            worst.add((x - right[[s, a]]).abs());
        }
    }
    worst.error()
}

fn frozen_lake(seed: u64) -> Measured {
    let table = finite_table("FrozenLake-v1").ok_or("no such environment")?;
    let config = Config { gamma: 0.9, epsilon: 1.0, alpha: 1.0, alpha_power: 0.7, ..Config::default() };
    let env = make_vec("FrozenLake-v1", 1).map_err(|e| e.to_string())?;
    let mut run = Run::new(Method::QLearning, config, env, seed)?;
    let best = fixed_point(&table, 0.9, &largest);
    let early = distance(&table, &widen(run.learn(20)?.q()), &best);
    let late = distance(&table, &widen(run.learn(3000)?.q()), &best);
    require(late < 0.5 * early, || format!("the error went from {early} to {late}"))?;
    // The largest value is about 0.64; the ledger's bound, 0.5, would be met by a table of zeros.
    Ok(late / 0.05)
}

/// A random process that starts anywhere and stops in each step with probability 0.1, and a seed.
fn process() -> impl Strategy<Value = (FiniteTable, f64, u64)> + Clone + Send + Sync {
    (mdp_of(2..=4, 2..=3, gamma(0.8)), any::<u64>()).prop_map(|(mdp, seed)| {
        let Mdp { p, r, gamma, .. } = &mdp;
        let row = |s: usize, a: usize| {
            let mut outcomes = Vec::new();
            for next in 0..mdp.states() {
                for (share, terminated) in [(0.9, false), (0.1, true)] {
                    let prob = share * p[[s, a, next]];
                    if prob > 0.0 {
                        outcomes.push(Outcome {
                            prob,
                            next: next as u32,
                            reward: r[[s, a, next]],
                            terminated,
                        });
                    }
                }
            }
            outcomes
        };
        let states = mdp.states();
        let table = FiniteTable::new(states, mdp.actions(), row, vec![1.0 / states as f64; states]);
        (table, *gamma, seed)
    })
}

/// The ledger's bound on what counts as converged: `0.05 R_max / (1 - gamma)`.
fn allowed(table: &FiniteTable, gamma: f64) -> f64 {
    let largest = table.outcomes().iter().fold(0.0, |m: f64, o| m.max(o.reward.abs()));
    0.05 * largest / (1.0 - gamma)
}

fn optimal_values((table, gamma, seed): (FiniteTable, f64, u64)) -> Measured {
    let best = fixed_point(&table, gamma, &largest);
    let mut worst = Worst::new();
    for method in [Method::QLearning, Method::DoubleQLearning] {
        let config = Config { gamma, epsilon: 1.0, alpha: 1.0, alpha_power: 0.7, ..Config::default() };
        let mut run = Run::new(method, config, env(&table, None), seed)?;
        let q = widen(run.learn(1000)?.q());
        worst.add(distance(&table, &q, &best) / allowed(&table, gamma));
    }
    worst.done()
}

/// SARSA that goes on exploring reaches the values of the best exploring policy, and those of the uniform one if it only explores.
fn soft_values((table, gamma, seed): (FiniteTable, f64, u64)) -> Measured {
    let mut worst = Worst::new();
    for (method, epsilon) in [(Method::Sarsa, 1.0), (Method::Sarsa, 0.3), (Method::ExpectedSarsa, 0.3)] {
        let config = Config { gamma, epsilon, alpha: 1.0, alpha_power: 0.7, ..Config::default() };
        let mut run = Run::new(method, config, env(&table, None), seed)?;
        let q = widen(run.learn(1000)?.q());
        let own = fixed_point(&table, gamma, &move |row| soft(row, epsilon));
        worst.add(distance(&table, &q, &own) / allowed(&table, gamma));
    }
    worst.done()
}

/// Ten actions that pay 1 with probability 0.45, else -1, and end: one table makes more of the best of them than there is, two do not.
fn less_biased(seed: u64) -> Measured {
    const RUNS: u64 = 200;
    let row = |_: usize, _: usize| {
        let outcome = |prob, reward| Outcome { prob, next: 0, reward, terminated: true };
        vec![outcome(0.45, 1.0), outcome(0.55, -1.0)]
    };
    let table = FiniteTable::new(1, 10, row, vec![1.0]);
    let (mut single, mut double) = (Vec::new(), Vec::new());
    for n in 0..RUNS {
        let config = Config { epsilon: 1.0, alpha: 0.1, num_steps: 4000, ..Config::default() };
        let mut run =
            Run::new(Method::QLearning, config.clone(), env(&table, None), seed.wrapping_add(2 * n))?;
        single.push(largest(&widen(run.learn(1)?.q()).row(0).to_vec()));
        let mut run =
            Run::new(Method::DoubleQLearning, config, env(&table, None), seed.wrapping_add(2 * n + 1))?;
        let agent = run.learn(1)?;
        let first = widen(agent.q());
        let second = widen(agent.second_q().ok_or("double Q-learning has one table")?);
        let best = (0..10).fold(0, |best, a| if first[[0, a]] > first[[0, best]] { a } else { best });
        double.push(second[[0, best]]);
    }
    let moments = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (x.len() as f64 - 1.0);
        (mean, (square / x.len() as f64).sqrt())
    };
    let ((single, error), (double, double_error)) = (moments(&single), moments(&double));
    let above = single - 5.0 * error > 0.0;
    require(above, || format!("one table values the best action at {single}, whose true value is -0.1"))?;
    Worst::new().within_five_se(double, -0.1, double_error).done()
}

/// States in a row, each paying a reward, the last step ending the task or cut off by a limit: one action, so that an
/// episode is known beforehand.
#[derive(Clone, Debug)]
struct Corridor {
    reward: Vec<f64>,
    terminated: bool,
    gamma: f64,
    alpha: f64,
    init: f64,
}

fn corridor() -> impl Strategy<Value = Corridor> + Clone + Send + Sync {
    (normals(1..=8), any::<bool>(), unit(), 0.05..=1.0f64, -2.0..=2.0f64).prop_map(
        |(reward, terminated, gamma, alpha, init)| Corridor { reward, terminated, gamma, alpha, init },
    )
}

impl Corridor {
    /// The table after each of three episodes, as `method` learns it.
    fn learnt(&self, method: Method, config: Config) -> Result<Vec<Array1<f64>>, String> {
        let steps = self.reward.len();
        let row = |s: usize, _: usize| {
            let last = s + 1 >= steps;
            let reward = self.reward.get(s).copied().unwrap_or(0.0);
            let terminated = last && self.terminated;
            vec![Outcome { prob: 1.0, next: (s + 1).min(steps) as u32, reward, terminated }]
        };
        let mut start = vec![0.0; steps + 1];
        start[0] = 1.0;
        let table = FiniteTable::new(steps + 1, 1, row, start);
        let config = Config {
            gamma: self.gamma,
            alpha: self.alpha,
            init: self.init,
            num_steps: steps,
            trace: Trace::Accumulating,
            ..config
        };
        let mut run = Run::new(method, config, env(&table, Some(steps as u32)), 0)?;
        (0..3).map(|_| Ok(widen(run.learn(1)?.q()).column(0).to_owned())).collect()
    }

    /// Each table is the one before, moved by `alpha` towards the targets that it gives.
    fn compare(
        &self,
        learnt: &[Array1<f64>],
        target: impl Fn(&Array2<f64>, &Array2<f64>, &Array2<End>, &mut Array2<f64>),
    ) -> Measured {
        let steps = self.reward.len();
        let reward = Array2::from_shape_fn((steps, 1), |(t, _)| self.reward[t]);
        let mut end = Array2::from_elem((steps, 1), End::No);
        end[[steps - 1, 0]] = if self.terminated { End::Terminated } else { End::Truncated };
        let mut before = Array1::from_elem(steps + 1, self.init);
        let mut worst = Worst::new();
        for after in learnt {
            let next_value = Array2::from_shape_fn((steps, 1), |(t, _)| before[t + 1]);
            let mut out = Array2::from_elem((steps, 1), f64::NAN);
            target(&reward, &next_value, &end, &mut out);
            for t in 0..steps {
                worst.same(after[t], before[t] + self.alpha * (out[[t, 0]] - before[t]));
            }
            before = after.clone();
        }
        worst.done()
    }
}

/// Online n-step SARSA is the n-step return of a rollout, where no state comes back.
fn n_step_agent((case, n): (Corridor, usize)) -> Measured {
    let learnt = case.learnt(Method::NStepSarsa, Config { n_step: n, ..Config::default() })?;
    case.compare(&learnt, |r, v, e, out| returns::n_step(r, v, e, case.gamma, n, out))
}

/// Eligibility traces, backwards and online, are the lambda-return, forwards, where no state comes back.
fn forward_view((case, lambda): (Corridor, f64)) -> Measured {
    let learnt = case.learnt(Method::SarsaLambda, Config { trace_decay: lambda, ..Config::default() })?;
    case.compare(&learnt, |r, v, e, out| returns::lambda_return(r, v, e, case.gamma, lambda, out))
}

/// Monte Carlo learns from the discounted return, which goes on behind a limit and not behind an end.
fn whole_returns(case: Corridor) -> Measured {
    let learnt = case.learnt(Method::MonteCarlo, Config::default())?;
    case.compare(&learnt, |r, v, e, out| returns::discounted(r, v, e, case.gamma, out))
}

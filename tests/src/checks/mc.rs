use crate::generators::{Mdp, Policy, gamma, normals, tiny_and_policy, unit};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_STAT, Worst, require};
use crate::oracles::{samples, trajectories, tuples};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::monte_carlo::{self, Averages, Visits};
use rederive_math::{End, Stream, returns};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("mc.first-visit", "definition", TOL_ID, episodes(), averages),
        random("mc.first-visit", "unbiased", TOL_ID, chain_case(0.9), first_visit_chain),
        // One case lists all pairs of episodes.
        random("mc.first-visit", "two-episodes", TOL_ID, chain_case(0.4), first_visit_pairs).at_most(64),
        random("mc.first-visit", "every-visit", TOL_ID, chain_case(0.9), every_visit_chain),
        random("mc.first-visit", "every-visit-bias", TOL_INEQ, chain_case(0.9), every_visit_bias),
        fixed("mc.first-visit", "cycles", TOL_STAT, cycles),
        fixed("mc.first-visit", "closed", TOL_ID, |_| first_visit_closed()),
        fixed("mc.first-visit", "edges", EXACT, |_| first_visit_edges()),
        random("mc.advantage", "definition", TOL_ID, advantage_case(), advantage_definition),
        random("mc.advantage", "dependent", TOL_ID, dependent_case(), advantage_dependent),
        random("mc.averaging", "sample-mean", TOL_ID, (normals(1..=40), -9.0..=9.0f64), sample_mean),
        random(
            "mc.averaging",
            "constant-step",
            TOL_ID,
            (normals(1..=40), -9.0..=9.0f64, unit()),
            constant_step,
        ),
        random("mc.averaging", "variance", TOL_ID, (unit(), 0..=8usize), averaging_variance),
        fixed("mc.averaging", "closed", TOL_STAT, |_| averaging_closed()),
    ]
}

/// Episodes over at most 4 states: where they go and what they return from there.
fn episodes() -> impl Strategy<Value = Vec<Vec<(usize, f64)>>> + Clone + Send + Sync {
    vec(vec((0..4usize, -3.0..=3.0f64), 0..=8), 0..=5)
}

fn averages(episodes: Vec<Vec<(usize, f64)>>) -> Measured {
    let mut worst = Worst::new();
    for visits in [Visits::First, Visits::Every] {
        let mut averages = Averages::new(5, visits);
        for episode in &episodes {
            let (state, return_): (Vec<usize>, Vec<f64>) = episode.iter().copied().unzip();
            averages.episode(&state, &return_);
        }
        for s in 0..5 {
            let of = |episode: &Vec<(usize, f64)>| {
                let here = episode.iter().filter(|step| step.0 == s).map(|step| step.1);
                here.take(if visits == Visits::First { 1 } else { usize::MAX }).collect::<Vec<f64>>()
            };
            let counted: Vec<f64> = episodes.iter().flat_map(of).collect();
            let count = averages.count(s) == counted.len() as u64;
            require(count, || {
                format!("state {s}: {} visits instead of {}", averages.count(s), counted.len())
            })?;
            match averages.get(s) {
                Some(mean) => worst.same(mean, counted.iter().sum::<f64>() / counted.len() as f64),
                None => worst.holds(counted.is_empty()),
            };
        }
    }
    worst.done()
}

/// A state that pays 1 and goes on with probability `p`: gamma and p.
fn chain_case(max_p: f64) -> impl Strategy<Value = (f64, f64)> + Clone + Send + Sync {
    // The closed form of the every-visit mean loses digits close to 1, where its limit is another branch.
    (gamma(1.0), gamma(max_p)).prop_map(|(gamma, p)| (if gamma > 0.999 { 1.0 } else { gamma }, p))
}

/// The returns of an episode of `steps` steps.
fn ones(steps: usize, gamma: f64) -> Vec<f64> {
    let mut return_ = vec![1.0; steps];
    for t in (1..steps).rev() {
        return_[t - 1] = 1.0 + gamma * return_[t];
    }
    return_
}

/// The probabilities of 1, 2, ... steps, until less than `1e-14` is left.
fn lengths(p: f64) -> Vec<f64> {
    let mut law = Vec::new();
    let mut left = 1.0;
    while left > 1e-14 {
        law.push(left * (1.0 - p));
        left *= p;
    }
    law
}

/// The mean of the estimate of one episode, over its lengths.
fn one_episode(visits: Visits, gamma: f64, p: f64) -> f64 {
    let estimate = |steps: usize| {
        let mut averages = Averages::new(1, visits);
        averages.episode(&vec![0; steps], &ones(steps, gamma));
        averages.get(0).unwrap_or(f64::NAN)
    };
    lengths(p).iter().enumerate().map(|(i, prob)| prob * estimate(i + 1)).sum()
}

fn first_visit_chain((gamma, p): (f64, f64)) -> Measured {
    let mut worst = Worst::new();
    worst.same(one_episode(Visits::First, gamma, p), 1.0 / (1.0 - gamma * p));
    worst.same(monte_carlo::chain_value(gamma, p), 1.0 / (1.0 - gamma * p)).done()
}

fn first_visit_pairs((gamma, p): (f64, f64)) -> Measured {
    let law = lengths(p);
    let (mut first, mut every) = (0.0, 0.0);
    for (i, one) in law.iter().enumerate() {
        for (k, two) in law.iter().enumerate() {
            for (visits, mean) in [(Visits::First, &mut first), (Visits::Every, &mut every)] {
                let mut averages = Averages::new(1, visits);
                for steps in [i + 1, k + 1] {
                    averages.episode(&vec![0; steps], &ones(steps, gamma));
                }
                *mean += one * two * averages.get(0).unwrap_or(f64::NAN);
            }
        }
    }
    let truth = 1.0 / (1.0 - gamma * p);
    let mut worst = Worst::new();
    worst.same(first, truth);
    // A second episode makes the bias of the other average smaller.
    worst.at_most(truth - every, truth - one_episode(Visits::Every, gamma, p)).done()
}

fn every_visit_chain((gamma, p): (f64, f64)) -> Measured {
    let left = one_episode(Visits::Every, gamma, p);
    Worst::new().same(left, monte_carlo::every_visit_chain_mean(gamma, p)).done()
}

fn every_visit_bias((gamma, p): (f64, f64)) -> Measured {
    let (every, truth) = (one_episode(Visits::Every, gamma, p), 1.0 / (1.0 - gamma * p));
    // Strictly below the truth as soon as a second visit can matter.
    let strict = gamma * p < 1e-3 || every < truth - 1e-7;
    require(strict, || format!("the every-visit mean {every} is not below {truth}"))?;
    Worst::new().at_most(every, truth).done()
}

/// One episode of the chain with cycles: its states and returns.
fn cycle(stream: &mut Stream) -> (Vec<usize>, Vec<f64>) {
    let (mut state, mut s) = (Vec::new(), 0);
    loop {
        state.push(s);
        let u = stream.unit();
        s = match s {
            0 if u < 0.2 => 0,
            0 if u < 0.7 => 1,
            1 if u < 0.4 => 0,
            1 if u < 0.5 => 1,
            _ => break,
        };
    }
    let mut return_ = vec![0.0; state.len()];
    let mut after = 0.0;
    for (g, &s) in return_.iter_mut().zip(&state).rev() {
        after += if s == 0 { 1.0 } else { -2.0 };
        *g = after;
    }
    (state, return_)
}

fn cycles(seed: u64) -> Measured {
    let mut stream = Stream::new(seed, "first-visit-check", 0);
    let mut all = Averages::new(2, Visits::First);
    let (mut first, mut every) = (Vec::new(), Vec::new());
    for _ in 0..100_000 {
        let (state, return_) = cycle(&mut stream);
        all.episode(&state, &return_);
        for (visits, estimates) in [(Visits::First, &mut first), (Visits::Every, &mut every)] {
            let mut one = Averages::new(2, visits);
            one.episode(&state, &return_);
            estimates.extend(one.get(1));
        }
    }
    let mut worst = Worst::new();
    // V(1) = -1.5 / 0.65 from the two Bellman equations; the every-visit mean is the ledger's number.
    for (estimates, mean) in [(&first, -1.5 / 0.65), (&every, -2.009_615)] {
        let n = estimates.len() as f64;
        let sample = estimates.iter().sum::<f64>() / n;
        let variance = estimates.iter().map(|x: &f64| (x - sample).powi(2)).sum::<f64>() / (n - 1.0);
        worst.within_five_se(sample, mean, (variance / n).sqrt());
    }
    // The average over all episodes is the mean of the first visits.
    let sample = first.iter().sum::<f64>() / first.len() as f64;
    worst.holds(all.get(1).is_some_and(|mean| (mean - sample).abs() < 1e-9));
    worst.done()
}

fn first_visit_closed() -> Measured {
    let mut worst = Worst::new();
    worst.same(monte_carlo::chain_value(1.0, 0.5), 2.0);
    worst.same(monte_carlo::every_visit_chain_mean(1.0, 0.5), 1.5);
    worst.same(one_episode(Visits::First, 1.0, 0.5), 2.0);
    worst.same(one_episode(Visits::Every, 1.0, 0.5), 1.5);
    // A chess player's good move wins 4 games in 10 and a bad one 1 in 10: losing with the good move does not turn their order.
    let mut outcome = Averages::new(2, Visits::First);
    for game in 0..10 {
        outcome.episode(&[0], &[f64::from(u8::from(game < 4))]);
        outcome.episode(&[1], &[f64::from(u8::from(game < 1))]);
    }
    worst.same(outcome.get(0).unwrap_or(f64::NAN), 0.4).same(outcome.get(1).unwrap_or(f64::NAN), 0.1);
    worst.done()
}

fn first_visit_edges() -> Measured {
    let mut averages = Averages::new(2, Visits::First);
    require(averages.get(0).is_none(), || "no episode, but an estimate".to_owned())?;
    averages.episode(&[], &[]);
    averages.episode(&[1, 1], &[4.0, 9.0]);
    require(averages.get(0).is_none(), || "a state that was never visited has an estimate".to_owned())?;
    require(averages.get(1) == Some(4.0), || format!("{:?} instead of 4", averages.get(1)))?;
    require(panics(|| averages.clone().episode(&[0], &[])), || {
        "lengths that differ are accepted".to_owned()
    })?;
    require(panics(|| averages.clone().episode(&[2], &[0.0])), || "a state outside is accepted".to_owned())?;
    Ok(0.0)
}

#[derive(Clone, Debug)]
struct AdvantageCase {
    mdp: Mdp,
    horizon: usize,
    policy: Policy,
    /// `V_t(s)`, or the exact value.
    value: Option<Vec<f64>>,
}

fn advantage_case() -> impl Strategy<Value = AdvantageCase> + Clone + Send + Sync {
    (tiny_and_policy(), normals(12), proptest::bool::weighted(0.2)).prop_map(
        |((mdp, horizon, policy), value, exact)| AdvantageCase {
            mdp,
            horizon,
            policy,
            value: (!exact).then_some(value),
        },
    )
}

/// `Q_t(s, a)` of a finite horizon, backwards.
fn backwards(mdp: &Mdp, policy: &Policy, horizon: usize) -> (Vec<Array2<f64>>, Vec<Vec<f64>>) {
    let (states, actions) = (mdp.states(), mdp.actions());
    let mut next = vec![0.0; states];
    let (mut q, mut v) = (Vec::new(), Vec::new());
    for _ in 0..horizon {
        let now = Array2::from_shape_fn((states, actions), |(s, a)| {
            (0..states).map(|k| mdp.p[[s, a, k]] * (mdp.r[[s, a, k]] + mdp.gamma * next[k])).sum::<f64>()
        });
        next = (0..states).map(|s| (0..actions).map(|a| policy[[s, a]] * now[[s, a]]).sum()).collect();
        q.insert(0, now);
        v.insert(0, next.clone());
    }
    (q, v)
}

fn advantage_definition(case: AdvantageCase) -> Measured {
    let AdvantageCase { mdp, horizon, policy, value } = &case;
    let (q, v) = backwards(mdp, policy, *horizon);
    let value = |t: usize, s: usize| value.as_ref().map_or(v[t][s], |value| value[t * 3 + s]);
    let shape = (mdp.states(), mdp.actions());
    let mut mean = vec![Array2::<f64>::zeros(shape); *horizon];
    let mut mass = mean.clone();
    let mut end = Array2::from_elem((*horizon, 1), End::No);
    end[[horizon - 1, 0]] = End::Terminated;
    trajectories(mdp, policy, *horizon, &mut |path| {
        let reward = Array2::from_shape_fn((*horizon, 1), |(t, _)| path.reward(mdp, t));
        let mut return_ = Array2::from_elem((*horizon, 1), f64::NAN);
        returns::discounted(
            &reward,
            &Array2::from_elem((*horizon, 1), f64::NAN),
            &end,
            mdp.gamma,
            &mut return_,
        );
        let values: Vec<f64> = (0..*horizon).map(|t| value(t, path.states[t])).collect();
        let mut out = vec![f64::NAN; *horizon];
        monte_carlo::advantage(&return_.into_raw_vec_and_offset().0, &values, &mut out);
        for t in 0..*horizon {
            let at = [path.states[t], path.actions[t]];
            mean[t][at] += path.prob * out[t];
            mass[t][at] += path.prob;
        }
    });
    let mut worst = Worst::new();
    for t in 0..*horizon {
        for ((s, a), &mass) in mass[t].indexed_iter() {
            // Division by a tiny probability magnifies rounding: compare before it.
            worst.same(mean[t][[s, a]], mass * (q[t][[s, a]] - value(t, s)));
        }
    }
    worst.done()
}

/// A law of actions, their values, and a number of samples.
fn dependent_case() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, usize)> + Clone + Send + Sync {
    (crate::generators::simplex(2..=3), normals(3), 1..=5usize)
}

/// A baseline made of the same returns shrinks the mean advantage by `(K - 1) / K`.
fn advantage_dependent((p, q, k): (Vec<f64>, Vec<f64>, usize)) -> Measured {
    let v: f64 = p.iter().zip(&q).map(|(p, q)| p * q).sum();
    let mut mean = vec![0.0; p.len()];
    samples(&p, k, &mut |group, prob| {
        let return_: Vec<f64> = group.iter().map(|&a| q[a]).collect();
        let baseline = vec![return_.iter().sum::<f64>() / k as f64; k];
        let mut out = vec![f64::NAN; k];
        monte_carlo::advantage(&return_, &baseline, &mut out);
        mean[group[0]] += prob * out[0];
    });
    let mut worst = Worst::new();
    for a in 0..p.len() {
        worst.same(mean[a], p[a] * (k as f64 - 1.0) / k as f64 * (q[a] - v));
    }
    worst.done()
}

fn sample_mean((samples, start): (Vec<f64>, f64)) -> Measured {
    let mut value = start;
    for (i, &g) in samples.iter().enumerate() {
        let before = value;
        let delta = monte_carlo::average_step(&mut value, g, monte_carlo::step_size(i as u64 + 1, 1.0));
        require(delta == g - before, || format!("step {i} reports {delta}"))?;
    }
    Worst::new().same(value, samples.iter().sum::<f64>() / samples.len() as f64).done()
}

fn constant_step((samples, start, alpha): (Vec<f64>, f64, f64)) -> Measured {
    let mut value = start;
    for &g in &samples {
        monte_carlo::average_step(&mut value, g, alpha);
    }
    let n = samples.len() as i32;
    let sum: f64 =
        samples.iter().enumerate().map(|(i, g)| alpha * (1.0 - alpha).powi(n - 1 - i as i32) * g).sum();
    let mut worst = Worst::new();
    if alpha == 1.0 {
        worst.same(value, samples[samples.len() - 1]);
    }
    worst.same(value, (1.0 - alpha).powi(n) * start + sum).done()
}

/// The variance over all sequences of fair coins.
fn averaging_variance((alpha, n): (f64, usize)) -> Measured {
    let (mut mean, mut square) = (0.0, 0.0);
    tuples(2, n, &mut |coins| {
        let mut value = 0.0;
        for &coin in coins {
            monte_carlo::average_step(&mut value, 2.0 * coin as f64 - 1.0, alpha);
        }
        mean += value / 2f64.powi(n as i32);
        square += value * value / 2f64.powi(n as i32);
    });
    let mut worst = Worst::new();
    worst.same(square - mean * mean, monte_carlo::constant_step_variance(alpha, n as u64)).done()
}

fn averaging_closed() -> Measured {
    let mut variance = 0.0;
    for _ in 0..1000 {
        variance = 0.81 * variance + 0.01;
    }
    let mut worst = Worst::new();
    worst.printed(variance, 0.052_631_6, 7);
    worst.printed(monte_carlo::constant_step_variance(0.1, 1000), 0.052_631_6, 7);
    // One sample overwrites the start; the wrong schedule 1 / (n + 1) would keep half of it.
    let mut value = 8.0;
    monte_carlo::average_step(&mut value, 2.0, monte_carlo::step_size(1, 1.0));
    worst.holds(value == 2.0).done()
}

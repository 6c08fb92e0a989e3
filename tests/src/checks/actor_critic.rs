//! Actors, critics and the steps of scripted environments, written out with one loop per sum: what the checks of training
//! loops share.

use super::nn::plain_forward;
use super::ppo::training::{ACTIONS, FEATURES, count, ending, observation, one_hot, reward};
use rederive_env::End;
use rederive_nn::Activation;
use rederive_train::ActionBuffer;

/// What was done in a step.
#[derive(Clone, Debug)]
pub(super) enum Taken {
    Number(usize),
    Vector(Vec<f64>),
}

/// The shapes of both networks over the observations of the script, a categorical or a Gaussian policy.
#[derive(Clone, Debug)]
pub(super) struct Nets {
    actor: Vec<usize>,
    critic: Vec<usize>,
    activation: Activation,
    continuous: bool,
}

impl Nets {
    pub fn new(hidden: &[usize], activation: Activation, continuous: bool) -> Self {
        let sizes = |outputs: usize| [&[FEATURES], hidden, &[outputs]].concat();
        Nets { actor: sizes(ACTIONS), critic: sizes(1), activation, continuous }
    }

    /// How many parameters the policy has: those of its network, then the log standard deviations of a Gaussian.
    pub fn policy_params(&self) -> usize {
        count(&self.actor) + if self.continuous { ACTIONS } else { 0 }
    }

    /// Where the critic's parameters start: on a cache line of their own.
    pub fn critic_start(&self) -> usize {
        self.policy_params().next_multiple_of(16)
    }

    pub fn value(&self, params: &[f64], features: &[f64]) -> f64 {
        plain_forward(&self.critic, self.activation, &params[self.critic_start()..], features, |_| ())[0]
    }

    /// Logits or means.
    pub fn outputs(&self, params: &[f64], features: &[f64]) -> Vec<f64> {
        plain_forward(&self.actor, self.activation, params, features, |_| ())
    }

    /// The log standard deviations; none of a categorical policy.
    pub fn log_std<'a>(&self, params: &'a [f64]) -> &'a [f64] {
        &params[count(&self.actor)..self.policy_params()]
    }

    /// The log-probability of an action, and the entropy.
    pub fn policy(&self, params: &[f64], features: &[f64], action: &Taken) -> (f64, f64) {
        let outputs = self.outputs(params, features);
        match action {
            Taken::Number(a) => {
                let total: f64 = outputs.iter().map(|z| z.exp()).sum();
                let log_pi: Vec<f64> = outputs.iter().map(|z| z - total.ln()).collect();
                (log_pi[*a], -log_pi.iter().map(|l| l.exp() * l).sum::<f64>())
            }
            Taken::Vector(x) => {
                let (log_std, tau) = (self.log_std(params), std::f64::consts::TAU);
                let density = |d: usize| {
                    let z = (x[d] - outputs[d]) / log_std[d].exp();
                    -0.5 * z * z - log_std[d] - 0.5 * tau.ln()
                };
                let entropy = log_std.iter().map(|s| s + 0.5 * (tau * std::f64::consts::E).ln()).sum();
                ((0..ACTIONS).map(density).sum(), entropy)
            }
        }
    }
}

/// A rollout of the script, row `t N + n`; of the real one only the actions are read.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub envs: usize,
    pub features: Vec<Vec<f64>>,
    pub action: Vec<Taken>,
    pub reward: Vec<f64>,
    pub end: Vec<End>,
    /// What the step led to, before any reset.
    pub successor: Vec<Vec<f64>>,
}

fn wide(x: [f32; FEATURES]) -> Vec<f64> {
    x.map(f64::from).to_vec()
}

impl Steps {
    /// The next `steps` steps of `envs` environments numbered from `first` on, which have `earlier` steps behind them.
    pub fn new(first: u64, envs: usize, earlier: u64, steps: usize, action: &ActionBuffer) -> Self {
        let mut found =
            Steps { envs, features: vec![], action: vec![], reward: vec![], end: vec![], successor: vec![] };
        for i in 0..steps * envs {
            let (number, step) = (first + (i % envs) as u64, earlier + (i / envs) as u64);
            let begins = step == 0 || ending(number, step).done();
            found.features.push(wide(observation(number, step, begins)));
            let (taken, paid) = match action {
                ActionBuffer::Discrete(a) => (Taken::Number(a[i] as usize), one_hot(a[i])),
                ActionBuffer::Continuous(a) => {
                    let row = a.row(i);
                    let clipped = std::array::from_fn(|d| row[d].clamp(-0.5, 0.75));
                    (Taken::Vector(row.iter().map(|&x| f64::from(x)).collect()), clipped)
                }
            };
            found.action.push(taken);
            found.reward.push(f64::from(reward(number, step + 1, &paid)));
            found.end.push(ending(number, step + 1));
            found.successor.push(wide(observation(number, step + 1, false)));
        }
        found
    }

    pub fn len(&self) -> usize {
        self.reward.len()
    }

    /// Present values, and what follows each step: nothing after a termination.
    pub fn values(&self, nets: &Nets, params: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let follows = |(successor, end): (&Vec<f64>, &End)| {
            if *end == End::Terminated { 0.0 } else { nets.value(params, successor) }
        };
        (
            self.features.iter().map(|x| nets.value(params, x)).collect(),
            self.successor.iter().zip(&self.end).map(follows).collect(),
        )
    }

    /// For step `i` the sum over the steps `l = 0, 1, ...` from there on of `decay^l delta_l`, at most `most` of them, none
    /// behind an end or the rollout.
    pub fn decayed(&self, i: usize, decay: f64, most: usize, delta: &[f64]) -> f64 {
        let (mut sum, mut factor) = (0.0, 1.0);
        for l in 0..most {
            let at = i + l * self.envs;
            if at >= self.len() || (l > 0 && self.end[at - self.envs] != End::No) {
                break;
            }
            sum += factor * delta[at];
            factor *= decay;
        }
        sum
    }
}

/// Weights of mean 0 and standard deviation 1; `None` where they hardly differ, so that rounding would be blown up.
pub(super) fn normalised(weight: &[f64]) -> Option<Vec<f64>> {
    let n = weight.len() as f64;
    let mean = weight.iter().sum::<f64>() / n;
    let std = (weight.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n).sqrt();
    (std > 1e-2).then(|| weight.iter().map(|w| (w - mean) / (std + 1e-8)).collect())
}

/// A gradient made shorter if it is too long.
pub(super) fn clipped(mut g: Vec<f64>, most: f64) -> Vec<f64> {
    let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
    let factor = (most / (norm + 1e-6)).min(1.0);
    g.iter_mut().for_each(|g| *g *= factor);
    g
}

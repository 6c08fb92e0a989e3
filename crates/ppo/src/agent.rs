use crate::config::{Config, Objective};
use crate::loss::{self, Batch, Gradients, Terms};
use ndarray::{Array2, ArrayRef2, ArrayView2, s};
use rederive_env::{Stream, VecEnv};
use rederive_math::{gae, normalise, surrogate};
use rederive_nn::{Optimizer, OptimizerConfig, clip_global_norm};
use rederive_train::{
    ActionBuffer, Checkpoint, Collector, ConfigError, Diverged, EpisodeLog, Learner, Metric, Minibatches,
    Networks, ObsNormalizer, PolicyBatch, Report, RewardNormalizer, Rollout, range,
};

/// What [`Ppo`] reports after each rollout.
pub const METRICS: &[Metric] = &[
    Metric { name: "policy_loss", meaning: "surrogate loss, mean over the rollout's minibatches" },
    Metric {
        name: "value_loss",
        meaning: "half the mean squared error of the critic, clipped if configured",
    },
    Metric { name: "entropy", meaning: "mean entropy of the policy, nats" },
    Metric {
        name: "approx_kl",
        meaning: "mean of ratio - 1 - log ratio over the last epoch: KL(old || new)",
    },
    Metric { name: "clip_fraction", meaning: "share of samples whose ratio lies outside the clip interval" },
    Metric { name: "explained_variance", meaning: "1 - Var(return - value) / Var(return), before learning" },
    Metric { name: "grad_norm", meaning: "mean Euclidean norm of the gradient before clipping" },
    Metric { name: "lr", meaning: "step size of this rollout" },
    Metric { name: "clip_eps", meaning: "half-width of the clip interval of this rollout" },
    Metric { name: "kl_coef", meaning: "weight of the KL penalty of this rollout" },
    Metric { name: "epochs", meaning: "passes over the rollout before the target KL stopped them" },
    Metric { name: "std", meaning: "mean standard deviation of a continuous policy, 0 for a discrete one" },
];

/// Keeps a minibatch of equal advantages from dividing by zero; PyTorch implementations use the same number.
const ADVANTAGE_EPSILON: f32 = 1e-8;

/// A PPO agent with everything it needs to learn, and to go on after a stop.
///
/// ```
/// use rederive_ppo::{Config, Ppo};
/// use rederive_train::{EpisodeLog, Learner, Report};
///
/// let mut env = rederive_env::make_vec("CartPole-v1", 4).unwrap();
/// let mut ppo = Ppo::new(Config::default(), env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut episodes, mut report) = (EpisodeLog::new(4), Report::default());
/// ppo.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).unwrap();
/// assert_eq!(report.steps, 512);
/// ```
#[derive(Clone, Debug)]
pub struct Ppo {
    config: Config,
    networks: Networks,
    optimizer: Optimizer<f32>,
    collector: Collector,
    minibatches: Minibatches,
    shuffle: Stream,
    kl_coef: f64,
    steps: u64,
    updates: u64,
    advantage: Array2<f32>,
    return_: Array2<f32>,
    grad: Vec<f32>,
    batch: MinibatchBuffers,
}

/// One minibatch, gathered into contiguous arrays; sized once for the largest.
#[derive(Clone, Debug)]
struct MinibatchBuffers {
    features: Array2<f32>,
    action: ActionBuffer,
    old_log_prob: Vec<f32>,
    advantage: Vec<f32>,
    return_: Vec<f32>,
    old_value: Vec<f32>,
    value: Vec<f32>,
    d_value: Array2<f32>,
    policy: PolicyBatch,
}

/// Sums over the minibatches of one rollout.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    policy_loss: f64,
    value_loss: f64,
    entropy: f64,
    clip_fraction: f64,
    grad_norm: f64,
    samples: f64,
}

impl Ppo {
    /// An agent for environments like `env`, with weights and streams drawn from `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range, differs from the environment, or the action space does not fit.
    pub fn new(config: Config, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        range::same_num_envs(config.num_envs, env)?;
        let observation = env.observation_space();
        let (rows, action) = (config.num_envs * config.num_steps, env.action_space());
        let batch = config.minibatch.min(rows);
        let networks = Networks::new(&config.networks(), observation, action, config.num_envs, batch, seed)?;
        let mut collector = Collector::new(env, config.num_steps, config.gamma);
        collector.obs_normalizer = config.normalize_obs.then(|| ObsNormalizer::new(observation.features()));
        collector.reward_normalizer = config.normalize_reward.then(|| RewardNormalizer::new(config.num_envs));
        let minibatches = Minibatches::new(rows, config.minibatch);
        let rows = minibatches.largest();
        let shape = (config.num_steps, config.num_envs);
        Ok(Ppo {
            optimizer: Optimizer::new(OptimizerConfig::adam(config.adam_eps), networks.params().len()),
            collector,
            minibatches,
            shuffle: Stream::new(seed, "shuffle", 0),
            kl_coef: config.kl_coef,
            steps: 0,
            updates: 0,
            advantage: Array2::zeros(shape),
            return_: Array2::zeros(shape),
            grad: vec![0.0; networks.params().len()],
            batch: MinibatchBuffers {
                features: Array2::zeros((rows, observation.features())),
                action: ActionBuffer::new(action, rows),
                old_log_prob: vec![0.0; rows],
                advantage: vec![0.0; rows],
                return_: vec![0.0; rows],
                old_value: vec![0.0; rows],
                value: vec![0.0; rows],
                d_value: Array2::zeros((rows, 1)),
                policy: networks.batch(rows),
            },
            networks,
            config,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Actor and critic.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The last rollout.
    pub fn rollout(&self) -> &Rollout {
        self.collector.rollout()
    }

    /// The advantages and returns of the last rollout `[T, N]`.
    pub fn targets(&self) -> (&ArrayRef2<f32>, &ArrayRef2<f32>) {
        (&self.advantage, &self.return_)
    }

    /// Learns from the last rollout: `num_epochs` passes in random minibatches, with the old log-probabilities, the
    /// advantages and the returns held fixed throughout (`ppo.target-reuse`).
    fn learn(&mut self, progress: f64, report: &mut Report) -> Result<(), Diverged> {
        let lr = self.config.lr_schedule.at(self.config.lr, progress);
        let clip_eps = self.config.clip_schedule.at(self.config.clip_eps, progress);
        let coefficients = loss::Coefficients {
            surrogate: match self.config.objective {
                Objective::Clip => loss::Surrogate::Clip { clip_eps: clip_eps as f32 },
                Objective::Penalty => loss::Surrogate::Penalty { kl_coef: self.kl_coef as f32 },
            },
            clip_value: self.config.clip_value.then_some(clip_eps as f32),
            vf_coef: self.config.vf_coef as f32,
            ent_coef: self.config.ent_coef as f32,
        };
        let explained = {
            let value = self.collector.rollout().value();
            let value = value.as_slice().expect("time-major");
            normalise::explained_variance(value, self.return_.as_slice().expect("time-major"))
        };
        let mut totals = Totals::default();
        let (mut epochs, mut kl) = (0, 0.0);
        for _ in 0..self.config.num_epochs {
            self.minibatches.shuffle(&mut self.shuffle);
            let (mut kl_sum, mut samples) = (0.0, 0.0);
            for list in 0..self.minibatches.count() {
                let terms = self.step(list, &coefficients, lr as f32, &mut totals)?;
                let size = self.minibatches.get(list).len() as f64;
                kl_sum += f64::from(terms.approx_kl) * size;
                samples += size;
            }
            epochs += 1;
            kl = kl_sum / samples;
            if self.config.objective == Objective::Clip && loss::stops_early(kl, self.config.target_kl) {
                break;
            }
        }
        let mean = |sum: f64| sum / totals.samples;
        let std = self.networks.log_std();
        report.values.clear();
        report.values.extend([
            mean(totals.policy_loss),
            mean(totals.value_loss),
            mean(totals.entropy),
            kl,
            mean(totals.clip_fraction),
            f64::from(explained),
            mean(totals.grad_norm),
            lr,
            clip_eps,
            self.kl_coef,
            f64::from(epochs),
            std.iter().map(|s| f64::from(s.exp())).sum::<f64>() / std.len().max(1) as f64,
        ]);
        if let (Objective::Penalty, Some(target)) = (self.config.objective, self.config.target_kl) {
            self.kl_coef = surrogate::adapt_beta(self.kl_coef, kl, target);
        }
        Ok(())
    }

    /// One gradient step on the samples of one index list.
    fn step(
        &mut self,
        list: usize,
        coefficients: &loss::Coefficients<f32>,
        lr: f32,
        totals: &mut Totals,
    ) -> Result<Terms<f32>, Diverged> {
        let n = self.minibatches.get(list).len();
        self.gather(list);
        let b = &mut self.batch;
        if self.config.normalize_advantage {
            normalise::advantages(&mut b.advantage[..n], ADVANTAGE_EPSILON);
        }
        let rows = b.features.slice(s![..n, ..]);
        self.networks.evaluate(&rows, &b.action, &mut b.policy);
        self.networks.critic_forward(&rows, &mut b.value[..n]);
        let terms = loss::total(
            &Batch {
                log_prob: &b.policy.log_prob[..n],
                old_log_prob: &b.old_log_prob[..n],
                advantage: &b.advantage[..n],
                entropy: &b.policy.entropy[..n],
                value: &b.value[..n],
                old_value: &b.old_value[..n],
                return_: &b.return_[..n],
            },
            coefficients,
            &mut Gradients {
                log_prob: &mut b.policy.d_log_prob[..n],
                entropy: &mut b.policy.d_entropy[..n],
                value: &mut b.d_value.as_slice_mut().expect("contiguous")[..n],
            },
        );
        self.grad.fill(0.0);
        self.networks.policy_backward(&rows, &b.action, &mut b.policy, &mut self.grad);
        self.networks.critic_backward(&rows, &b.d_value.slice(s![..n, ..]), &mut self.grad);
        let norm = clip_global_norm(&mut self.grad, self.config.max_grad_norm as f32);
        for (term, x) in [("policy loss", terms.policy), ("value loss", terms.value), ("gradient", norm)] {
            if !x.is_finite() {
                return Err(Diverged { update: self.updates + 1, term: term.to_owned() });
            }
        }
        self.optimizer.step(self.networks.params_mut(), &self.grad, lr);
        let (weight, to64) = (n as f64, f64::from);
        totals.samples += weight;
        totals.policy_loss += weight * to64(terms.policy);
        totals.value_loss += weight * to64(terms.value);
        totals.entropy += weight * to64(terms.entropy);
        totals.clip_fraction += weight * to64(terms.clip_fraction);
        totals.grad_norm += weight * to64(norm);
        Ok(terms)
    }

    /// Copies the samples of one index list from the rollout into the minibatch.
    fn gather(&mut self, list: usize) {
        let indices = self.minibatches.get(list);
        let rollout = self.collector.rollout();
        let b = &mut self.batch;
        let width = rollout.features().ncols();
        let features = rollout.features().as_slice().expect("contiguous");
        let rows = b.features.as_slice_mut().expect("contiguous");
        for (row, &i) in rows.chunks_exact_mut(width).zip(indices) {
            row.copy_from_slice(&features[i as usize * width..][..width]);
        }
        match (&mut b.action, rollout.action()) {
            (ActionBuffer::Discrete(to), ActionBuffer::Discrete(from)) => {
                for (to, &i) in to.iter_mut().zip(indices) {
                    *to = from[i as usize];
                }
            }
            (ActionBuffer::Continuous(to), ActionBuffer::Continuous(from)) => {
                for (mut to, &i) in to.rows_mut().into_iter().zip(indices) {
                    to.assign(&from.row(i as usize));
                }
            }
            _ => unreachable!("both buffers were made for the same action space"),
        }
        for (to, from) in [
            (&mut b.old_log_prob, rollout.log_prob()),
            (&mut b.advantage, &*self.advantage),
            (&mut b.return_, &*self.return_),
            (&mut b.old_value, rollout.value()),
        ] {
            let from = from.as_slice().expect("time-major");
            for (to, &i) in to.iter_mut().zip(indices) {
                *to = from[i as usize];
            }
        }
    }
}

impl Learner for Ppo {
    fn algo(&self) -> &'static str {
        "ppo"
    }

    fn metrics(&self) -> &'static [Metric] {
        METRICS
    }

    fn steps_per_iteration(&self) -> u64 {
        (self.config.num_steps * self.config.num_envs) as u64
    }

    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        let update = self.updates + 1;
        let rollout = self.collector.collect(env, &mut self.networks, episodes, self.steps, update)?;
        let (gamma, lambda) = (self.config.gamma as f32, self.config.gae_lambda as f32);
        gae::gae(
            rollout.reward(),
            rollout.value(),
            rollout.next_value(),
            rollout.end(),
            gamma,
            lambda,
            &mut self.advantage,
            &mut self.return_,
        );
        self.learn(progress, report)?;
        report.steps = self.steps_per_iteration();
        self.steps += report.steps;
        self.updates = update;
        Ok(())
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        self.collector.act_greedy(&mut self.networks, obs, actions);
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.networks.save(checkpoint);
        self.collector.save(checkpoint);
        checkpoint.put_optimizer("adam", &self.optimizer);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
        checkpoint.put("kl_coef", &self.kl_coef);
        checkpoint.put("shuffle", &self.shuffle);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        // Everything is read before anything is changed: a checkpoint that does not fit leaves the agent as it was.
        let mut next = self.clone();
        next.networks.load(checkpoint)?;
        next.collector.load(checkpoint)?;
        checkpoint.get_optimizer("adam", &mut next.optimizer)?;
        next.steps = checkpoint.get("steps")?;
        next.updates = checkpoint.get("updates")?;
        next.kl_coef = checkpoint.get("kl_coef")?;
        next.shuffle = checkpoint.get("shuffle")?;
        *self = next;
        Ok(())
    }
}

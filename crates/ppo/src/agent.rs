use crate::config::{Config, Objective};
use crate::loss::{self, Batch, Gradients, Terms};
use ndarray::{Array2, ArrayRef2, ArrayView2, s};
use rederive_env::{Stream, VecEnv};
use rederive_math::{normalise, surrogate};
use rederive_nn::{Optimizer, OptimizerConfig, clip_global_norm};
use rederive_train::normalize::ADVANTAGE_EPSILON;
use rederive_train::{
    ActionBuffer, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Minibatches, Networks,
    OnPolicy, PolicyBatch, Report, Rollout, on_policy_config,
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
    core: OnPolicy,
    optimizer: Optimizer<f32>,
    minibatches: Minibatches,
    shuffle: Stream,
    kl_coef: f64,
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
        let minibatches = Minibatches::new(config.num_envs * config.num_steps, config.minibatch);
        let rows = minibatches.largest();
        let core = OnPolicy::new(&on_policy_config!(config), env, rows, seed)?;
        let params = core.networks.params().len();
        Ok(Ppo {
            optimizer: Optimizer::new(OptimizerConfig::adam(config.adam_eps), params),
            minibatches,
            shuffle: Stream::new(seed, "shuffle", 0),
            kl_coef: config.kl_coef,
            grad: vec![0.0; params],
            batch: MinibatchBuffers {
                features: Array2::zeros((rows, env.observation_space().features())),
                action: ActionBuffer::new(env.action_space(), rows),
                old_log_prob: vec![0.0; rows],
                advantage: vec![0.0; rows],
                return_: vec![0.0; rows],
                old_value: vec![0.0; rows],
                value: vec![0.0; rows],
                d_value: Array2::zeros((rows, 1)),
                policy: core.networks.batch(rows),
            },
            core,
            config,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Actor and critic.
    pub fn networks(&self) -> &Networks {
        &self.core.networks
    }

    /// The last rollout.
    pub fn rollout(&self) -> &Rollout {
        self.core.collector.rollout()
    }

    /// The advantages and returns of the last rollout `[T, N]`.
    pub fn targets(&self) -> (&ArrayRef2<f32>, &ArrayRef2<f32>) {
        (&self.core.advantage, &self.core.return_)
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
        report.values.clear();
        report.values.extend([
            mean(totals.policy_loss),
            mean(totals.value_loss),
            mean(totals.entropy),
            kl,
            mean(totals.clip_fraction),
            self.core.explained_variance(),
            mean(totals.grad_norm),
            lr,
            clip_eps,
            self.kl_coef,
            f64::from(epochs),
            self.core.networks.mean_std(),
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
        let (networks, b) = (&mut self.core.networks, &mut self.batch);
        if self.config.normalize_advantage {
            normalise::advantages(&mut b.advantage[..n], ADVANTAGE_EPSILON);
        }
        let rows = b.features.slice(s![..n, ..]);
        networks.evaluate(&rows, &b.action, &mut b.policy);
        networks.critic_forward(&rows, &mut b.value[..n]);
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
        networks.policy_backward(&rows, &b.action, &mut b.policy, &mut self.grad);
        networks.critic_backward(&rows, &b.d_value.slice(s![..n, ..]), &mut self.grad);
        let norm = clip_global_norm(&mut self.grad, self.config.max_grad_norm as f32);
        for (term, x) in [("policy loss", terms.policy), ("value loss", terms.value), ("gradient", norm)] {
            Diverged::check(self.core.update(), term, &[x])?;
        }
        self.optimizer.step(self.core.networks.params_mut(), &self.grad, lr);
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
        let (lists, rollout, b) = (&self.minibatches, self.core.collector.rollout(), &mut self.batch);
        lists.gather_rows(list, rollout.features(), &mut b.features);
        match (rollout.action(), &mut b.action) {
            (ActionBuffer::Discrete(from), ActionBuffer::Discrete(to)) => lists.gather(list, from, to),
            (ActionBuffer::Continuous(from), ActionBuffer::Continuous(to)) => {
                lists.gather_rows(list, from, to);
            }
            _ => unreachable!("both buffers were made for the same action space"),
        }
        for (from, to) in [
            (rollout.log_prob(), &mut b.old_log_prob),
            (&*self.core.advantage, &mut b.advantage),
            (&*self.core.return_, &mut b.return_),
            (rollout.value(), &mut b.old_value),
        ] {
            lists.gather(list, from.as_slice().expect("time-major"), to);
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
        self.core.samples() as u64
    }

    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        self.core.collect(env, episodes, report)?;
        self.core.estimate(self.config.gamma, self.config.gae_lambda);
        self.learn(progress, report)
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        self.core.act_greedy(obs, actions);
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.core.save(checkpoint);
        checkpoint.put_optimizer("adam", &self.optimizer);
        checkpoint.put("kl_coef", &self.kl_coef);
        checkpoint.put("shuffle", &self.shuffle);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        Checkpoint::restore(self, |next| {
            next.core.load(checkpoint)?;
            checkpoint.get_optimizer("adam", &mut next.optimizer)?;
            next.kl_coef = checkpoint.get("kl_coef")?;
            next.shuffle = checkpoint.get("shuffle")?;
            Ok(())
        })
    }
}

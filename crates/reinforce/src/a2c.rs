use crate::a2c_config::{A2cConfig, Advantage};
use crate::agent::mean_std;
use crate::loss::{self, Batch, Coefficients, Gradients};
use ndarray::{Array2, ArrayRef2, ArrayView2};
use rederive_env::VecEnv;
use rederive_math::policy_gradient::weights;
use rederive_math::{gae, normalise, returns};
use rederive_nn::{Optimizer, clip_global_norm};
use rederive_train::{
    ActionBuffer, Checkpoint, Collector, ConfigError, Diverged, EpisodeLog, Learner, Metric, Networks,
    ObsNormalizer, PolicyBatch, Report, RewardNormalizer, Rollout, range,
};

/// What [`A2c`] reports after each rollout.
pub const A2C_METRICS: &[Metric] = &[
    Metric { name: "policy_loss", meaning: "surrogate loss; its value is not the objective" },
    Metric { name: "value_loss", meaning: "half the mean squared error of the critic" },
    Metric { name: "entropy", meaning: "mean entropy of the policy, nats" },
    Metric { name: "explained_variance", meaning: "1 - Var(return - value) / Var(return), before learning" },
    Metric { name: "grad_norm", meaning: "Euclidean norm of the gradient before clipping" },
    Metric { name: "lr", meaning: "step size" },
    Metric { name: "std", meaning: "mean standard deviation of a Gaussian policy, 0 for others" },
];

/// Keeps a rollout of equal advantages from dividing by zero; PyTorch implementations use the same number.
const ADVANTAGE_EPSILON: f32 = 1e-8;

/// An actor-critic: a few steps of all environments, then one step along the gradient of [`loss::total`].
///
/// With one environment, one step and `gae_lambda = 0` it is the one-step actor-critic of Barto, Sutton and Anderson (1983,
/// *Neuronlike Adaptive Elements That Can Solve Difficult Learning Control Problems*), with several of each A2C, the synchronous
/// form of Mnih et al. (2016, *Asynchronous Methods for Deep Reinforcement Learning*).
///
/// ```
/// use rederive_reinforce::{A2c, A2cConfig};
/// use rederive_train::{EpisodeLog, Learner, Report};
///
/// let mut env = rederive_env::make_vec("CartPole-v1", 8).unwrap();
/// let mut agent = A2c::new(A2cConfig::default(), env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut episodes, mut report) = (EpisodeLog::new(8), Report::default());
/// agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).unwrap();
/// assert_eq!(report.steps, 40);
/// ```
#[derive(Clone, Debug)]
pub struct A2c {
    name: &'static str,
    config: A2cConfig,
    networks: Networks,
    optimizer: Optimizer<f32>,
    collector: Collector,
    steps: u64,
    updates: u64,
    advantage: Array2<f32>,
    return_: Array2<f32>,
    td_error: Array2<f32>,
    /// gamma^t of the next step of each environment.
    discount: Vec<f32>,
    value: Vec<f32>,
    d_value: Array2<f32>,
    grad: Vec<f32>,
    batch: PolicyBatch,
}

impl A2c {
    /// An agent called `a2c` for environments like `env`, with weights and streams drawn from `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range, differs from the environment, or the action space does not fit.
    pub fn new(config: A2cConfig, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        range::same_num_envs(config.num_envs, env)?;
        let (observation, action) = (env.observation_space(), env.action_space());
        let (rows, shape) = (config.num_envs * config.num_steps, (config.num_steps, config.num_envs));
        let networks = Networks::new(&config.networks(), observation, action, config.num_envs, rows, seed)?;
        let mut collector = Collector::new(env, config.num_steps, config.gamma);
        collector.obs_normalizer = config.normalize_obs.then(|| ObsNormalizer::new(observation.features()));
        collector.reward_normalizer = config.normalize_reward.then(|| RewardNormalizer::new(config.num_envs));
        Ok(A2c {
            name: "a2c",
            optimizer: Optimizer::new(config.optimizer.config(config.optimizer_eps), networks.params().len()),
            collector,
            steps: 0,
            updates: 0,
            advantage: Array2::zeros(shape),
            return_: Array2::zeros(shape),
            td_error: Array2::zeros(shape),
            discount: vec![1.0; config.num_envs],
            value: vec![0.0; rows],
            d_value: Array2::zeros((rows, 1)),
            grad: vec![0.0; networks.params().len()],
            batch: networks.batch(rows),
            networks,
            config,
        })
    }

    /// The same, called `actor-critic`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn actor_critic(config: A2cConfig, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        Ok(A2c { name: "actor-critic", ..A2c::new(config, env, seed)? })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &A2cConfig {
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

    /// The advantages, as weighted in the loss, and returns of the last rollout `[T, N]`.
    pub fn targets(&self) -> (&ArrayRef2<f32>, &ArrayRef2<f32>) {
        (&self.advantage, &self.return_)
    }

    /// Advantages and value targets of the last rollout.
    fn estimate(&mut self) {
        let (rollout, config) = (self.collector.rollout(), &self.config);
        let (reward, value, next_value) = (rollout.reward(), rollout.value(), rollout.next_value());
        let (end, gamma) = (rollout.end(), config.gamma as f32);
        match config.advantage {
            Advantage::Gae => {
                let lambda = config.gae_lambda as f32;
                let out = (&mut self.advantage, &mut self.return_);
                gae::gae(reward, value, next_value, end, gamma, lambda, out.0, out.1);
            }
            Advantage::NStep => {
                returns::td_error(reward, value, next_value, end, gamma, &mut self.td_error);
                gae::k_step(&self.td_error, end, gamma, config.n_step, &mut self.advantage);
                self.return_.assign(value);
                self.return_ += &self.advantage;
            }
        }
        if config.normalize_advantage {
            normalise::advantages(self.advantage.as_slice_mut().expect("time-major"), ADVANTAGE_EPSILON);
        }
        if config.discount_weights {
            weights::discount_by_time(end, gamma, &mut self.discount, &mut self.advantage);
        }
    }

    /// One step along the gradient of the whole rollout.
    fn learn(&mut self, progress: f64, report: &mut Report) -> Result<(), Diverged> {
        let rollout = self.collector.rollout();
        let return_ = self.return_.as_slice().expect("time-major");
        let old_value = rollout.value().as_slice().expect("time-major");
        let explained = normalise::explained_variance(old_value, return_);
        let lr = self.config.lr_schedule.at(self.config.lr, progress);
        let (features, action, b) = (rollout.features(), rollout.action(), &mut self.batch);
        self.networks.evaluate(features, action, b);
        self.networks.critic_forward(features, &mut self.value);
        let terms = loss::total(
            &Batch {
                log_prob: &b.log_prob,
                weight: self.advantage.as_slice().expect("time-major"),
                entropy: &b.entropy,
                value: &self.value,
                return_,
            },
            &Coefficients { vf_coef: self.config.vf_coef as f32, ent_coef: self.config.ent_coef as f32 },
            &mut Gradients {
                log_prob: &mut b.d_log_prob,
                entropy: &mut b.d_entropy,
                value: self.d_value.as_slice_mut().expect("contiguous"),
            },
        );
        self.grad.fill(0.0);
        self.networks.policy_backward(features, action, b, &mut self.grad);
        self.networks.critic_backward(features, &self.d_value, &mut self.grad);
        let norm = clip_global_norm(&mut self.grad, self.config.max_grad_norm as f32);
        for (term, x) in [("policy loss", terms.policy), ("value loss", terms.value), ("gradient", norm)] {
            if !x.is_finite() {
                return Err(Diverged { update: self.updates + 1, term: term.to_owned() });
            }
        }
        self.optimizer.step(self.networks.params_mut(), &self.grad, lr as f32);
        report.values.clear();
        report.values.extend([
            f64::from(terms.policy),
            f64::from(terms.value),
            f64::from(terms.entropy),
            f64::from(explained),
            f64::from(norm),
            lr,
            mean_std(&self.networks),
        ]);
        Ok(())
    }
}

impl Learner for A2c {
    fn algo(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [Metric] {
        A2C_METRICS
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
        self.collector.collect(env, &mut self.networks, episodes, self.steps, update)?;
        self.estimate();
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
        checkpoint.put_optimizer("optimizer", &self.optimizer);
        checkpoint.put_tensor("discount", &self.discount);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        // Everything is read before anything is changed: a checkpoint that does not fit leaves the agent as it was.
        let mut next = self.clone();
        next.networks.load(checkpoint)?;
        next.collector.load(checkpoint)?;
        checkpoint.get_optimizer("optimizer", &mut next.optimizer)?;
        checkpoint.get_tensor("discount", &mut next.discount)?;
        next.steps = checkpoint.get("steps")?;
        next.updates = checkpoint.get("updates")?;
        *self = next;
        Ok(())
    }
}

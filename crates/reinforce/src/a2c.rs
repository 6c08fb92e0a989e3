use crate::a2c_config::{A2cConfig, Advantage};
use crate::loss::{self, Batch, Coefficients, Gradients};
use ndarray::{Array2, ArrayRef2, ArrayView2};
use rederive_env::VecEnv;
use rederive_math::policy_gradient::weights;
use rederive_math::{gae, normalise, returns};
use rederive_nn::{Optimizer, clip_global_norm};
use rederive_train::normalize::ADVANTAGE_EPSILON;
use rederive_train::{
    ActionBuffer, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Networks, OnPolicy,
    PolicyBatch, Report, Rollout, on_policy_config,
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
    core: OnPolicy,
    optimizer: Optimizer<f32>,
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
        let rows = config.num_envs * config.num_steps;
        let core = OnPolicy::new(&on_policy_config!(config), env, rows, seed)?;
        let params = core.networks.params().len();
        Ok(A2c {
            name: "a2c",
            optimizer: Optimizer::new(config.optimizer.config(config.optimizer_eps), params),
            td_error: Array2::zeros((config.num_steps, config.num_envs)),
            discount: vec![1.0; config.num_envs],
            value: vec![0.0; rows],
            d_value: Array2::zeros((rows, 1)),
            grad: vec![0.0; params],
            batch: core.networks.batch(rows),
            core,
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
        &self.core.networks
    }

    /// The last rollout.
    pub fn rollout(&self) -> &Rollout {
        self.core.collector.rollout()
    }

    /// The advantages, as weighted in the loss, and returns of the last rollout `[T, N]`.
    pub fn targets(&self) -> (&ArrayRef2<f32>, &ArrayRef2<f32>) {
        (&self.core.advantage, &self.core.return_)
    }

    /// Advantages and value targets of the last rollout.
    fn estimate(&mut self) {
        let (config, gamma) = (&self.config, self.config.gamma as f32);
        match config.advantage {
            Advantage::Gae => self.core.estimate(config.gamma, config.gae_lambda),
            Advantage::NStep => {
                let rollout = self.core.collector.rollout();
                let (value, next_value, end) = (rollout.value(), rollout.next_value(), rollout.end());
                returns::td_error(rollout.reward(), value, next_value, end, gamma, &mut self.td_error);
                gae::k_step(&self.td_error, end, gamma, config.n_step, &mut self.core.advantage);
                self.core.return_.assign(value);
                self.core.return_ += &self.core.advantage;
            }
        }
        let (end, advantage) = (self.core.collector.rollout().end(), &mut self.core.advantage);
        if config.normalize_advantage {
            normalise::advantages(advantage.as_slice_mut().expect("time-major"), ADVANTAGE_EPSILON);
        }
        if config.discount_weights {
            weights::discount_by_time(end, gamma, &mut self.discount, advantage);
        }
    }

    /// One step along the gradient of the whole rollout.
    fn learn(&mut self, progress: f64, report: &mut Report) -> Result<(), Diverged> {
        let lr = self.config.lr_schedule.at(self.config.lr, progress);
        let (networks, rollout) = (&mut self.core.networks, self.core.collector.rollout());
        let (features, action, b) = (rollout.features(), rollout.action(), &mut self.batch);
        networks.evaluate(features, action, b);
        networks.critic_forward(features, &mut self.value);
        let terms = loss::total(
            &Batch {
                log_prob: &b.log_prob,
                weight: self.core.advantage.as_slice().expect("time-major"),
                entropy: &b.entropy,
                value: &self.value,
                return_: self.core.return_.as_slice().expect("time-major"),
            },
            &Coefficients { vf_coef: self.config.vf_coef as f32, ent_coef: self.config.ent_coef as f32 },
            &mut Gradients {
                log_prob: &mut b.d_log_prob,
                entropy: &mut b.d_entropy,
                value: self.d_value.as_slice_mut().expect("contiguous"),
            },
        );
        self.grad.fill(0.0);
        networks.policy_backward(features, action, b, &mut self.grad);
        networks.critic_backward(features, &self.d_value, &mut self.grad);
        let norm = clip_global_norm(&mut self.grad, self.config.max_grad_norm as f32);
        for (term, x) in [("policy loss", terms.policy), ("value loss", terms.value), ("gradient", norm)] {
            Diverged::check(self.core.update(), term, &[x])?;
        }
        self.optimizer.step(self.core.networks.params_mut(), &self.grad, lr as f32);
        report.values.clear();
        report.values.extend([
            f64::from(terms.policy),
            f64::from(terms.value),
            f64::from(terms.entropy),
            self.core.explained_variance(),
            f64::from(norm),
            lr,
            self.core.networks.mean_std(),
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
        self.estimate();
        self.learn(progress, report)
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        self.core.act_greedy(obs, actions);
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.core.save(checkpoint);
        checkpoint.put_optimizer("optimizer", &self.optimizer);
        checkpoint.put_tensor("discount", &self.discount);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        Checkpoint::restore(self, |next| {
            next.core.load(checkpoint)?;
            checkpoint.get_optimizer("optimizer", &mut next.optimizer)?;
            checkpoint.get_tensor("discount", &mut next.discount)
        })
    }
}

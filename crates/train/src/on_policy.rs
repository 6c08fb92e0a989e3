use crate::{
    ActionBuffer, Checkpoint, Collector, ConfigError, Diverged, EpisodeLog, NetworkConfig, Networks, Report,
    range,
};
use ndarray::{Array2, ArrayView2};
use rederive_env::VecEnv;
use rederive_math::{gae, normalise};

/// What decides about an [`OnPolicy`]; [`on_policy_config!`](crate::on_policy_config) takes it from an algorithm's configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnPolicyConfig<'a> {
    /// Actor and critic.
    pub networks: NetworkConfig<'a>,
    /// Environments stepped together, N.
    pub num_envs: usize,
    /// Steps per environment and rollout, T.
    pub num_steps: usize,
    /// Discount.
    pub gamma: f64,
    /// Running normalisation of observations.
    pub normalize_obs: bool,
    /// Running scaling of rewards.
    pub normalize_reward: bool,
}

/// The [`OnPolicyConfig`] of a configuration that has all its fields under the same names.
#[macro_export]
macro_rules! on_policy_config {
    ($config:expr) => {
        $crate::OnPolicyConfig {
            networks: $crate::network_config!($config),
            num_envs: $config.num_envs,
            num_steps: $config.num_steps,
            gamma: $config.gamma,
            normalize_obs: $config.normalize_obs,
            normalize_reward: $config.normalize_reward,
        }
    };
}

/// What all agents have that learn from rollouts: actor and critic, the last rollout with its advantages, and how far the run
/// has come. How the networks learn is left to them.
#[derive(Clone, Debug)]
pub struct OnPolicy {
    /// Actor and critic.
    pub networks: Networks,
    /// What fills rollouts, and has the last one.
    pub collector: Collector,
    /// Advantages of the last rollout `[T, N]`.
    pub advantage: Array2<f32>,
    /// What the critic is fitted to `[T, N]`.
    pub return_: Array2<f32>,
    steps: u64,
    updates: u64,
}

impl OnPolicy {
    /// For environments like `env` and gradients of up to `batch` samples, with weights and streams drawn from `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range, differs from the environment, or the action space does not fit.
    pub fn new(
        config: &OnPolicyConfig<'_>,
        env: &dyn VecEnv,
        batch: usize,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        range::same_num_envs(config.num_envs, env)?;
        let (observation, action) = (env.observation_space(), env.action_space());
        let shape = (config.num_steps, config.num_envs);
        Ok(OnPolicy {
            networks: Networks::new(&config.networks, observation, action, config.num_envs, batch, seed)?,
            collector: Collector::new(env, config),
            advantage: Array2::zeros(shape),
            return_: Array2::zeros(shape),
            steps: 0,
            updates: 0,
        })
    }

    /// The number of the present update, counted from 1.
    pub fn update(&self) -> u64 {
        self.updates
    }

    /// Samples in a rollout, T * N.
    pub fn samples(&self) -> usize {
        self.advantage.len()
    }

    /// Begins an update: collects a rollout and counts its steps.
    ///
    /// # Errors
    /// If a reward, an observation or a value is not finite.
    pub fn collect(
        &mut self,
        env: &mut dyn VecEnv,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        self.updates += 1;
        self.collector.collect(env, &mut self.networks, episodes, self.steps, self.updates)?;
        report.steps = self.samples() as u64;
        self.steps += report.steps;
        Ok(())
    }

    /// Advantages and value targets of the last rollout (`gae.recursion`).
    pub fn estimate(&mut self, gamma: f64, gae_lambda: f64) {
        let rollout = self.collector.rollout();
        gae::gae(
            rollout.reward(),
            rollout.value(),
            rollout.next_value(),
            rollout.end(),
            gamma as f32,
            gae_lambda as f32,
            &mut self.advantage,
            &mut self.return_,
        );
    }

    /// The share of the value targets' variance that the values explain with which the rollout was collected.
    pub fn explained_variance(&self) -> f64 {
        let value = self.collector.rollout().value().as_slice().expect("time-major");
        f64::from(normalise::explained_variance(value, self.return_.as_slice().expect("time-major")))
    }

    /// The most likely actions for the rows of `obs` `[N, D]`, within their bounds.
    pub fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        self.collector.act_greedy(&mut self.networks, obs, actions);
    }

    /// Adds all of it but the last rollout, from which everything has been learnt.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        self.networks.save(checkpoint);
        self.collector.save(checkpoint);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
    }

    /// Restores what [`save`](Self::save) added; the problem in words if it does not fit, in which case some of it may already be
    /// restored.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        self.networks.load(checkpoint)?;
        self.collector.load(checkpoint)?;
        self.steps = checkpoint.get("steps")?;
        self.updates = checkpoint.get("updates")?;
        Ok(())
    }
}

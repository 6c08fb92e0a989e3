use crate::config::Rule;
use rederive_nn::{Activation, Schedule};
use rederive_train::{ConfigError, Init, Policy, network_config, range};
use serde::{Deserialize, Serialize};

/// The hyper-parameters of the actor-critics. The defaults are those of Stable-Baselines3's A2C (Raffin et al., 2021), with
/// eight environments.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 8 | 1..=65536 | environments stepped together, N |
/// | `num_steps` | 5 | 1..=1048576 | steps per environment and update, T |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `advantage` | `"gae"` | gae, n-step | how advantages are estimated |
/// | `gae_lambda` | 1 | \[0, 1\] | mixture of k-step advantages: 0 is the TD error, 1 all rewards of the rollout |
/// | `n_step` | 1 | 1..=1048576 | rewards in an n-step advantage; at most those of the rollout are used |
/// | `discount_weights` | false | | multiplies the weight of an episode's step t by gamma^t (`pg.discount-factor`) |
/// | `lr` | 7e-4 | (0, 1\] | step size |
/// | `lr_schedule` | `"constant"` | constant, linear | how it changes over the run |
/// | `optimizer` | `"rmsprop"` | adam, rmsprop, sgd | the rule |
/// | `optimizer_eps` | 1e-5 | (0, 1\] | added to the root in Adam and RMSProp |
/// | `vf_coef` | 1 | \[0, inf) | weight of the value loss, half the mean squared error |
/// | `ent_coef` | 0 | \[0, inf) | weight of the entropy bonus |
/// | `max_grad_norm` | 0.5 | (0, inf) | largest Euclidean norm of the whole gradient |
/// | `normalize_advantage` | false | | to mean 0 and standard deviation 1 per rollout |
/// | `normalize_obs` | false | | running normalisation of observations |
/// | `normalize_reward` | false | | running scaling of rewards |
/// | `hidden` | \[64, 64\] | 1..=4096 each | hidden layers of actor and critic, which share nothing |
/// | `activation` | `"tanh"` | tanh, relu, identity | between layers |
/// | `init` | `"orthogonal"` | orthogonal, uniform | starting weights |
/// | `policy` | `"gaussian"` | gaussian, beta | the distribution of continuous actions |
/// | `log_std` | 0 | \[-10, 2\] | initial log standard deviation, Gaussian actions |
/// | `noise_correlation` | 0 | \[0, 1) | correlation of successive exploration noise, Gaussian actions |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct A2cConfig {
    /// Environments stepped together, N.
    pub num_envs: usize,
    /// Steps per environment and update, T.
    #[doc(alias = "n_steps")]
    pub num_steps: usize,
    /// Discount.
    pub gamma: f64,
    /// How advantages are estimated.
    pub advantage: Advantage,
    /// Mixture of k-step advantages.
    pub gae_lambda: f64,
    /// Rewards in an n-step advantage.
    pub n_step: usize,
    /// Multiplies the weight of an episode's step t by gamma^t.
    pub discount_weights: bool,
    /// Step size.
    #[doc(alias = "learning_rate")]
    pub lr: f64,
    /// How it changes over the run.
    pub lr_schedule: Schedule,
    /// The rule.
    #[doc(alias = "use_rms_prop")]
    pub optimizer: Rule,
    /// Added to the root in Adam and RMSProp.
    #[doc(alias = "rms_prop_eps")]
    pub optimizer_eps: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Largest Euclidean norm of the whole gradient.
    pub max_grad_norm: f64,
    /// Normalises advantages per rollout.
    pub normalize_advantage: bool,
    /// Running normalisation of observations.
    pub normalize_obs: bool,
    /// Running scaling of rewards.
    pub normalize_reward: bool,
    /// Hidden layers of actor and critic.
    #[doc(alias = "net_arch")]
    pub hidden: Vec<usize>,
    /// Between layers.
    pub activation: Activation,
    /// Starting weights.
    #[doc(alias = "ortho_init")]
    pub init: Init,
    /// The distribution of continuous actions.
    pub policy: Policy,
    /// Initial log standard deviation of Gaussian actions.
    #[doc(alias = "log_std_init")]
    pub log_std: f64,
    /// Correlation of successive exploration noise of Gaussian actions.
    pub noise_correlation: f64,
}

/// How advantages are estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advantage {
    /// Generalised advantage estimation (`gae.recursion`).
    #[default]
    Gae,
    /// The n-step return minus the value (`gae.kstep`); with `n_step = 1` the TD error (`ac.one-step`).
    NStep,
}

impl Default for A2cConfig {
    fn default() -> Self {
        A2cConfig {
            num_envs: 8,
            num_steps: 5,
            gamma: 0.99,
            advantage: Advantage::Gae,
            gae_lambda: 1.0,
            n_step: 1,
            discount_weights: false,
            lr: 7e-4,
            lr_schedule: Schedule::Constant,
            optimizer: Rule::RmsProp,
            optimizer_eps: 1e-5,
            vf_coef: 1.0,
            ent_coef: 0.0,
            max_grad_norm: 0.5,
            normalize_advantage: false,
            normalize_obs: false,
            normalize_reward: false,
            hidden: vec![64, 64],
            activation: Activation::Tanh,
            init: Init::Orthogonal,
            policy: Policy::Gaussian,
            log_std: 0.0,
            noise_correlation: 0.0,
        }
    }
}

impl A2cConfig {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range::rollout(self.num_envs, self.num_steps, 1 << 26)?;
        range::share("gamma", self.gamma)?;
        range::share("gae_lambda", self.gae_lambda)?;
        range::count("n_step", self.n_step, 1 << 20)?;
        range::positive_share("lr", self.lr)?;
        range::positive_share("optimizer_eps", self.optimizer_eps)?;
        range::not_negative("vf_coef", self.vf_coef)?;
        range::not_negative("ent_coef", self.ent_coef)?;
        range::positive("max_grad_norm", self.max_grad_norm)?;
        network_config!(self).validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_names_its_field() {
        type Change = fn(&mut A2cConfig);
        let cases: [(&str, Change); 13] = [
            ("num_envs", |c| c.num_envs = 0),
            ("num_steps", |c| c.num_steps = 0),
            ("num_envs * num_steps", |c| (c.num_envs, c.num_steps) = (1 << 16, 1 << 16)),
            ("gamma", |c| c.gamma = 1.5),
            ("gae_lambda", |c| c.gae_lambda = f64::NAN),
            ("n_step", |c| c.n_step = 0),
            ("lr", |c| c.lr = 0.0),
            ("optimizer_eps", |c| c.optimizer_eps = -1.0),
            ("vf_coef", |c| c.vf_coef = -0.1),
            ("ent_coef", |c| c.ent_coef = f64::INFINITY),
            ("max_grad_norm", |c| c.max_grad_norm = 0.0),
            ("hidden", |c| c.hidden = vec![64, 0]),
            ("noise_correlation", |c| (c.policy, c.noise_correlation) = (Policy::Beta, 0.5)),
        ];
        assert_eq!(A2cConfig::default().validate(), Ok(()));
        for (field, change) in cases {
            let mut config = A2cConfig::default();
            change(&mut config);
            assert_eq!(config.validate().expect_err(field).field, field);
        }
    }
}

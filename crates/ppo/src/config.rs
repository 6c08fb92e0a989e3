use rederive_nn::{Activation, Schedule};
use rederive_train::{ConfigError, Init, Policy, network_config, range};
use serde::{Deserialize, Serialize};

/// The hyper-parameters of PPO. The defaults are those of CleanRL's `ppo.py` (Huang et al., 2022).
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 4 | 1..=65536 | environments stepped together, N |
/// | `num_steps` | 128 | 1..=1048576 | steps per environment and rollout, T |
/// | `num_epochs` | 4 | 1..=1000 | passes over each rollout |
/// | `minibatch` | 128 | 1.. | samples per gradient step; the last of an epoch may be smaller |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `gae_lambda` | 0.95 | \[0, 1\] | mixture of k-step advantages |
/// | `lr` | 2.5e-4 | (0, 1\] | Adam's step size |
/// | `lr_schedule` | `"linear"` | constant, linear | how it changes over the run |
/// | `objective` | `"clip"` | clip, penalty | which surrogate |
/// | `clip_eps` | 0.2 | (0, 1) | half-width of the clip interval |
/// | `clip_schedule` | `"constant"` | constant, linear | how it changes over the run |
/// | `kl_coef` | 1 | (0, inf) | initial weight of the KL penalty |
/// | `target_kl` | none | (0, inf) | stops the epochs of a rollout beyond it; with `penalty`, what `kl_coef` adapts to |
/// | `clip_value` | true | | clips the value loss around the old value by `clip_eps` |
/// | `vf_coef` | 0.5 | \[0, inf) | weight of the value loss |
/// | `ent_coef` | 0.01 | \[0, inf) | weight of the entropy bonus |
/// | `max_grad_norm` | 0.5 | (0, inf) | largest Euclidean norm of the whole gradient |
/// | `normalize_advantage` | true | | to mean 0 and standard deviation 1 per minibatch |
/// | `normalize_obs` | false | | running normalisation of observations |
/// | `normalize_reward` | false | | running scaling of rewards |
/// | `hidden` | \[64, 64\] | 1..=4096 each | hidden layers of actor and critic, which share nothing |
/// | `activation` | `"tanh"` | tanh, relu, identity | between layers |
/// | `init` | `"orthogonal"` | orthogonal, uniform | starting weights |
/// | `adam_eps` | 1e-5 | (0, 1\] | Adam's epsilon |
/// | `policy` | `"gaussian"` | gaussian, beta | distribution of continuous actions; beta needs bounds |
/// | `log_std` | 0 | \[-10, 2\] | initial log standard deviation, Gaussian policy |
/// | `noise_correlation` | 0 | \[0, 1) | correlation of successive exploration noise, Gaussian policy |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environments stepped together, N.
    pub num_envs: usize,
    /// Steps per environment and rollout, T.
    #[doc(alias = "n_steps")]
    pub num_steps: usize,
    /// Passes over each rollout.
    #[doc(alias = "n_epochs")]
    #[doc(alias = "update_epochs")]
    pub num_epochs: usize,
    /// Samples per gradient step.
    #[doc(alias = "batch_size")]
    pub minibatch: usize,
    /// Discount.
    pub gamma: f64,
    /// Mixture of k-step advantages.
    pub gae_lambda: f64,
    /// Adam's step size.
    #[doc(alias = "learning_rate")]
    pub lr: f64,
    /// How the step size changes over the run.
    #[doc(alias = "anneal_lr")]
    pub lr_schedule: Schedule,
    /// Which surrogate.
    pub objective: Objective,
    /// Half-width of the clip interval.
    #[doc(alias = "clip_range")]
    #[doc(alias = "clip_coef")]
    pub clip_eps: f64,
    /// How the clip interval changes over the run.
    pub clip_schedule: Schedule,
    /// Initial weight of the KL penalty.
    pub kl_coef: f64,
    /// Stops the epochs of a rollout beyond it; with the penalty objective, what `kl_coef` adapts to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kl: Option<f64>,
    /// Clips the value loss around the old value by `clip_eps`.
    #[doc(alias = "clip_vloss")]
    pub clip_value: bool,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Largest Euclidean norm of the whole gradient.
    pub max_grad_norm: f64,
    /// Normalises advantages per minibatch.
    #[doc(alias = "norm_adv")]
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
    /// Adam's epsilon.
    pub adam_eps: f64,
    /// Distribution of continuous actions.
    pub policy: Policy,
    /// Initial log standard deviation of a Gaussian policy.
    #[doc(alias = "log_std_init")]
    pub log_std: f64,
    /// Correlation of successive exploration noise of a Gaussian policy.
    pub noise_correlation: f64,
}

/// Which surrogate is maximised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// The clipped surrogate (`ppo.clip-form`).
    #[default]
    Clip,
    /// The surrogate minus `kl_coef` times KL(old || new), with the coefficient adapted to `target_kl` (`ppo.penalty`,
    /// `ppo.beta-adapt`).
    Penalty,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_envs: 4,
            num_steps: 128,
            num_epochs: 4,
            minibatch: 128,
            gamma: 0.99,
            gae_lambda: 0.95,
            lr: 2.5e-4,
            lr_schedule: Schedule::Linear,
            objective: Objective::Clip,
            clip_eps: 0.2,
            clip_schedule: Schedule::Constant,
            kl_coef: 1.0,
            target_kl: None,
            clip_value: true,
            vf_coef: 0.5,
            ent_coef: 0.01,
            max_grad_norm: 0.5,
            normalize_advantage: true,
            normalize_obs: false,
            normalize_reward: false,
            hidden: vec![64, 64],
            activation: Activation::Tanh,
            init: Init::Orthogonal,
            adam_eps: 1e-5,
            policy: Policy::Gaussian,
            log_std: 0.0,
            noise_correlation: 0.0,
        }
    }
}

impl Config {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range::rollout(self.num_envs, self.num_steps, 1 << 26)?;
        range::count("num_epochs", self.num_epochs, 1000)?;
        range::count("minibatch", self.minibatch, u32::MAX as usize)?;
        range::share("gamma", self.gamma)?;
        range::share("gae_lambda", self.gae_lambda)?;
        range::positive_share("lr", self.lr)?;
        range::inner_share("clip_eps", self.clip_eps)?;
        range::positive("kl_coef", self.kl_coef)?;
        if let Some(target) = self.target_kl {
            range::positive("target_kl", target)?;
        }
        if self.objective == Objective::Penalty && self.target_kl.is_none() {
            return Err(ConfigError::new("target_kl", "none", "set when objective = \"penalty\""));
        }
        range::not_negative("vf_coef", self.vf_coef)?;
        range::not_negative("ent_coef", self.ent_coef)?;
        range::positive("max_grad_norm", self.max_grad_norm)?;
        range::positive_share("adam_eps", self.adam_eps)?;
        network_config!(self).validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_names_its_field() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 16] = [
            ("num_envs", |c| c.num_envs = 0),
            ("num_steps", |c| c.num_steps = 0),
            ("num_epochs", |c| c.num_epochs = 0),
            ("minibatch", |c| c.minibatch = 0),
            ("gamma", |c| c.gamma = 1.5),
            ("gae_lambda", |c| c.gae_lambda = f64::NAN),
            ("lr", |c| c.lr = 0.0),
            ("clip_eps", |c| c.clip_eps = 1.0),
            ("kl_coef", |c| c.kl_coef = -1.0),
            ("target_kl", |c| c.target_kl = Some(0.0)),
            ("target_kl", |c| c.objective = Objective::Penalty),
            ("vf_coef", |c| c.vf_coef = -0.1),
            ("ent_coef", |c| c.ent_coef = f64::INFINITY),
            ("max_grad_norm", |c| c.max_grad_norm = 0.0),
            ("hidden", |c| c.hidden = vec![64, 0]),
            ("noise_correlation", |c| c.noise_correlation = 1.0),
        ];
        assert_eq!(Config::default().validate(), Ok(()));
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().expect_err(field).field, field);
        }
    }
}

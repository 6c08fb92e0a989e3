use rederive_nn::{Activation, Schedule};
use rederive_train::{ConfigError, Init, Policy, network_config, range};
use serde::{Deserialize, Serialize};

/// What is done with the natural gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Trust-region policy optimisation: a step of model divergence `target_kl`, shortened until the true divergence is
    /// within `target_kl` and the surrogate gains.
    Trpo,
    /// Natural policy gradient: the step as it is, of model divergence `target_kl` or of size `policy_lr`.
    Npg,
}

impl Method {
    /// The method's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::Trpo => "trpo",
            Method::Npg => "npg",
        }
    }
}

/// The hyper-parameters of both methods.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 2 | 1..=65536 | environments stepped together, N |
/// | `num_steps` | 512 | 1..=1048576 | steps per environment and rollout, T |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `gae_lambda` | 0.95 | \[0, 1\] | mixture of k-step advantages |
/// | `target_kl` | 0.01 | (0, inf) | radius of the trust region, mean KL(old \|\| new), nats |
/// | `policy_lr` | none | (0, inf) | `npg` only: the step is this times the natural gradient, whatever its divergence |
/// | `cg_iterations` | 15 | 1..=10000 | most conjugate gradient steps |
/// | `cg_tolerance` | 1e-5 | \[0, 1) | residual, relative to the gradient, at which they stop |
/// | `cg_damping` | 0.1 | \[0, inf) | added to the diagonal of the Fisher matrix; 0 leaves it singular |
/// | `cg_precondition` | false | | divides by an estimate of the Fisher matrix's diagonal |
/// | `fisher_fraction` | 1 | (0, 1\] | share of the rollout's states in the Fisher matrix, evenly spaced |
/// | `backtrack` | 0.8 | (0, 1) | each candidate of the line search is this much shorter, `trpo` only |
/// | `max_backtracks` | 10 | 1..=1000 | candidates of the line search before the old policy is kept, `trpo` only |
/// | `critic_epochs` | 10 | 1..=1000 | passes of the critic over each rollout |
/// | `minibatch` | 128 | 1.. | samples per gradient step of the critic; the last of an epoch may be smaller |
/// | `lr` | 1e-3 | (0, 1\] | Adam's step size, critic |
/// | `lr_schedule` | `"constant"` | constant, linear | how it changes over the run |
/// | `adam_eps` | 1e-5 | (0, 1\] | Adam's epsilon |
/// | `normalize_advantage` | true | | to mean 0 and standard deviation 1 per rollout |
/// | `normalize_obs` | false | | running normalisation of observations |
/// | `normalize_reward` | false | | running scaling of rewards |
/// | `hidden` | \[64, 64\] | 1..=4096 each | hidden layers of actor and critic, which share nothing |
/// | `activation` | `"tanh"` | tanh, relu, softplus, identity | between layers |
/// | `init` | `"orthogonal"` | orthogonal, uniform | starting weights |
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
    /// Discount.
    pub gamma: f64,
    /// Mixture of k-step advantages.
    pub gae_lambda: f64,
    /// Radius of the trust region, mean KL(old || new), nats.
    #[doc(alias = "max_kl")]
    #[doc(alias = "delta")]
    pub target_kl: f64,
    /// The step of `npg` in natural gradients, instead of one of model divergence `target_kl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_lr: Option<f64>,
    /// Most conjugate gradient steps.
    #[doc(alias = "cg_max_steps")]
    pub cg_iterations: usize,
    /// Residual, relative to the gradient, at which they stop.
    #[doc(alias = "residual_tol")]
    pub cg_tolerance: f64,
    /// Added to the diagonal of the Fisher matrix.
    pub cg_damping: f64,
    /// Divides by an estimate of the Fisher matrix's diagonal.
    pub cg_precondition: bool,
    /// Share of the rollout's states in the Fisher matrix.
    #[doc(alias = "sub_sampling_factor")]
    pub fisher_fraction: f64,
    /// Each candidate of the line search is this much shorter.
    #[doc(alias = "line_search_shrinking_factor")]
    pub backtrack: f64,
    /// Candidates of the line search before the old policy is kept.
    #[doc(alias = "line_search_max_iter")]
    pub max_backtracks: usize,
    /// Passes of the critic over each rollout.
    #[doc(alias = "n_critic_updates")]
    pub critic_epochs: usize,
    /// Samples per gradient step of the critic.
    #[doc(alias = "batch_size")]
    pub minibatch: usize,
    /// Adam's step size, critic.
    #[doc(alias = "learning_rate")]
    pub lr: f64,
    /// How the step size changes over the run.
    pub lr_schedule: Schedule,
    /// Adam's epsilon.
    pub adam_eps: f64,
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
    /// Initial log standard deviation of a Gaussian policy.
    #[doc(alias = "log_std_init")]
    pub log_std: f64,
    /// Correlation of successive exploration noise of a Gaussian policy.
    pub noise_correlation: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_envs: 2,
            num_steps: 512,
            gamma: 0.99,
            gae_lambda: 0.95,
            target_kl: 0.01,
            policy_lr: None,
            cg_iterations: 15,
            cg_tolerance: 1e-5,
            cg_damping: 0.1,
            cg_precondition: false,
            fisher_fraction: 1.0,
            backtrack: 0.8,
            max_backtracks: 10,
            critic_epochs: 10,
            minibatch: 128,
            lr: 1e-3,
            lr_schedule: Schedule::Constant,
            adam_eps: 1e-5,
            normalize_advantage: true,
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

/// Most samples in a rollout: the policy takes all of them in one pass.
const MAX_SAMPLES: usize = 1 << 22;

impl Config {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range::rollout(self.num_envs, self.num_steps, MAX_SAMPLES)?;
        range::share("gamma", self.gamma)?;
        range::share("gae_lambda", self.gae_lambda)?;
        range::positive("target_kl", self.target_kl)?;
        if let Some(lr) = self.policy_lr {
            range::positive("policy_lr", lr)?;
        }
        range::count("cg_iterations", self.cg_iterations, 10_000)?;
        let tolerance = self.cg_tolerance;
        range::number("cg_tolerance", tolerance, (0.0..1.0).contains(&tolerance), "in [0, 1)")?;
        range::not_negative("cg_damping", self.cg_damping)?;
        range::positive_share("fisher_fraction", self.fisher_fraction)?;
        range::inner_share("backtrack", self.backtrack)?;
        range::count("max_backtracks", self.max_backtracks, 1000)?;
        range::count("critic_epochs", self.critic_epochs, 1000)?;
        range::count("minibatch", self.minibatch, u32::MAX as usize)?;
        range::positive_share("lr", self.lr)?;
        range::positive_share("adam_eps", self.adam_eps)?;
        network_config!(self).validate()
    }

    /// How many rows lie between two that the Fisher matrix takes.
    pub(crate) fn fisher_stride(&self) -> usize {
        let samples = self.num_envs * self.num_steps;
        ((1.0 / self.fisher_fraction).round() as usize).clamp(1, samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_names_its_field() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 19] = [
            ("num_envs", |c| c.num_envs = 0),
            ("num_steps", |c| c.num_steps = 0),
            ("num_envs * num_steps", |c| (c.num_envs, c.num_steps) = (1 << 16, 1 << 20)),
            ("gamma", |c| c.gamma = 1.5),
            ("gae_lambda", |c| c.gae_lambda = f64::NAN),
            ("target_kl", |c| c.target_kl = 0.0),
            ("policy_lr", |c| c.policy_lr = Some(-1.0)),
            ("cg_iterations", |c| c.cg_iterations = 0),
            ("cg_tolerance", |c| c.cg_tolerance = 1.0),
            ("cg_damping", |c| c.cg_damping = -0.1),
            ("fisher_fraction", |c| c.fisher_fraction = 0.0),
            ("backtrack", |c| c.backtrack = 1.0),
            ("max_backtracks", |c| c.max_backtracks = 0),
            ("critic_epochs", |c| c.critic_epochs = 0),
            ("minibatch", |c| c.minibatch = 0),
            ("lr", |c| c.lr = 0.0),
            ("adam_eps", |c| c.adam_eps = f64::INFINITY),
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

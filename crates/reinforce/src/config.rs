use rederive_math::policy_gradient::loss;
use rederive_nn::{Activation, OptimizerConfig, Schedule};
use rederive_train::{ConfigError, Init, Policy, network_config, range};
use serde::{Deserialize, Serialize};

/// The hyper-parameters of REINFORCE.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 1 | 1..=65536 | environments stepped together |
/// | `episodes` | 8 | 1..=65536, a multiple of `num_envs` | whole episodes per update |
/// | `max_episode_steps` | 10000 | 1..=1048576 | where an episode is cut off that the environment does not end |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `returns` | `"reward-to-go"` | reward-to-go, total | what an action is credited with |
/// | `discount_weights` | false | needs `reward-to-go` | multiplies the weight of step t by gamma^t (`pg.discount-factor`) |
/// | `baseline` | `"value"` | none, constant, time, value | what is subtracted from it; `time` needs two episodes |
/// | `baseline_rate` | 0.1 | (0, 1\] | share of the newest batch in the constant baseline |
/// | `aggregation` | `"trajectories"` | trajectories, steps | what the sum over the batch is divided by (`pg.aggregation`) |
/// | `normalize_advantage` | false | | weights to mean 0 and standard deviation 1 per batch |
/// | `lr` | 1e-3 | (0, 1\] | step size of the policy |
/// | `vf_lr` | 1e-3 | (0, 1\] | step size of the critic |
/// | `vf_updates` | 10 | 1..=1000 | gradient steps of the critic on each batch |
/// | `lr_schedule` | `"constant"` | constant, linear | how both step sizes change over the run |
/// | `optimizer` | `"adam"` | adam, rmsprop, sgd | the rule of both |
/// | `optimizer_eps` | 1e-8 | (0, 1\] | added to the root in Adam and RMSProp |
/// | `ent_coef` | 0 | \[0, inf) | weight of the entropy bonus |
/// | `max_grad_norm` | 1e6 | (0, inf) | largest Euclidean norm of each of the two gradients |
/// | `normalize_obs` | false | | running normalisation of observations |
/// | `hidden` | \[64, 64\] | 1..=4096 each | hidden layers of actor and critic, which share nothing |
/// | `activation` | `"tanh"` | tanh, relu, identity | between layers |
/// | `init` | `"orthogonal"` | orthogonal, uniform | starting weights |
/// | `policy` | `"gaussian"` | gaussian, beta | the distribution of continuous actions |
/// | `log_std` | 0 | \[-10, 2\] | initial log standard deviation, Gaussian actions |
/// | `noise_correlation` | 0 | \[0, 1) | correlation of successive exploration noise, Gaussian actions |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environments stepped together.
    pub num_envs: usize,
    /// Whole episodes per update.
    pub episodes: usize,
    /// Where an episode is cut off that the environment does not end.
    pub max_episode_steps: usize,
    /// Discount.
    pub gamma: f64,
    /// What an action is credited with.
    pub returns: Returns,
    /// Multiplies the weight of step t by gamma^t.
    pub discount_weights: bool,
    /// What is subtracted from the return.
    pub baseline: Baseline,
    /// Share of the newest batch in the constant baseline.
    pub baseline_rate: f64,
    /// What the sum over the batch is divided by.
    pub aggregation: Aggregation,
    /// Normalises the weights per batch.
    pub normalize_advantage: bool,
    /// Step size of the policy.
    #[doc(alias = "learning_rate")]
    pub lr: f64,
    /// Step size of the critic.
    pub vf_lr: f64,
    /// Gradient steps of the critic on each batch.
    #[doc(alias = "train_v_iters")]
    pub vf_updates: usize,
    /// How both step sizes change over the run.
    pub lr_schedule: Schedule,
    /// The rule of both.
    pub optimizer: Rule,
    /// Added to the root in Adam and RMSProp.
    pub optimizer_eps: f64,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Largest Euclidean norm of each of the two gradients.
    pub max_grad_norm: f64,
    /// Running normalisation of observations.
    pub normalize_obs: bool,
    /// Hidden layers of actor and critic.
    #[doc(alias = "net_arch")]
    pub hidden: Vec<usize>,
    /// Between layers.
    pub activation: Activation,
    /// Starting weights.
    pub init: Init,
    /// The distribution of continuous actions.
    pub policy: Policy,
    /// Initial log standard deviation of Gaussian actions.
    #[doc(alias = "log_std_init")]
    pub log_std: f64,
    /// Correlation of successive exploration noise of Gaussian actions.
    pub noise_correlation: f64,
}

/// What an action is credited with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Returns {
    /// The discounted rewards from its own on, as seen from its own time (`pg.reward-to-go`).
    #[default]
    RewardToGo,
    /// The discounted rewards of the whole episode, as seen from its start (`pg.reinforce-identity`).
    Total,
}

/// What is subtracted from the return. None of them depends on the action it judges, so that the gradient keeps its mean
/// (`pg.baseline`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    /// Nothing.
    None,
    /// A running mean over earlier batches.
    Constant,
    /// The mean return of the other episodes of the batch at the same time step; 0 where no other lasts as long.
    Time,
    /// The critic, as it was before it saw the batch.
    #[default]
    Value,
}

/// What the sum over all steps of a batch is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// The number of episodes: an unbiased estimate of the gradient.
    #[default]
    Trajectories,
    /// The number of steps, which is random: biased where episodes differ in length.
    Steps,
}

/// How a gradient becomes a step (`opt.first-order`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam with the usual decays 0.9 and 0.999.
    #[default]
    Adam,
    /// RMSProp with decay 0.99.
    #[serde(rename = "rmsprop")]
    RmsProp,
    /// The plain gradient.
    Sgd,
}

impl Aggregation {
    pub(crate) fn share(self, episodes: usize, steps: usize) -> f32 {
        match self {
            Aggregation::Trajectories => loss::Aggregation::Trajectories.scale(episodes, steps),
            Aggregation::Steps => loss::Aggregation::Steps.scale(episodes, steps),
        }
    }
}

impl Rule {
    pub(crate) fn config(self, eps: f64) -> OptimizerConfig {
        match self {
            Rule::Adam => OptimizerConfig::adam(eps),
            Rule::RmsProp => OptimizerConfig::RmsProp { decay: 0.99, eps },
            Rule::Sgd => OptimizerConfig::Sgd { momentum: 0.0 },
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_envs: 1,
            episodes: 8,
            max_episode_steps: 10_000,
            gamma: 0.99,
            returns: Returns::RewardToGo,
            discount_weights: false,
            baseline: Baseline::Value,
            baseline_rate: 0.1,
            aggregation: Aggregation::Trajectories,
            normalize_advantage: false,
            lr: 1e-3,
            vf_lr: 1e-3,
            vf_updates: 10,
            lr_schedule: Schedule::Constant,
            optimizer: Rule::Adam,
            optimizer_eps: 1e-8,
            ent_coef: 0.0,
            max_grad_norm: 1e6,
            normalize_obs: false,
            hidden: vec![64, 64],
            activation: Activation::Tanh,
            init: Init::Orthogonal,
            policy: Policy::Gaussian,
            log_std: 0.0,
            noise_correlation: 0.0,
        }
    }
}

impl Config {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range::count("num_envs", self.num_envs, 1 << 16)?;
        range::count("episodes", self.episodes, 1 << 16)?;
        range::count("max_episode_steps", self.max_episode_steps, 1 << 20)?;
        if !self.episodes.is_multiple_of(self.num_envs) {
            let allowed = format!("a multiple of num_envs = {}", self.num_envs);
            return Err(ConfigError::new("episodes", self.episodes, allowed));
        }
        if self.baseline == Baseline::Time && self.episodes < 2 {
            let allowed = "at least 2 when baseline = \"time\", which is a mean over other episodes";
            return Err(ConfigError::new("episodes", self.episodes, allowed));
        }
        if self.discount_weights && self.returns == Returns::Total {
            let allowed =
                "false when returns = \"total\", which is discounted from the episode's start already";
            return Err(ConfigError::new("discount_weights", true, allowed));
        }
        range::share("gamma", self.gamma)?;
        range::positive_share("baseline_rate", self.baseline_rate)?;
        range::positive_share("lr", self.lr)?;
        range::positive_share("vf_lr", self.vf_lr)?;
        range::count("vf_updates", self.vf_updates, 1000)?;
        range::positive_share("optimizer_eps", self.optimizer_eps)?;
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
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 17] = [
            ("num_envs", |c| c.num_envs = 0),
            ("episodes", |c| c.episodes = 0),
            ("episodes", |c| c.num_envs = 3),
            ("episodes", |c| (c.episodes, c.baseline) = (1, Baseline::Time)),
            ("max_episode_steps", |c| c.max_episode_steps = 0),
            ("discount_weights", |c| (c.discount_weights, c.returns) = (true, Returns::Total)),
            ("gamma", |c| c.gamma = -0.1),
            ("baseline_rate", |c| c.baseline_rate = 0.0),
            ("lr", |c| c.lr = f64::NAN),
            ("vf_lr", |c| c.vf_lr = 2.0),
            ("vf_updates", |c| c.vf_updates = 0),
            ("optimizer_eps", |c| c.optimizer_eps = 0.0),
            ("ent_coef", |c| c.ent_coef = -1.0),
            ("max_grad_norm", |c| c.max_grad_norm = 0.0),
            ("hidden", |c| c.hidden = vec![0]),
            ("log_std", |c| c.log_std = 3.0),
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

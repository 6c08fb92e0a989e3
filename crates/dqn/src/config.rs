use crate::{EpsilonSchedule, Loss};
use rederive_nn::{Activation, OptimizerConfig, Schedule};
use rederive_train::{ConfigError, Init, range};
use serde::{Deserialize, Serialize};

/// The hyper-parameters of DQN. The defaults are those of CleanRL's `dqn.py` (Huang et al., 2022). A field that another one
/// leaves without use is not read.
///
/// Steps are those of all environments together.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 1 | 1..=4096 | environments stepped together, N |
/// | `num_steps` | 1000 | 1..=1048576 | steps per environment between two reports |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `lr` | 2.5e-4 | (0, 1\] | step size |
/// | `lr_schedule` | `"constant"` | constant, linear | how it changes over the run |
/// | `optimizer` | `"adam"` | adam, rmsprop | which optimiser |
/// | `optimizer_eps` | 1e-8 | (0, 1\] | its epsilon |
/// | `rms_decay` | 0.95 | \[0, 1) | rmsprop: share of the mean square kept |
/// | `replay` | 10000 | 1..=2^31 | transitions kept |
/// | `batch` | 128 | 1..=`replay` | transitions per gradient step |
/// | `learning_starts` | 10000 | 0.. | steps before the first gradient step |
/// | `train_every` | 10 | 1.. | steps between two times of learning |
/// | `gradient_steps` | 1 | 1..=4096 | gradient steps each time |
/// | `target` | `"hard"` | hard, soft | how the target network follows |
/// | `target_period` | 500 | 1.. | hard: steps between two copies |
/// | `kappa` | 0.005 | (0, 1\] | soft: share taken over after every gradient step |
/// | `double` | false | | the online network selects the next action, the target network values it |
/// | `dueling` | false | | value and advantages apart |
/// | `n_step` | 1 | 1..=1024 | rewards in a target |
/// | `prioritized` | false | | draws transitions by the size of their last error |
/// | `priority_alpha` | 0.6 | \[0, 1\] | how much the size counts |
/// | `priority_beta` | 0.4 | \[0, 1\] | how much of the bias is undone at first; all of it at the end of the run |
/// | `priority_eps` | 1e-6 | (0, 1\] | added to the size |
/// | `loss` | `"squared"` | squared, huber | what is done with an error |
/// | `max_grad_norm` | none | (0, inf) | largest Euclidean norm of the gradient |
/// | `epsilon` | 1 | \[0, 1\] | share of random actions at first |
/// | `epsilon_final` | 0.05 | \[0, 1\] | and at last |
/// | `epsilon_steps` | 250000 | 1.. | how long it takes to fall |
/// | `epsilon_schedule` | `"linear"` | linear, exponential, constant | and how it falls |
/// | `scale_obs` | false | | takes the numbers of a box that have bounds to \[-1, 1\] |
/// | `hidden` | \[120, 84\] | 1..=4096 each | hidden layers |
/// | `conv` | \[\[16, 3, 1\]\] | | convolutions in front of them if observations are images: channels, kernel, stride |
/// | `activation` | `"relu"` | tanh, relu, identity | between layers |
/// | `init` | `"uniform"` | orthogonal, uniform | starting weights |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environments stepped together, N.
    pub num_envs: usize,
    /// Steps per environment between two reports.
    pub num_steps: usize,
    /// Discount.
    pub gamma: f64,
    /// Step size.
    #[doc(alias = "learning_rate")]
    pub lr: f64,
    /// How the step size changes over the run.
    pub lr_schedule: Schedule,
    /// Which optimiser.
    pub optimizer: OptimizerKind,
    /// Its epsilon.
    pub optimizer_eps: f64,
    /// Share of the mean square that RMSProp keeps.
    pub rms_decay: f64,
    /// Transitions kept.
    #[doc(alias = "buffer_size")]
    pub replay: usize,
    /// Transitions per gradient step.
    #[doc(alias = "batch_size")]
    pub batch: usize,
    /// Steps before the first gradient step.
    pub learning_starts: u64,
    /// Steps between two times of learning.
    #[doc(alias = "train_freq")]
    #[doc(alias = "train_frequency")]
    pub train_every: u64,
    /// Gradient steps each time.
    pub gradient_steps: usize,
    /// How the target network follows.
    pub target: TargetUpdate,
    /// Steps between two copies.
    #[doc(alias = "target_update_interval")]
    #[doc(alias = "target_network_frequency")]
    pub target_period: u64,
    /// Share of the online network that the target takes over after every gradient step.
    #[doc(alias = "tau")]
    pub kappa: f64,
    /// The online network selects the next action, the target network values it.
    pub double: bool,
    /// Value and advantages apart.
    pub dueling: bool,
    /// Rewards in a target.
    #[doc(alias = "n_steps")]
    pub n_step: usize,
    /// Draws transitions by the size of their last error.
    pub prioritized: bool,
    /// How much the size counts.
    pub priority_alpha: f64,
    /// How much of the bias is undone at first.
    pub priority_beta: f64,
    /// Added to the size.
    pub priority_eps: f64,
    /// What is done with an error.
    pub loss: Loss,
    /// Largest Euclidean norm of the gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f64>,
    /// Share of random actions at first.
    #[doc(alias = "exploration_initial_eps")]
    pub epsilon: f64,
    /// Share of random actions at last.
    #[doc(alias = "exploration_final_eps")]
    pub epsilon_final: f64,
    /// How long it takes to fall.
    #[doc(alias = "exploration_fraction")]
    pub epsilon_steps: u64,
    /// How it falls.
    pub epsilon_schedule: EpsilonSchedule,
    /// Takes the numbers of a box that have bounds to [-1, 1].
    pub scale_obs: bool,
    /// Hidden layers.
    #[doc(alias = "net_arch")]
    pub hidden: Vec<usize>,
    /// Convolutions in front of them: channels, kernel, stride.
    pub conv: Vec<[usize; 3]>,
    /// Between layers.
    pub activation: Activation,
    /// Starting weights.
    pub init: Init,
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with the usual decays.
    #[default]
    Adam,
    /// RMSProp.
    RmsProp,
}

/// How the target network follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetUpdate {
    /// A copy now and then (`dqn.target-hard`).
    #[default]
    Hard,
    /// A little after every gradient step (`dqn.target-soft`).
    Soft,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_envs: 1,
            num_steps: 1000,
            gamma: 0.99,
            lr: 2.5e-4,
            lr_schedule: Schedule::Constant,
            optimizer: OptimizerKind::Adam,
            optimizer_eps: 1e-8,
            rms_decay: 0.95,
            replay: 10_000,
            batch: 128,
            learning_starts: 10_000,
            train_every: 10,
            gradient_steps: 1,
            target: TargetUpdate::Hard,
            target_period: 500,
            kappa: 0.005,
            double: false,
            dueling: false,
            n_step: 1,
            prioritized: false,
            priority_alpha: 0.6,
            priority_beta: 0.4,
            priority_eps: 1e-6,
            loss: Loss::Squared,
            max_grad_norm: None,
            epsilon: 1.0,
            epsilon_final: 0.05,
            epsilon_steps: 250_000,
            epsilon_schedule: EpsilonSchedule::Linear,
            scale_obs: false,
            hidden: vec![120, 84],
            conv: vec![[16, 3, 1]],
            activation: Activation::Relu,
            init: Init::Uniform,
        }
    }
}

impl Config {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let period = |field: &str, value: u64| {
            if value > 0 { Ok(()) } else { Err(ConfigError::new(field, value, "at least 1")) }
        };
        range::count("num_envs", self.num_envs, 4096)?;
        range::count("num_steps", self.num_steps, 1 << 20)?;
        range::share("gamma", self.gamma)?;
        range::positive_share("lr", self.lr)?;
        range::positive_share("optimizer_eps", self.optimizer_eps)?;
        range::number("rms_decay", self.rms_decay, (0.0..1.0).contains(&self.rms_decay), "in [0, 1)")?;
        range::count("replay", self.replay, 1 << 31)?;
        if self.batch == 0 || self.batch > self.replay {
            let allowed = format!("in 1..={}, the size of the replay", self.replay);
            return Err(ConfigError::new("batch", self.batch, allowed));
        }
        period("train_every", self.train_every)?;
        range::count("gradient_steps", self.gradient_steps, 4096)?;
        period("target_period", self.target_period)?;
        range::positive_share("kappa", self.kappa)?;
        range::count("n_step", self.n_step, 1024)?;
        range::share("priority_alpha", self.priority_alpha)?;
        range::share("priority_beta", self.priority_beta)?;
        range::positive_share("priority_eps", self.priority_eps)?;
        if let Some(norm) = self.max_grad_norm {
            range::positive("max_grad_norm", norm)?;
        }
        range::share("epsilon", self.epsilon)?;
        range::share("epsilon_final", self.epsilon_final)?;
        period("epsilon_steps", self.epsilon_steps)?;
        for (field, layers) in [("hidden", self.hidden.len()), ("conv", self.conv.len())] {
            if layers > 8 {
                return Err(ConfigError::new(field, format_args!("{layers} layers"), "at most 8 layers"));
            }
        }
        for &units in &self.hidden {
            range::count("hidden", units, 4096)?;
        }
        for layer in &self.conv {
            if !layer.iter().all(|x| (1..=1024).contains(x)) {
                let allowed = "made of [channels, kernel, stride] in 1..=1024 each";
                return Err(ConfigError::new("conv", format_args!("{layer:?}"), allowed));
            }
        }
        Ok(())
    }

    /// The optimiser with its hyper-parameters.
    pub(crate) fn optimizer(&self) -> OptimizerConfig {
        match self.optimizer {
            OptimizerKind::Adam => OptimizerConfig::adam(self.optimizer_eps),
            OptimizerKind::RmsProp => {
                OptimizerConfig::RmsProp { decay: self.rms_decay, eps: self.optimizer_eps }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_names_its_field() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 27] = [
            ("num_envs", |c| c.num_envs = 0),
            ("num_steps", |c| c.num_steps = 0),
            ("gamma", |c| c.gamma = 1.5),
            ("lr", |c| c.lr = f64::NAN),
            ("optimizer_eps", |c| c.optimizer_eps = 0.0),
            ("rms_decay", |c| c.rms_decay = 1.0),
            ("replay", |c| c.replay = 0),
            ("batch", |c| c.batch = 0),
            ("batch", |c| c.replay = 127),
            ("train_every", |c| c.train_every = 0),
            ("gradient_steps", |c| c.gradient_steps = 0),
            ("target_period", |c| c.target_period = 0),
            ("kappa", |c| c.kappa = 0.0),
            ("n_step", |c| c.n_step = 0),
            ("priority_alpha", |c| c.priority_alpha = -0.1),
            ("priority_beta", |c| c.priority_beta = 1.1),
            ("priority_eps", |c| c.priority_eps = 0.0),
            ("max_grad_norm", |c| c.max_grad_norm = Some(0.0)),
            ("epsilon", |c| c.epsilon = 2.0),
            ("epsilon_final", |c| c.epsilon_final = f64::NAN),
            ("epsilon_steps", |c| c.epsilon_steps = 0),
            ("hidden", |c| c.hidden = vec![64, 0]),
            ("hidden", |c| c.hidden = vec![8; 9]),
            ("conv", |c| c.conv = vec![[16, 0, 1]]),
            ("lr", |c| c.lr = 0.0),
            ("replay", |c| c.replay = 1 << 40),
            ("n_step", |c| c.n_step = 1025),
        ];
        assert_eq!(Config::default().validate(), Ok(()));
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().expect_err(field).field, field);
        }
        let error = Config { replay: 64, ..Config::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "batch = 128: must be in 1..=64, the size of the replay");
    }
}

use rederive_math::exploration;
use rederive_train::{ConfigError, range};
use serde::{Deserialize, Serialize};

/// How action values are learnt. Everything else is a field of [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The target is the best next value (`qlearn.terminal`).
    QLearning,
    /// Two tables, each judging the other's best action, by the toss of a coin.
    DoubleQLearning,
    /// The target is the value of the action that is taken next.
    Sarsa,
    /// The target is the mean of the next values under the policy (`sarsa.expected-update`).
    ExpectedSarsa,
    /// The target is `n_step` rewards and the value of the action taken after them (`td.nstep`).
    NStepSarsa,
    /// Every error of one step goes to all earlier pairs of the episode, by their eligibility.
    SarsaLambda,
    /// The target is the return of the whole episode (`mc.first-visit`).
    MonteCarlo,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 7] = [
        Method::QLearning,
        Method::DoubleQLearning,
        Method::Sarsa,
        Method::ExpectedSarsa,
        Method::NStepSarsa,
        Method::SarsaLambda,
        Method::MonteCarlo,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::QLearning => "q-learning",
            Method::DoubleQLearning => "double-q-learning",
            Method::Sarsa => "sarsa",
            Method::ExpectedSarsa => "expected-sarsa",
            Method::NStepSarsa => "n-step-sarsa",
            Method::SarsaLambda => "sarsa-lambda",
            Method::MonteCarlo => "monte-carlo",
        }
    }
}

/// The hyper-parameters of learning with a table. A field that a method or an exploration has no use for is not read.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 1 | 1..=65536 | environments stepped together, N; they share the table |
/// | `num_steps` | 1000 | 1..=1048576 | steps per environment and iteration |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `alpha` | 0.1 | (0, 1\] | step size |
/// | `alpha_power` | 0 | \[0, 1\] | p: the n-th update of a pair has the step size `alpha n^-p`; 0 for a constant one, above 1/2 for Robbins and Monro's conditions |
/// | `init` | 0 | finite | where all values begin; above what can be reached, it makes the agent try everything |
/// | `exploration` | `"epsilon-greedy"` | epsilon-greedy, softmax, ucb | which policy acts |
/// | `epsilon` | 0.1 | \[0, 1\] | epsilon-greedy: the share of random actions |
/// | `epsilon_schedule` | `"constant"` | constant, linear, geometric | over the run, or by `epsilon_decay` per episode |
/// | `epsilon_final` | 0.01 | \[0, 1\] | where a schedule ends |
/// | `epsilon_decay` | 0.999 | \[0, 1\] | geometric: the factor per episode |
/// | `temperature` | 1 | (0, inf) | softmax: of the values |
/// | `ucb_coef` | 1 | \[0, inf) | ucb: c in `Q + c sqrt(ln N(s) / N(s, a))` |
/// | `n_step` | 4 | 1..=4096 | n-step SARSA: rewards in a target |
/// | `trace_decay` | 0.9 | \[0, 1\] | SARSA(lambda): lambda |
/// | `trace` | `"replacing"` | accumulating, replacing | SARSA(lambda): what a further visit does to the eligibility |
/// | `visit` | `"first"` | first, every | Monte Carlo: which visits of a pair in an episode count |
/// | `max_segment` | 10000 | 1..=16777216 | Monte Carlo: a longer episode is learnt in pieces, each cut off as by a time limit |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Environments stepped together, N.
    pub num_envs: usize,
    /// Steps per environment and iteration.
    pub num_steps: usize,
    /// Discount.
    pub gamma: f64,
    /// Step size.
    #[doc(alias = "learning_rate")]
    #[doc(alias = "lr")]
    pub alpha: f64,
    /// How fast the step size of a pair falls with its updates.
    pub alpha_power: f64,
    /// Where all values begin.
    pub init: f64,
    /// Which policy acts.
    pub exploration: Exploration,
    /// The share of random actions.
    pub epsilon: f64,
    /// How that changes.
    pub epsilon_schedule: EpsilonSchedule,
    /// Where a schedule ends.
    pub epsilon_final: f64,
    /// The factor per episode of the geometric schedule.
    pub epsilon_decay: f64,
    /// Of the softmax policy.
    pub temperature: f64,
    /// The weight of the bonus for rare actions.
    pub ucb_coef: f64,
    /// Rewards in an n-step target.
    pub n_step: usize,
    /// Lambda.
    #[doc(alias = "lambda")]
    pub trace_decay: f64,
    /// What a further visit does to the eligibility.
    pub trace: Trace,
    /// Which visits count.
    pub visit: Visit,
    /// The longest piece of an episode that Monte Carlo keeps.
    pub max_segment: usize,
}

/// Which policy acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exploration {
    /// A random action with probability epsilon, else the best (`prob.epsilon-greedy`).
    #[default]
    EpsilonGreedy,
    /// Probabilities proportional to `exp(Q / temperature)` (`policy.softmax`).
    Softmax,
    /// The best value with a bonus for actions rarely tried (P. Auer, N. Cesa-Bianchi, P. Fischer, 2002, Finite-time
    /// analysis of the multiarmed bandit problem); one never tried comes first.
    Ucb,
}

/// How epsilon changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpsilonSchedule {
    /// Not at all.
    #[default]
    Constant,
    /// From `epsilon` to `epsilon_final` over the run.
    Linear,
    /// By the factor `epsilon_decay` per episode, down to `epsilon_final`; looked up once per iteration.
    Geometric,
}

impl EpsilonSchedule {
    /// Epsilon after `progress` of the run and `episodes` episodes.
    pub(crate) fn at(self, epsilon: f64, last: f64, decay: f64, progress: f64, episodes: u64) -> f64 {
        match self {
            EpsilonSchedule::Constant => epsilon,
            EpsilonSchedule::Linear => epsilon + (last - epsilon) * progress,
            EpsilonSchedule::Geometric => {
                exploration::geometric_decay(epsilon, decay, episodes).max(last.min(epsilon))
            }
        }
    }
}

/// What a further visit does to the eligibility of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trace {
    /// Adds 1.
    Accumulating,
    /// Sets it to 1.
    #[default]
    Replacing,
}

/// Which visits of an episode count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visit {
    /// The first of each pair or state.
    #[default]
    First,
    /// Every one.
    Every,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_envs: 1,
            num_steps: 1000,
            gamma: 0.99,
            alpha: 0.1,
            alpha_power: 0.0,
            init: 0.0,
            exploration: Exploration::EpsilonGreedy,
            epsilon: 0.1,
            epsilon_schedule: EpsilonSchedule::Constant,
            epsilon_final: 0.01,
            epsilon_decay: 0.999,
            temperature: 1.0,
            ucb_coef: 1.0,
            n_step: 4,
            trace_decay: 0.9,
            trace: Trace::Replacing,
            visit: Visit::First,
            max_segment: 10_000,
        }
    }
}

impl Config {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range::count("num_envs", self.num_envs, 1 << 16)?;
        range::count("num_steps", self.num_steps, 1 << 20)?;
        range::share("gamma", self.gamma)?;
        range::positive_share("alpha", self.alpha)?;
        range::share("alpha_power", self.alpha_power)?;
        range::number("init", self.init, (self.init as f32).is_finite(), "finite in 32 bits")?;
        range::share("epsilon", self.epsilon)?;
        range::share("epsilon_final", self.epsilon_final)?;
        range::share("epsilon_decay", self.epsilon_decay)?;
        // In 32 bits, where a temperature of 1e-50 would be 0.
        let representable = self.temperature as f32 > 0.0;
        range::number("temperature", self.temperature, representable, "greater than 0")?;
        range::not_negative("ucb_coef", self.ucb_coef)?;
        range::count("n_step", self.n_step, 4096)?;
        range::share("trace_decay", self.trace_decay)?;
        range::count("max_segment", self.max_segment, 1 << 24)
    }
}

/// What [`LinearQ`](crate::LinearQ) learns its values towards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The best next value (`qlearn.terminal`).
    QLearning,
    /// The value of the action that is taken next: on-policy, and so without the danger of diverging.
    #[default]
    Sarsa,
}

/// The hyper-parameters of learning with linear features.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `num_envs` | 1 | 1..=65536 | environments stepped together, N; they share the weights |
/// | `num_steps` | 1000 | 1..=1048576 | steps per environment and iteration |
/// | `target` | `"sarsa"` | q-learning, sarsa | what values are learnt towards |
/// | `gamma` | 0.99 | \[0, 1\] | discount |
/// | `alpha` | 0.1 | (0, 1\] | step size of a value: that of a weight, times the number of active features |
/// | `init` | 0 | finite | where all values begin |
/// | `epsilon` | 0.1 | \[0, 1\] | the share of random actions |
/// | `epsilon_schedule` | `"constant"` | constant, linear, geometric | over the run, or by `epsilon_decay` per episode |
/// | `epsilon_final` | 0.01 | \[0, 1\] | where a schedule ends |
/// | `epsilon_decay` | 0.999 | \[0, 1\] | geometric: the factor per episode |
/// | `tilings` | 8 | 1..=1024 | boxes: grids, each shifted by a part of a tile |
/// | `tiles` | 8 | 1..=4096 | boxes: tiles per dimension between `low` and `high` |
/// | `low` | `[]` | finite | boxes: where tiles begin, one number per dimension; empty for the environment's bounds |
/// | `high` | `[]` | above `low` | boxes: where they end; what lies outside counts as the nearest place inside |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearConfig {
    /// Environments stepped together, N.
    pub num_envs: usize,
    /// Steps per environment and iteration.
    pub num_steps: usize,
    /// What values are learnt towards.
    pub target: Target,
    /// Discount.
    pub gamma: f64,
    /// Step size of a value.
    #[doc(alias = "learning_rate")]
    #[doc(alias = "lr")]
    pub alpha: f64,
    /// Where all values begin.
    pub init: f64,
    /// The share of random actions.
    pub epsilon: f64,
    /// How that changes.
    pub epsilon_schedule: EpsilonSchedule,
    /// Where a schedule ends.
    pub epsilon_final: f64,
    /// The factor per episode of the geometric schedule.
    pub epsilon_decay: f64,
    /// Shifted grids over a box.
    pub tilings: usize,
    /// Tiles per dimension.
    pub tiles: usize,
    /// Where tiles begin.
    pub low: Vec<f64>,
    /// Where they end.
    pub high: Vec<f64>,
}

impl Default for LinearConfig {
    fn default() -> Self {
        LinearConfig {
            num_envs: 1,
            num_steps: 1000,
            target: Target::Sarsa,
            gamma: 0.99,
            alpha: 0.1,
            init: 0.0,
            epsilon: 0.1,
            epsilon_schedule: EpsilonSchedule::Constant,
            epsilon_final: 0.01,
            epsilon_decay: 0.999,
            tilings: 8,
            tiles: 8,
            low: Vec::new(),
            high: Vec::new(),
        }
    }
}

impl LinearConfig {
    /// Checks every field against its range; bounds are checked against the environment.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range::count("num_envs", self.num_envs, 1 << 16)?;
        range::count("num_steps", self.num_steps, 1 << 20)?;
        range::share("gamma", self.gamma)?;
        range::positive_share("alpha", self.alpha)?;
        range::number("init", self.init, (self.init as f32).is_finite(), "finite in 32 bits")?;
        range::share("epsilon", self.epsilon)?;
        range::share("epsilon_final", self.epsilon_final)?;
        range::share("epsilon_decay", self.epsilon_decay)?;
        range::count("tilings", self.tilings, 1024)?;
        range::count("tiles", self.tiles, 4096)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_names_its_field() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 15] = [
            ("num_envs", |c| c.num_envs = 0),
            ("num_steps", |c| c.num_steps = 1 << 21),
            ("gamma", |c| c.gamma = 1.5),
            ("alpha", |c| c.alpha = 0.0),
            ("alpha_power", |c| c.alpha_power = -0.1),
            ("init", |c| c.init = 1e39),
            ("epsilon", |c| c.epsilon = f64::NAN),
            ("epsilon_final", |c| c.epsilon_final = 2.0),
            ("epsilon_decay", |c| c.epsilon_decay = 1.1),
            ("temperature", |c| c.temperature = 0.0),
            ("temperature", |c| c.temperature = 1e-50),
            ("ucb_coef", |c| c.ucb_coef = -1.0),
            ("n_step", |c| c.n_step = 0),
            ("trace_decay", |c| c.trace_decay = 1.01),
            ("max_segment", |c| c.max_segment = 0),
        ];
        assert_eq!(Config::default().validate(), Ok(()));
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().expect_err(field).field, field);
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for method in Method::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
    }
}

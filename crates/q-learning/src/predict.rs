use crate::behaviour::{Fixed, Policy};
use crate::config::Config;
use crate::many_steps::{self, Memory, Reach, Room};
use crate::one_step::{Iteration, Totals};
use crate::states::Layout;
use crate::tables::Tables;
use crate::world::{Called, Lane};
use ndarray::ArrayRef2;
use rederive_env::VecEnv;
use rederive_train::{ConfigError, EpisodeLog, range};

/// How state values are learnt from what a given policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The target is one reward and the value of the next state (`td.update-rule`).
    Td0,
    /// The target is `n_step` rewards and the value of the state after them (`td.nstep`).
    NStep,
    /// Every error of one step goes to all earlier states of the episode, by their eligibility.
    Lambda,
    /// The target is the return of the whole episode (`mc.first-visit`).
    MonteCarlo,
}

/// Learns what the states are worth under a policy that stays as it is.
///
/// The fields of [`Config`] that are about exploration are not read.
///
/// ```
/// use ndarray::Array2;
/// use rederive_q_learning::{Config, Prediction, Predictor};
///
/// let mut env = rederive_env::make_vec("FrozenLake-v1", 1).unwrap();
/// let uniform = Array2::from_elem((16, 4), 0.25);
/// let mut td = Predictor::new(Prediction::Td0, Config::default(), &uniform, env.as_ref(), 1).unwrap();
/// env.reset(1);
/// td.learn(env.as_mut(), 50_000);
/// assert!(td.value()[14] > td.value()[0]);
/// ```
#[derive(Clone, Debug)]
pub struct Predictor {
    reach: Reach,
    gamma: f32,
    layout: Layout,
    policy: Vec<f32>,
    tables: Tables,
    lanes: Vec<Lane>,
    memories: Vec<Memory>,
    room: Room,
    episodes: EpisodeLog,
    spare: Vec<f32>,
}

impl Predictor {
    /// A table for environments like `env`; `policy` `[S, A]` holds probabilities, and `seed` draws the actions by them.
    ///
    /// # Errors
    /// If a field of `config` is out of range or differs from the environment, observations or actions are not discrete, or
    /// a row of `policy` is no distribution.
    ///
    /// # Panics
    /// If the shape of `policy` is not that of the table.
    pub fn new(
        method: Prediction,
        config: Config,
        policy: &ArrayRef2<f32>,
        env: &dyn VecEnv,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        range::same_num_envs(config.num_envs, env)?;
        let layout = Layout::of(env, "prediction")?;
        let shape = (layout.states, layout.actions);
        assert!(policy.dim() == shape, "policy has shape {:?} but the table {shape:?}", policy.dim());
        for (row, prob) in policy.rows().into_iter().enumerate() {
            let sound = prob.iter().all(|p| (0.0..=1.0).contains(p)) && (prob.sum() - 1.0).abs() < 1e-4;
            if !sound {
                return Err(ConfigError::new(&format!("policy[{row}]"), prob, "probabilities that sum to 1"));
            }
        }
        let reach = match method {
            Prediction::Td0 => Reach::Steps(1),
            Prediction::NStep => Reach::Steps(config.n_step),
            Prediction::Lambda => Reach::Traces { decay: config.trace_decay as f32, trace: config.trace },
            Prediction::MonteCarlo => Reach::Episode { visit: config.visit, longest: config.max_segment },
        };
        Ok(Predictor {
            reach,
            gamma: config.gamma as f32,
            policy: policy.iter().copied().collect(),
            tables: Tables::new(&config, &layout, 1, false),
            lanes: (0..config.num_envs).map(|n| Lane::new(seed, n)).collect(),
            memories: vec![Memory::default(); config.num_envs],
            room: Room::default(),
            episodes: EpisodeLog::new(config.num_envs),
            spare: vec![0.0; layout.actions],
            layout,
        })
    }

    /// Takes `steps` steps in every environment and learns from them.
    ///
    /// # Panics
    /// If `env` is not like the one this was made for.
    pub fn learn(&mut self, env: &mut dyn VecEnv, steps: usize) {
        assert_eq!(env.num_envs(), self.lanes.len(), "number of environments");
        let Predictor { tables, lanes, memories, room, policy, layout, spare, .. } = self;
        let policy = Policy::Fixed(Fixed { prob: policy, actions: layout.actions });
        let mut iteration = Iteration {
            gamma: self.gamma,
            rounds: steps,
            steps_before: 0,
            episodes: &mut self.episodes,
            totals: Totals::default(),
        };
        let mut world = Called { env, layout, actions: Vec::with_capacity(lanes.len()) };
        many_steps::learn(
            &mut world,
            tables,
            lanes,
            memories,
            room,
            &policy,
            self.reach,
            &mut iteration,
            spare,
        );
        self.episodes.drain();
    }

    /// The values `[S]`.
    pub fn value(&self) -> &[f32] {
        &self.tables.q
    }

    /// How often each value was updated `[S]`.
    pub fn updates(&self) -> &[u32] {
        &self.tables.visits
    }
}

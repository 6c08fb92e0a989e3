use crate::behaviour::{Behaviour, EpsilonGreedy, Policy};
use crate::config::{Config, Exploration, Method};
use crate::many_steps::{self, Memory, Reach, Room};
use crate::one_step::{self, Double, Expected, Iteration, Rule, Sarsa, Totals, Watkins};
use crate::states::Layout;
use crate::tables::Tables;
use crate::world::{Called, Draw, Lane, Model, NONE, Tabulated, Transitions, World};
use ndarray::{ArrayView2, aview1};
use rederive_env::{Place, VecEnv};
use rederive_math::td;
use rederive_train::{
    ActionBuffer, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Report, range,
};

/// What [`QLearning`] reports after each iteration.
pub const METRICS: &[Metric] = &[
    Metric { name: "td_error", meaning: "mean size of target minus value over the iteration's updates" },
    Metric {
        name: "epsilon",
        meaning: "share of random actions in this iteration, 0 without epsilon-greedy",
    },
    Metric { name: "value", meaning: "mean over all states of the best action's value" },
    Metric { name: "updates", meaning: "updates of table entries in this iteration" },
];

/// An agent with a table of action values.
///
/// Environments that have a finite model are stepped in the learner's own loop, which draws from their streams and leaves
/// them where they would be: it is faster, and the result is the same bit for bit.
///
/// ```
/// use rederive_q_learning::{Config, Method, QLearning};
/// use rederive_train::{EpisodeLog, Learner, Report};
///
/// let mut env = rederive_env::make_vec("FrozenLake-v1", 1).unwrap();
/// let mut agent = QLearning::new(Method::Sarsa, Config::default(), env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
/// agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).unwrap();
/// assert_eq!((report.steps, agent.q().dim()), (1000, (16, 4)));
/// ```
#[derive(Clone, Debug)]
pub struct QLearning {
    method: Method,
    config: Config,
    layout: Layout,
    tables: Tables,
    lanes: Vec<Lane>,
    memories: Vec<Memory>,
    room: Room,
    model: Option<Model>,
    places: Vec<Place>,
    steps: u64,
    updates: u64,
    spare: Vec<f32>,
}

impl QLearning {
    /// An agent for environments like `env`, whose actions are drawn from streams under `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range or differs from the environment, or observations or actions are not discrete.
    pub fn new(method: Method, config: Config, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        range::same_num_envs(config.num_envs, env)?;
        let layout = Layout::of(env, method.name())?;
        let model = env.finite_parts().and_then(|parts| Model::new(&parts, &layout));
        Ok(QLearning {
            tables: Tables::new(&config, &layout, layout.actions, method == Method::DoubleQLearning),
            lanes: (0..config.num_envs).map(|n| Lane::new(seed, n)).collect(),
            memories: vec![Memory::default(); config.num_envs],
            room: Room::default(),
            model,
            places: Vec::with_capacity(config.num_envs),
            steps: 0,
            updates: 0,
            spare: vec![0.0; 2 * layout.actions],
            layout,
            method,
            config,
        })
    }

    /// How it learns.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The action values `[S, A]`; of double Q-learning, the first table's. A state made of several components has the row
    /// whose number has them as digits, the last one fastest.
    pub fn q(&self) -> ArrayView2<'_, f32> {
        self.view(&self.tables.q)
    }

    /// The second table of double Q-learning.
    pub fn second_q(&self) -> Option<ArrayView2<'_, f32>> {
        (!self.tables.second.is_empty()).then(|| self.view(&self.tables.second))
    }

    fn view<'a>(&self, values: &'a [f32]) -> ArrayView2<'a, f32> {
        let shape = (self.layout.states, self.layout.actions);
        aview1(values).into_shape_with_order(shape).expect("as many values as the shape has")
    }

    /// Always calls the environments, also where the learner could step their model itself. The result is the same.
    pub fn call_environments(&mut self) {
        self.model = None;
    }

    /// The share of random actions after `progress` of the run and `episodes` episodes.
    fn epsilon(&self, progress: f64, episodes: u64) -> f64 {
        let Config { epsilon, epsilon_final, epsilon_decay, .. } = self.config;
        match self.config.exploration {
            Exploration::Softmax | Exploration::Ucb => 0.0,
            Exploration::EpsilonGreedy => {
                self.config.epsilon_schedule.at(epsilon, epsilon_final, epsilon_decay, progress, episodes)
            }
        }
    }

    /// Whether updates have to be counted.
    fn counts(&self) -> bool {
        self.config.alpha_power > 0.0 || self.config.exploration == Exploration::Ucb
    }

    /// Learns in the model if there is one, else in the environments.
    fn learn(&mut self, env: &mut dyn VecEnv, epsilon: f64, iteration: &mut Iteration<'_>) {
        let num_envs = self.config.num_envs;
        let mut places = std::mem::take(&mut self.places);
        places.extend((0..num_envs).map_while(|n| env.place(n)));
        match self.model.take() {
            Some(model) if places.len() == num_envs => {
                match &model.transitions {
                    Transitions::Sure(sure) => self.in_model(&model, sure, &mut places, epsilon, iteration),
                    Transitions::Few(few) => self.in_model(&model, few, &mut places, epsilon, iteration),
                    Transitions::Rows(rows) => {
                        let mut world = Tabulated::<_, _, true>::new(&model, rows, &mut places[..]);
                        self.in_world(&mut world, epsilon, iteration);
                    }
                }
                for (n, place) in places.drain(..).enumerate() {
                    env.set_place(n, place);
                }
                self.model = Some(model);
            }
            model => {
                self.model = model;
                let layout = self.layout.clone();
                let actions = Vec::with_capacity(num_envs);
                self.in_world(&mut Called { env, layout: &layout, actions }, epsilon, iteration);
            }
        }
        places.clear();
        self.places = places;
    }

    fn in_model<T: Draw>(
        &mut self,
        model: &Model,
        transitions: &T,
        places: &mut [Place],
        epsilon: f64,
        iteration: &mut Iteration<'_>,
    ) {
        if let [place] = places {
            let mut world = Tabulated::<_, _, false>::new(model, transitions, [place.clone()]);
            self.in_world(&mut world, epsilon, iteration);
            [*place] = world.places;
        } else {
            let mut world = Tabulated::<_, _, false>::new(model, transitions, places);
            self.in_world(&mut world, epsilon, iteration);
        }
    }

    fn in_world<W: World>(&mut self, world: &mut W, epsilon: f64, iteration: &mut Iteration<'_>) {
        let reach = match self.method {
            Method::QLearning => return self.by_rule::<W, Watkins>(world, epsilon, iteration),
            Method::DoubleQLearning => return self.by_rule::<W, Double>(world, epsilon, iteration),
            Method::Sarsa => return self.by_rule::<W, Sarsa>(world, epsilon, iteration),
            Method::ExpectedSarsa => return self.by_rule::<W, Expected>(world, epsilon, iteration),
            Method::NStepSarsa => Reach::Steps(self.config.n_step),
            Method::SarsaLambda => {
                Reach::Traces { decay: self.config.trace_decay as f32, trace: self.config.trace }
            }
            Method::MonteCarlo => {
                Reach::Episode { visit: self.config.visit, longest: self.config.max_segment }
            }
        };
        let policy = Policy::new(&self.config, epsilon);
        let QLearning { tables, lanes, memories, room, spare, layout, .. } = self;
        let spare = &mut spare[..layout.actions];
        many_steps::learn(world, tables, lanes, memories, room, &policy, reach, iteration, spare);
    }

    /// The usual numbers of actions have loops of their own, if nothing but the table decides.
    fn by_rule<W: World, R: Rule>(&mut self, world: &mut W, epsilon: f64, iteration: &mut Iteration<'_>) {
        let policy = Policy::new(&self.config, epsilon);
        let actions = if W::TABULATED { self.layout.actions } else { 0 };
        match (&policy, self.counts(), actions) {
            (Policy::EpsilonGreedy(p), false, 2) => {
                self.run::<W, EpsilonGreedy, R, 2, false>(world, p, iteration)
            }
            (Policy::EpsilonGreedy(p), false, 4) => {
                self.run::<W, EpsilonGreedy, R, 4, false>(world, p, iteration)
            }
            (Policy::EpsilonGreedy(p), false, 6) => {
                self.run::<W, EpsilonGreedy, R, 6, false>(world, p, iteration)
            }
            (_, false, _) => self.run::<W, Policy<'_>, R, 0, false>(world, &policy, iteration),
            (_, true, _) => self.run::<W, Policy<'_>, R, 0, true>(world, &policy, iteration),
        }
    }

    fn run<W: World, B: Behaviour, R: Rule, const A: usize, const COUNT: bool>(
        &mut self,
        world: &mut W,
        behaviour: &B,
        iteration: &mut Iteration<'_>,
    ) {
        let QLearning { tables, lanes, spare, .. } = self;
        if W::SINGLE {
            let lane = &mut lanes[0];
            // A copy of its own need not be in memory while the loop runs.
            let mut single = [lane.clone()];
            one_step::learn::<W, B, R, A, COUNT>(world, tables, &mut single, behaviour, iteration, spare);
            [*lane] = single;
        } else {
            one_step::learn::<W, B, R, A, COUNT>(world, tables, lanes, behaviour, iteration, spare);
        }
    }

    /// The mean over all states of the best action's value.
    fn mean_value(&self) -> f64 {
        let best = self.tables.q.chunks_exact(self.layout.actions).map(|row| f64::from(row[td::argmax(row)]));
        best.sum::<f64>() / self.layout.states as f64
    }
}

impl Learner for QLearning {
    fn algo(&self) -> &'static str {
        self.method.name()
    }

    fn metrics(&self) -> &'static [Metric] {
        METRICS
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
        let epsilon = self.epsilon(progress, episodes.count());
        let mut iteration = Iteration {
            gamma: self.config.gamma as f32,
            rounds: self.config.num_steps,
            steps_before: self.steps,
            episodes,
            totals: Totals::default(),
        };
        self.learn(env, epsilon, &mut iteration);
        let Totals { error, updates } = iteration.totals;
        self.updates += 1;
        let value = self.mean_value();
        Diverged::check(self.updates, "TD error", &[error])?;
        Diverged::check(self.updates, "action value", &[value])?;
        report.steps = self.steps_per_iteration();
        self.steps += report.steps;
        report.values.clear();
        report.values.extend([error / updates.max(1) as f64, epsilon, value, updates as f64]);
        Ok(())
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        let ActionBuffer::Discrete(actions) = actions else {
            panic!("continuous actions for a table of discrete ones")
        };
        let mut mean = Vec::with_capacity(self.layout.actions);
        for (obs, action) in obs.rows().into_iter().zip(actions) {
            let row = self.layout.row(obs.as_slice().expect("rows of observations are contiguous"));
            let values = self.tables.row(row);
            *action = if self.tables.second.is_empty() {
                td::argmax(values)
            } else {
                let other = &self.tables.second[row * self.layout.actions..];
                mean.clear();
                mean.extend(values.iter().zip(other).map(|(&x, &y)| 0.5 * (x + y)));
                td::argmax(&mean)
            } as u32;
        }
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_tensor("q", &self.tables.q);
        if !self.tables.second.is_empty() {
            checkpoint.put_tensor("q.second", &self.tables.second);
        }
        checkpoint.put("visits", &self.tables.visits);
        checkpoint.put("lanes", &self.lanes);
        checkpoint.put("memories", &self.memories);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        Checkpoint::restore(self, |next| {
            checkpoint.get_tensor("q", &mut next.tables.q)?;
            if !next.tables.second.is_empty() {
                checkpoint.get_tensor("q.second", &mut next.tables.second)?;
            }
            let fits = |name: &str, found: usize, expected: usize| {
                (found == expected)
                    .then_some(())
                    .ok_or_else(|| format!("state {name} has {found} entries, expected {expected}"))
            };
            next.tables.best.clear();
            next.tables.visits = checkpoint.get("visits")?;
            fits("visits", next.tables.visits.len(), next.tables.q.len())?;
            next.lanes = checkpoint.get("lanes")?;
            fits("lanes", next.lanes.len(), next.config.num_envs)?;
            let actions = next.layout.actions as u32;
            if next.lanes.iter().any(|lane| lane.pending != NONE && lane.pending >= actions) {
                return Err(format!("state lanes has an action that is not below {actions}"));
            }
            next.memories = checkpoint.get("memories")?;
            fits("memories", next.memories.len(), next.config.num_envs)?;
            if !next.memories.iter().all(|memory| memory.fits(next.tables.q.len())) {
                return Err("state memories has an entry outside of the table".to_owned());
            }
            next.steps = checkpoint.get("steps")?;
            next.updates = checkpoint.get("updates")?;
            Ok(())
        })
    }
}

use crate::config::{Config, TargetUpdate};
use crate::kept::Kept;
use crate::networks::{QNetworks, ROWS};
use crate::replay::{Batch, Precision, Replay};
use crate::{NStep, Priorities, loss, target};
use ndarray::{Array2, ArrayRef2, ArrayView2, s};
use rederive_env::{Actions, Space, Stream, VecEnv};
use rederive_math::td;
use rederive_nn::{Optimizer, clip_global_norm};
use rederive_train::{
    ActionBuffer, Checkpoint, ConfigError, Diverged, EpisodeLog, Learner, Metric, Report, encode, range,
};

/// What [`Dqn`] reports after each iteration. Before the first gradient step, the first four are 0.
pub const METRICS: &[Metric] = &[
    Metric { name: "loss", meaning: "mean loss of the iteration's gradient steps" },
    Metric { name: "td_error", meaning: "mean size of target minus value over their transitions" },
    Metric { name: "q_value", meaning: "mean value of the actions in their transitions" },
    Metric { name: "grad_norm", meaning: "mean Euclidean norm of the gradient before clipping" },
    Metric { name: "epsilon", meaning: "share of random actions at the end of the iteration" },
    Metric { name: "lr", meaning: "step size" },
    Metric { name: "replay", meaning: "transitions in the replay buffer" },
    Metric { name: "gradient_steps", meaning: "gradient steps so far" },
];

/// A DQN agent with everything it needs to learn, and to go on after a stop.
///
/// Observations of images are kept in a byte per number; all others as they are.
///
/// ```
/// use rederive_dqn::{Config, Dqn};
/// use rederive_train::{EpisodeLog, Learner, Report};
///
/// let mut env = rederive_env::make_vec("CartPole-v1", 1).unwrap();
/// let config = Config { learning_starts: 500, ..Config::default() };
/// let mut dqn = Dqn::new(config, env.as_ref(), 1).unwrap();
/// env.reset(1);
/// let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
/// dqn.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).unwrap();
/// assert_eq!((report.steps, dqn.replay().len(), dqn.gradient_steps()), (1000, 1000, 50));
/// ```
#[derive(Clone, Debug)]
pub struct Dqn {
    config: Config,
    space: Space,
    /// Centre and reciprocal half width of each number of an observation; empty if they are taken as they are.
    scale: Vec<(f32, f32)>,
    num_actions: usize,
    networks: QNetworks,
    optimizer: Optimizer<f32>,
    replay: Replay,
    /// Values of the target network, where enough of them are used twice.
    kept: Option<Kept>,
    priorities: Option<Priorities>,
    n_step: NStep,
    explore: Vec<Stream>,
    sampler: Stream,
    steps: u64,
    updates: u64,
    room: Room,
}

/// Room for what a step and an update need.
#[derive(Clone, Debug)]
struct Room {
    actions: Vec<u32>,
    /// Which environments act greedily, and what they see `[N, F]`.
    greedy: Vec<usize>,
    features: Array2<f32>,
    batch: Batch,
    /// One-hot features of a batch `[B, F]` and of what follows; empty if observations are features.
    one_hot: Array2<f32>,
    next_one_hot: Array2<f32>,
    /// Online values of what follows, in double Q-learning `[B, A]`.
    select: Array2<f32>,
    target: Vec<f32>,
    weight: Vec<f32>,
    td_error: Vec<f32>,
    d_q: Array2<f32>,
    /// Zero between two gradient steps.
    grad: Vec<f32>,
}

/// Sums over the gradient steps of one iteration.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    loss: f64,
    td_error: f64,
    q_value: f64,
    grad_norm: f64,
    count: f64,
}

/// How far learning has come, which does not change within an iteration.
#[derive(Clone, Copy, Debug)]
struct Progress {
    lr: f32,
    beta: f64,
}

impl Dqn {
    /// An agent for environments like `env`, with weights and streams drawn from `seed`.
    ///
    /// # Errors
    /// If a field of `config` is out of range or differs from the environment, actions are not discrete, or there is no room
    /// for the replay buffer.
    pub fn new(config: Config, env: &dyn VecEnv, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        range::same_num_envs(config.num_envs, env)?;
        let space = env.observation_space().clone();
        let networks = QNetworks::new(&config, env, seed)?;
        let precision = match space {
            Space::Image { .. } => Precision::Byte,
            _ => Precision::F32,
        };
        let replay = Replay::new(config.replay, space.len(), precision).map_err(|bytes| {
            let allowed = format!("small enough for memory: it would take {bytes} bytes");
            ConfigError::new("replay", config.replay, allowed)
        })?;
        let (rows, features, num_actions) = (config.batch, space.features(), networks.network().outputs());
        let one_hot = if is_features(&space) { 0 } else { rows };
        let params = networks.online().len();
        Ok(Dqn {
            optimizer: Optimizer::new(config.optimizer(), params),
            priorities: config
                .prioritized
                .then(|| Priorities::new(config.replay, config.priority_alpha, config.priority_eps)),
            n_step: NStep::new(config.num_envs, config.n_step, space.len(), config.gamma),
            explore: (0..config.num_envs as u64).map(|n| Stream::new(seed, "action", n)).collect(),
            sampler: Stream::new(seed, "replay", 0),
            steps: 0,
            updates: 0,
            room: Room {
                actions: vec![0; config.num_envs],
                greedy: Vec::with_capacity(config.num_envs),
                features: Array2::zeros((config.num_envs, features)),
                batch: Batch::new(rows, space.len()),
                one_hot: Array2::zeros((one_hot, features)),
                next_one_hot: Array2::zeros((one_hot, features)),
                select: Array2::zeros((if config.double { rows } else { 0 }, num_actions)),
                target: vec![0.0; rows],
                weight: vec![1.0; rows],
                td_error: vec![0.0; rows],
                d_q: Array2::zeros((rows, num_actions)),
                grad: vec![0.0; params],
            },
            kept: keeps(&config).then(|| Kept::new(config.replay, num_actions, rows, features)).flatten(),
            replay,
            networks,
            num_actions,
            scale: if config.scale_obs { scale(&space) } else { Vec::new() },
            space,
            config,
        })
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The online and the target network.
    pub fn networks(&self) -> &QNetworks {
        &self.networks
    }

    /// The transitions that are learnt from.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// Their priorities, if they have any.
    pub fn priorities(&self) -> Option<&Priorities> {
        self.priorities.as_ref()
    }

    /// Environment steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Gradient steps so far.
    pub fn gradient_steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Chooses an action for every environment: a random one with probability epsilon, else the one of the largest value. The
    /// network only sees the observations that it has to judge.
    fn act(&mut self, obs: ArrayView2<'_, f32>, epsilon: f64) {
        let Room { actions, greedy, features, .. } = &mut self.room;
        greedy.clear();
        for (n, rng) in self.explore.iter_mut().enumerate() {
            if rng.unit() < epsilon {
                actions[n] = rng.below(self.num_actions as u32);
            } else {
                let row = obs.row(n);
                let mut to = features.row_mut(greedy.len());
                let to = to.as_slice_mut().expect("rows are contiguous");
                self.space.encode(row.to_slice().expect("rows of observations are contiguous"), to);
                apply(&self.scale, to);
                greedy.push(n);
            }
        }
        if !greedy.is_empty() {
            let values = self.networks.values(&features.slice(s![..greedy.len(), ..]));
            let values = values.as_slice().expect("the output is contiguous");
            for (&n, values) in greedy.iter().zip(values.chunks_exact(self.num_actions)) {
                actions[n] = td::argmax(values) as u32;
            }
        }
    }

    /// One step of every environment, into the replay buffer and the log.
    fn step(&mut self, env: &mut dyn VecEnv, episodes: &mut EpisodeLog) -> Result<(), Diverged> {
        let config = &self.config;
        let epsilon = config.epsilon_schedule.at(
            config.epsilon,
            config.epsilon_final,
            config.epsilon_steps,
            self.steps,
        );
        self.act(env.obs(), epsilon);
        let obs = env.obs();
        for (n, &action) in self.room.actions.iter().enumerate() {
            self.n_step.begin(n, row(&obs, n), action);
        }
        env.step(Actions::Discrete(&self.room.actions));
        let (obs, final_obs, rewards) = (env.obs(), env.final_obs(), env.reward());
        for (n, &end) in env.end().iter().enumerate() {
            let reward = rewards[n];
            // After an end, `obs` is already the beginning of the next episode.
            let next_obs = row(if end.done() { &final_obs } else { &obs }, n);
            if !reward.is_finite() {
                return Err(self.diverged("reward"));
            }
            if !next_obs.iter().all(|x| x.is_finite()) {
                return Err(self.diverged("observation"));
            }
            let (replay, kept, priorities) = (&mut self.replay, &mut self.kept, &mut self.priorities);
            self.n_step.finish(n, reward, end, |steps| {
                let slot = replay.push(steps, next_obs);
                if let Some(kept) = kept {
                    kept.forget(slot);
                }
                if let Some(priorities) = priorities {
                    priorities.insert(slot);
                }
            });
            self.steps += 1;
            episodes.record(n, reward, end.done(), self.steps);
        }
        Ok(())
    }

    /// One gradient step on one batch.
    fn learn(&mut self, progress: Progress, totals: &mut Totals) -> Result<(), Diverged> {
        let Room { batch, one_hot, next_one_hot, select, target, weight, td_error, d_q, grad, .. } =
            &mut self.room;
        let weighted = match &self.priorities {
            None => {
                self.replay.sample(batch, &mut self.sampler);
                None
            }
            Some(priorities) => {
                priorities.sample(progress.beta, &mut self.sampler, &mut batch.slot, weight);
                self.replay.gather(batch);
                Some(weight.as_slice())
            }
        };
        apply(&self.scale, batch.obs.as_slice_mut().expect("contiguous"));
        apply(&self.scale, batch.next_obs.as_slice_mut().expect("contiguous"));
        let (features, next): (&ArrayRef2<f32>, &ArrayRef2<f32>) = if is_features(&self.space) {
            (&batch.obs, &batch.next_obs)
        } else {
            encode(&self.space, None, batch.obs.view(), one_hot);
            encode(&self.space, None, batch.next_obs.view(), next_one_hot);
            (one_hot, next_one_hot)
        };
        if self.config.double {
            select.assign(&self.networks.values(next));
        }
        let evaluate = match &mut self.kept {
            Some(kept) => kept.values(&batch.slot, next, &mut self.networks),
            None => self.networks.target_values(next),
        };
        if self.config.double {
            let Batch { reward, terminated, discount, .. } = &*batch;
            loss::double_q_target(reward, terminated, discount, select, &evaluate, target);
        } else {
            loss::td_target(&batch.reward, &batch.terminated, &batch.discount, &evaluate, target);
        }
        let q = self.networks.forward(features);
        let value = loss::td_loss(&q, &batch.action, target, weighted, self.config.loss, d_q, td_error);
        if !value.is_finite() {
            return Err(self.diverged("loss"));
        }
        self.networks.backward(features, d_q, grad);
        let largest = self.config.max_grad_norm.map_or(f32::INFINITY, |norm| norm as f32);
        let norm = clip_global_norm(grad, largest);
        if !norm.is_finite() {
            grad.fill(0.0);
            return Err(self.diverged("gradient"));
        }
        let (mut errors, mut values) = (0.0, 0.0);
        for (&error, &y) in td_error.iter().zip(&*target) {
            errors += error.abs();
            values += y - error;
        }
        self.optimizer.step_and_clear(&mut self.networks.online, &mut self.room.grad, progress.lr);
        if self.config.target == TargetUpdate::Soft {
            target::soft(&mut self.networks.target, &self.networks.online, self.config.kappa as f32);
        }
        if let Some(priorities) = &mut self.priorities {
            priorities.update(&self.room.batch.slot, &self.room.td_error);
        }
        let share = 1.0 / self.config.batch as f64;
        totals.loss += f64::from(value);
        totals.td_error += share * f64::from(errors);
        totals.q_value += share * f64::from(values);
        totals.grad_norm += f64::from(norm);
        totals.count += 1.0;
        Ok(())
    }

    fn diverged(&self, term: &str) -> Diverged {
        Diverged { update: self.updates + 1, term: term.to_owned() }
    }
}

/// Whether the target network's values are kept: where it stands still for so long that at least every 16th of them is used
/// again. That share is half of the draws between two copies over the size of the replay, as long as it is small.
fn keeps(config: &Config) -> bool {
    let times = (config.target_period / config.train_every).saturating_mul(config.gradient_steps as u64);
    let draws = times.saturating_mul(config.batch as u64);
    config.target == TargetUpdate::Hard && draws >= config.replay as u64 / 8
}

/// Whether observations are what the network reads.
fn is_features(space: &Space) -> bool {
    matches!(space, Space::Box { .. } | Space::Image { .. })
}

/// What takes the numbers of a box to [-1, 1]; those without bounds stay as they are, and so does everything that is no box.
fn scale(space: &Space) -> Vec<(f32, f32)> {
    let Space::Box { low, high } = space else { return Vec::new() };
    let one = |(&low, &high): (&f32, &f32)| {
        let half = (high - low) / 2.0;
        if half.is_finite() && half > 0.0 { (low + half, 1.0 / half) } else { (0.0, 1.0) }
    };
    low.iter().zip(high).map(one).collect()
}

/// Scales rows of features.
fn apply(scale: &[(f32, f32)], features: &mut [f32]) {
    if !scale.is_empty() {
        for row in features.chunks_exact_mut(scale.len()) {
            for (x, &(centre, factor)) in row.iter_mut().zip(scale) {
                *x = (*x - centre) * factor;
            }
        }
    }
}

fn row<'a>(obs: &'a ArrayView2<'_, f32>, n: usize) -> &'a [f32] {
    let width = obs.ncols();
    &obs.as_slice().expect("observations are contiguous")[n * width..][..width]
}

impl Learner for Dqn {
    fn algo(&self) -> &'static str {
        "dqn"
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
        let lr = self.config.lr_schedule.at(self.config.lr, progress);
        let beta = self.config.priority_beta + (1.0 - self.config.priority_beta) * progress;
        let now = Progress { lr: lr as f32, beta };
        let mut totals = Totals::default();
        for _ in 0..self.config.num_steps {
            let before = self.steps;
            self.step(env, episodes)?;
            if self.steps > self.config.learning_starts && self.replay.len() >= self.config.batch {
                for _ in 0..target::crossings(before, self.steps, self.config.train_every) {
                    for _ in 0..self.config.gradient_steps {
                        self.learn(now, &mut totals)?;
                    }
                }
            }
            if self.config.target == TargetUpdate::Hard {
                let QNetworks { online, target, .. } = &mut self.networks;
                if target::hard(target, online, before, self.steps, self.config.target_period)
                    && let Some(kept) = &mut self.kept
                {
                    kept.forget_all();
                }
            }
        }
        self.updates += 1;
        let config = &self.config;
        let epsilon = config.epsilon_schedule.at(
            config.epsilon,
            config.epsilon_final,
            config.epsilon_steps,
            self.steps,
        );
        let mean = |sum: f64| if totals.count > 0.0 { sum / totals.count } else { 0.0 };
        report.steps = self.steps_per_iteration();
        report.values.clear();
        report.values.extend([
            mean(totals.loss),
            mean(totals.td_error),
            mean(totals.q_value),
            mean(totals.grad_norm),
            epsilon,
            lr,
            self.replay.len() as f64,
            self.optimizer.steps() as f64,
        ]);
        Ok(())
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        let ActionBuffer::Discrete(actions) = actions else {
            panic!("continuous actions for values of discrete ones")
        };
        let mut features = Array2::zeros((ROWS, self.space.features()));
        for (block, actions) in actions.chunks_mut(ROWS).enumerate() {
            let rows = s![block * ROWS..block * ROWS + actions.len(), ..];
            let mut features = features.slice_mut(s![..actions.len(), ..]);
            encode(&self.space, None, obs.slice(rows), &mut features);
            apply(&self.scale, features.as_slice_mut().expect("contiguous"));
            let values = self.networks.values(&features);
            for (action, values) in actions.iter_mut().zip(values.rows()) {
                *action = td::argmax(values.to_slice().expect("rows are contiguous")) as u32;
            }
        }
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_tensor("online", &self.networks.online);
        checkpoint.put_tensor("target", &self.networks.target);
        checkpoint.put_optimizer("optimizer", &self.optimizer);
        checkpoint.put_bytes("replay", self.replay.bytes());
        checkpoint.put("replay.next", &self.replay.position());
        if let Some(priorities) = &self.priorities {
            let (weights, largest) = priorities.state(self.replay.len());
            checkpoint.put_tensor("priorities", &weights);
            checkpoint.put("priorities.largest", &largest);
        }
        let (obs, lanes) = self.n_step.state();
        checkpoint.put_tensor("n_step.obs", obs);
        checkpoint.put("n_step", &lanes);
        checkpoint.put("explore", &self.explore);
        checkpoint.put("sampler", &self.sampler);
        checkpoint.put("steps", &self.steps);
        checkpoint.put("updates", &self.updates);
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        // Everything is read before anything is changed: a checkpoint that does not fit leaves the agent as it was.
        let (mut networks, mut optimizer) = (self.networks.clone(), self.optimizer.clone());
        checkpoint.get_tensor("online", &mut networks.online)?;
        checkpoint.get_tensor("target", &mut networks.target)?;
        checkpoint.get_optimizer("optimizer", &mut optimizer)?;
        let rows = checkpoint.get_bytes("replay")?;
        let replay = self.replay.restored(rows, checkpoint.get("replay.next")?, self.num_actions);
        let replay = replay.map_err(|problem| format!("bytes replay: {problem}"))?;
        let mut priorities = self.priorities.clone();
        if let Some(priorities) = &mut priorities {
            let mut weights = vec![0.0; replay.len()];
            checkpoint.get_tensor("priorities", &mut weights)?;
            let restored = priorities.restore(&weights, checkpoint.get("priorities.largest")?);
            restored.map_err(|problem| format!("tensor priorities: {problem}"))?;
        }
        let mut n_step = self.n_step.clone();
        let restored = n_step.restore(checkpoint, self.num_actions);
        restored.map_err(|problem| format!("state n_step: {problem}"))?;
        let explore: Vec<Stream> = checkpoint.get("explore")?;
        if explore.len() != self.explore.len() {
            let (found, expected) = (explore.len(), self.explore.len());
            return Err(format!("state explore has {found} streams, expected {expected}"));
        }
        let (sampler, steps, updates) =
            (checkpoint.get("sampler")?, checkpoint.get("steps")?, checkpoint.get("updates")?);
        *self = Dqn {
            networks,
            optimizer,
            replay,
            kept: self.kept.take().map(|mut kept| {
                kept.forget_all();
                kept
            }),
            priorities,
            n_step,
            explore,
            sampler,
            steps,
            updates,
            config: self.config.clone(),
            space: self.space.clone(),
            scale: self.scale.clone(),
            num_actions: self.num_actions,
            room: self.room.clone(),
        };
        Ok(())
    }
}

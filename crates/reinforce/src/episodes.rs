use crate::Config;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rand::RngCore;
use rederive_env::{End, Space, Stream, VecEnv};
use rederive_train::{ActionBuffer, ActorCritic, Checkpoint, Diverged, EpisodeLog, Interface, Networks};

/// A batch of whole episodes, one after another, and how they are played.
///
/// Every environment plays the same number of episodes, whatever their lengths: who took the first ones to finish would learn
/// from short episodes more often than they happen. An environment that is done idles until all are; its steps are
/// taken, and not learnt from. The next batch starts with all environments at the start of an episode.
#[derive(Clone, Debug)]
pub(crate) struct Episodes {
    pub interface: Interface,
    per_env: usize,
    max_steps: usize,
    /// Seeds of the resets between batches.
    resets: Stream,
    /// Whether every environment is at the start of an episode.
    fresh: bool,
    /// Whether the observations of the run's first reset have been taken into account.
    started: bool,
    /// The whole batch: the steps of the first environment, then those of the second one, ...
    pub rows: Rows,
    /// What each environment did.
    lanes: Vec<Rows>,
    /// One row per environment.
    step_features: Array2<f32>,
    step_action: ActionBuffer,
    log_prob: Vec<f32>,
    ended: Vec<End>,
    running: Vec<Running>,
}

/// Steps in the order in which they were taken, episode after episode.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// `[B, F]`
    pub features: Vec<f32>,
    pub actions: ActionRows,
    pub reward: Vec<f32>,
    pub end: Vec<End>,
    /// Features of the last states of the episodes that were cut `[C, F]`, and the rows that led there.
    pub cut_features: Vec<f32>,
    pub cut: Vec<usize>,
}

/// Actions of all steps, `[B]` or `[B, D]`.
#[derive(Clone, Debug)]
pub(crate) enum ActionRows {
    Discrete(Vec<u32>),
    Continuous(Vec<f32>),
}

/// What an environment is at.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    /// Steps of the present episode.
    time: usize,
    /// Episodes still to play, this one included.
    left: usize,
}

impl Rows {
    fn new(actions: ActionRows) -> Self {
        Rows {
            features: Vec::new(),
            actions,
            reward: Vec::new(),
            end: Vec::new(),
            cut_features: Vec::new(),
            cut: Vec::new(),
        }
    }

    fn clear(&mut self) {
        for v in [&mut self.features, &mut self.reward, &mut self.cut_features] {
            v.clear();
        }
        self.end.clear();
        self.cut.clear();
        match &mut self.actions {
            ActionRows::Discrete(rows) => rows.clear(),
            ActionRows::Continuous(rows) => rows.clear(),
        }
    }

    fn extend(&mut self, other: &Rows) {
        let before = self.reward.len();
        self.features.extend_from_slice(&other.features);
        match (&mut self.actions, &other.actions) {
            (ActionRows::Discrete(to), ActionRows::Discrete(from)) => to.extend_from_slice(from),
            (ActionRows::Continuous(to), ActionRows::Continuous(from)) => to.extend_from_slice(from),
            _ => unreachable!("both were made for the same action space"),
        }
        self.reward.extend_from_slice(&other.reward);
        self.end.extend_from_slice(&other.end);
        self.cut_features.extend_from_slice(&other.cut_features);
        self.cut.extend(other.cut.iter().map(|row| before + row));
    }
}

impl Episodes {
    pub fn new(env: &dyn VecEnv, config: &Config, seed: u64) -> Self {
        let (interface, n) = (Interface::new(env, config.normalize_obs), env.num_envs());
        let actions = match env.action_space() {
            Space::Box { .. } => ActionRows::Continuous(Vec::new()),
            _ => ActionRows::Discrete(Vec::new()),
        };
        Episodes {
            step_features: Array2::zeros((n, interface.features())),
            interface,
            per_env: config.episodes / n,
            max_steps: config.max_episode_steps,
            resets: Stream::new(seed, "episodes", 0),
            fresh: true,
            started: false,
            lanes: vec![Rows::new(actions.clone()); n],
            rows: Rows::new(actions),
            step_action: ActionBuffer::new(env.action_space(), n),
            log_prob: vec![0.0; n],
            ended: vec![End::Terminated; n],
            running: vec![Running::default(); n],
        }
    }

    pub fn len(&self) -> usize {
        self.rows.reward.len()
    }

    /// How many episodes there are.
    pub fn count(&self) -> usize {
        self.rows.end.iter().filter(|end| end.done()).count()
    }

    /// Rows `from..to` of the features `[to - from, F]`.
    pub fn features(&self, from: usize, to: usize) -> ArrayView2<'_, f32> {
        view(&self.rows.features, self.step_features.ncols(), from, to)
    }

    /// The features of the last states of the episodes that were cut.
    pub fn cut_features(&self) -> ArrayView2<'_, f32> {
        view(&self.rows.cut_features, self.step_features.ncols(), 0, self.rows.cut.len())
    }

    /// Copies the actions of rows `from..to` into the first rows of `out`.
    pub fn copy_actions(&self, from: usize, to: usize, out: &mut ActionBuffer) {
        match (&self.rows.actions, out) {
            (ActionRows::Discrete(rows), ActionBuffer::Discrete(out)) => {
                out[..to - from].copy_from_slice(&rows[from..to]);
            }
            (ActionRows::Continuous(rows), ActionBuffer::Continuous(out)) => {
                let width = out.ncols();
                let out = out.as_slice_mut().expect("contiguous");
                out[..(to - from) * width].copy_from_slice(&rows[from * width..to * width]);
            }
            _ => unreachable!("both were made for the same action space"),
        }
    }

    /// Plays a batch. `step` is the number of environment steps taken before it; returns how many this took, those of idle
    /// environments included.
    ///
    /// # Errors
    /// If a reward or an observation is not finite.
    pub fn play(
        &mut self,
        env: &mut dyn VecEnv,
        networks: &mut Networks,
        log: &mut EpisodeLog,
        step: u64,
        update: u64,
    ) -> Result<u64, Diverged> {
        self.begin(env, log);
        let n = env.num_envs();
        let mut steps = 0;
        let mut playing = n;
        while playing > 0 {
            self.interface.encode(env.obs(), &mut self.step_features);
            networks.act(&self.step_features, &self.ended, &mut self.step_action, &mut self.log_prob);
            self.interface.step(env, &self.step_action, update)?;
            for i in 0..n {
                let Running { time, left } = self.running[i];
                if left == 0 {
                    continue;
                }
                let (reward, mut end) = (env.reward()[i], env.end()[i]);
                // A limit of ours, where the environment has none that comes earlier.
                let ours = !end.done() && time + 1 == self.max_steps;
                if ours {
                    end = End::Truncated;
                }
                self.push(i, reward, end);
                log.record(i, reward, end.done(), step + steps + i as u64 + 1);
                self.ended[i] = end;
                if !end.done() {
                    self.running[i].time = time + 1;
                    continue;
                }
                if end.truncated() {
                    let all = if ours { env.obs() } else { env.final_obs() };
                    let last = all.slice(s![i..i + 1, ..]);
                    Diverged::check(update, "observation", last)?;
                    self.push_cut(i, last);
                }
                // After a limit of ours the environment goes on, and its next episode would not begin at a start.
                let left = if ours { 0 } else { left - 1 };
                self.fresh &= !ours;
                self.running[i] = Running { time: 0, left };
                playing -= usize::from(left == 0);
            }
            steps += n as u64;
            self.interface.observe(env);
        }
        self.fresh &= n == 1;
        self.rows.clear();
        for lane in &self.lanes {
            self.rows.extend(lane);
        }
        Ok(steps)
    }

    /// Clears the batch and brings every environment to the start of an episode.
    fn begin(&mut self, env: &mut dyn VecEnv, log: &mut EpisodeLog) {
        let n = env.num_envs();
        assert_eq!(self.running.len(), n, "the environments that this was made for against env");
        self.lanes.iter_mut().for_each(Rows::clear);
        if !self.fresh {
            env.reset(self.resets.next_u64());
            (0..n).for_each(|i| log.set_running(i, (0.0, 0)));
            self.interface.observe(env);
        } else if !self.started {
            self.interface.observe(env);
        }
        (self.fresh, self.started) = (true, true);
        self.ended.fill(End::Terminated);
        self.running.fill(Running { time: 0, left: self.per_env });
    }

    /// Adds the step that environment `i` has just taken.
    fn push(&mut self, i: usize, reward: f32, end: End) {
        let lane = &mut self.lanes[i];
        lane.features.extend_from_slice(self.step_features.row(i).to_slice().expect("contiguous"));
        match (&mut lane.actions, &self.step_action) {
            (ActionRows::Discrete(rows), ActionBuffer::Discrete(action)) => rows.push(action[i]),
            (ActionRows::Continuous(rows), ActionBuffer::Continuous(action)) => {
                rows.extend_from_slice(action.row(i).to_slice().expect("contiguous"));
            }
            _ => unreachable!("both were made for the same action space"),
        }
        lane.reward.push(reward);
        lane.end.push(end);
    }

    /// Adds the last observation `[1, D]` of an episode of environment `i` that was cut at the step just added.
    fn push_cut(&mut self, i: usize, last: ArrayView2<'_, f32>) {
        let (lane, width) = (&mut self.lanes[i], self.step_features.ncols());
        let at = lane.cut_features.len();
        lane.cut_features.resize(at + width, 0.0);
        let mut to = ArrayViewMut2::from_shape((1, width), &mut lane.cut_features[at..]).expect("one row");
        self.interface.encode(last, &mut to);
        lane.cut.push(lane.reward.len() - 1);
    }

    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put("resets", &self.resets);
        checkpoint.put("fresh", &self.fresh);
        self.interface.save(checkpoint);
    }

    /// Restores what [`save`](Self::save) added; the problem in words if it does not fit.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        self.interface.load(checkpoint)?;
        self.resets = checkpoint.get("resets")?;
        self.fresh = checkpoint.get("fresh")?;
        self.started = true;
        Ok(())
    }
}

fn view(rows: &[f32], width: usize, from: usize, to: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((to - from, width), &rows[from * width..to * width]).expect("whole rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rederive_env::make_vec;
    use rederive_train::network_config;

    /// Three batches of `episodes` from `num_envs` environments.
    fn play(id: &str, num_envs: usize, episodes: usize, max_steps: usize, look: impl Fn(&Episodes, u64)) {
        let hidden = vec![4];
        let config = Config { hidden, num_envs, episodes, max_episode_steps: max_steps, ..Config::default() };
        let mut env = make_vec(id, num_envs).unwrap();
        let (observation, action) = (env.observation_space(), env.action_space());
        let sizes = network_config!(config);
        let mut networks = Networks::new(&sizes, observation, action, num_envs, 16, 1).unwrap();
        let mut batch = Episodes::new(env.as_ref(), &config, 1);
        let mut log = EpisodeLog::new(num_envs);
        env.reset(1);
        for _ in 0..3 {
            let steps = batch.play(env.as_mut(), &mut networks, &mut log, 0, 1).unwrap();
            let ended: Vec<_> = log.drain().collect();
            assert_eq!(ended.len(), batch.count());
            assert_eq!(ended.iter().map(|e| e.length).sum::<u64>(), batch.len() as u64);
            assert!(batch.rows.end.last().unwrap().done());
            look(&batch, steps);
        }
    }

    #[test]
    fn every_environment_plays_as_many_whole_episodes_from_their_start() {
        for (num_envs, episodes) in [(1, 4), (2, 4), (4, 4)] {
            play("CartPole-v1", num_envs, episodes, 1000, |batch, steps| {
                assert_eq!(batch.count(), episodes);
                // An environment alone has nobody to wait for.
                assert!(steps as usize >= batch.len() && (num_envs > 1 || steps as usize == batch.len()));
                let mut starts = true;
                for (t, end) in batch.rows.end.iter().enumerate() {
                    let small = batch.features(t, t + 1).iter().all(|x| x.abs() <= 0.05);
                    assert!(small || !starts, "step {t} starts an episode");
                    starts = end.done();
                }
            });
        }
    }

    #[test]
    fn a_limit_cuts_an_episode_and_keeps_where_it_led() {
        // The environment's own limit, after which it starts anew, and one of ours, after which this batch is over for it.
        for (id, max_steps, count) in [("Pendulum-v1?max_steps=5", 1000, 4), ("Pendulum-v1", 5, 2)] {
            play(id, 2, 4, max_steps, |batch, _| {
                assert_eq!((batch.count(), batch.len()), (count, 5 * count));
                let lasts: Vec<usize> = (1..=count).map(|k| 5 * k - 1).collect();
                assert_eq!(batch.rows.cut, lasts);
                // A pendulum turns by less than 0.45 per step: the last state is next to the one before.
                for (last, &row) in batch.cut_features().rows().into_iter().zip(&lasts) {
                    let before = batch.features(row, row + 1);
                    assert!((last[0] - before[[0, 0]]).abs() < 0.45 && last != before.row(0));
                }
            });
        }
    }
}

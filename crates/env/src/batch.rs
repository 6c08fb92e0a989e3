use crate::{
    Actions, Dynamics, End, LaneAction, Space, StateError, Stream, VecEnv,
    dynamics::{choices, end},
    saved::{self, SavedVec},
    sync_vec::reset_stream,
};
use ndarray::ArrayView2;
use serde_json::Value;
use std::marker::PhantomData;

/// How many environments one block steps together: one AVX-512 vector of `f64`.
const LANES: usize = 8;

/// Eight environments, component by component, so that a component of all eight is one vector.
#[derive(Clone)]
#[repr(align(64))]
struct Block<const S: usize> {
    state: [[f64; LANES]; S],
    elapsed: [u32; LANES],
}

/// The widest instructions that this processor has. The results are the same bits on all: the arithmetic is that of IEEE 754
/// without contraction, whatever the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    fn detect() -> Self {
        *Self::available().last().expect("the baseline is always there")
    }

    /// All levels that this processor can run, the widest last.
    fn available() -> Vec<Self> {
        let mut levels = vec![Level::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Level::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                levels.push(Level::Avx512);
            }
        }
        levels
    }
}

/// `N` environments with the same [`Dynamics`], stepped in vector code (AVX-512, AVX2 or the baseline, chosen at run time).
///
/// The streams are those of [`SyncVec`](crate::SyncVec), and so are the trajectories, bit for bit.
pub struct Batch<M: Dynamics<S, D>, const S: usize, const D: usize> {
    dynamics: PhantomData<M>,
    id: String,
    num_envs: usize,
    limit: u32,
    choices: u32,
    level: Level,
    observation_space: Space,
    action_space: Space,
    reset_rng: Vec<Stream>,
    blocks: Vec<Block<S>>,
    // These have room for the last block's idle lanes too.
    obs: Vec<f32>,
    final_obs: Vec<f32>,
    reward: Vec<f32>,
    end: Vec<End>,
    spare: Vec<M::Action>,
}

impl<M: Dynamics<S, D>, const S: usize, const D: usize> Batch<M, S, D> {
    /// `num_envs` environments that truncate an episode after `max_steps` steps, reset with seed 0.
    pub fn new(id: impl Into<String>, num_envs: usize, max_steps: Option<u32>) -> Self {
        let num_blocks = num_envs.div_ceil(LANES);
        let mut batch = Batch {
            dynamics: PhantomData,
            id: id.into(),
            num_envs,
            limit: max_steps.unwrap_or(u32::MAX),
            choices: choices(&M::action_space()),
            level: Level::detect(),
            observation_space: M::observation_space(),
            action_space: M::action_space(),
            reset_rng: Vec::with_capacity(num_envs),
            blocks: vec![Block { state: [[0.0; LANES]; S], elapsed: [0; LANES] }; num_blocks],
            obs: vec![0.0; num_blocks * LANES * D],
            final_obs: vec![0.0; num_blocks * LANES * D],
            reward: vec![0.0; num_blocks * LANES],
            end: vec![End::No; num_blocks * LANES],
            spare: Vec::with_capacity(num_envs),
        };
        assert_eq!(batch.observation_space.len(), D, "length of the observation space against D");
        batch.reset(0);
        batch
    }

    fn state(&self, env: usize) -> [f64; S] {
        let block = &self.blocks[env / LANES];
        std::array::from_fn(|k| block.state[k][env % LANES])
    }

    fn set(&mut self, env: usize, state: [f64; S], elapsed: u32) {
        let block = &mut self.blocks[env / LANES];
        for (lanes, x) in block.state.iter_mut().zip(state) {
            lanes[env % LANES] = x;
        }
        block.elapsed[env % LANES] = elapsed;
        self.obs[env * D..][..D].copy_from_slice(&M::observe(state));
    }

    /// Starts the next episode of every environment that has just ended.
    fn restart(&mut self) {
        for block in 0..self.blocks.len() {
            let ends: [End; LANES] = self.end[block * LANES..][..LANES].try_into().expect("a whole block");
            if u64::from_ne_bytes(ends.map(|end| end as u8)) == 0 {
                continue;
            }
            for (lane, end) in ends.into_iter().enumerate() {
                let env = block * LANES + lane;
                if !end.done() {
                    continue;
                }
                if env < self.num_envs {
                    self.final_obs[env * D..][..D].copy_from_slice(&self.obs[env * D..][..D]);
                    let state = M::start(&mut self.reset_rng[env]);
                    self.set(env, state, 0);
                } else {
                    self.set(env, [0.0; S], 0);
                }
            }
        }
    }
}

/// What one step reads and writes, block by block.
struct Rows<'a, A> {
    actions: &'a [A],
    obs: &'a mut [f32],
    reward: &'a mut [f32],
    end: &'a mut [End],
}

/// Steps whole blocks; returns whether an action was outside the action space.
#[inline(always)]
fn step_blocks<M: Dynamics<S, D>, const S: usize, const D: usize>(
    blocks: &mut [Block<S>],
    rows: Rows<'_, M::Action>,
    limit: u32,
    choices: u32,
) -> bool {
    let actions = rows.actions.as_chunks::<LANES>().0;
    let obs = rows.obs.as_chunks_mut::<D>().0.as_chunks_mut::<LANES>().0;
    let reward = rows.reward.as_chunks_mut::<LANES>().0;
    let ends = rows.end.as_chunks_mut::<LANES>().0;
    let mut outside = false;
    for ((((block, action), obs), reward), ends) in
        blocks.iter_mut().zip(actions).zip(obs).zip(reward).zip(ends)
    {
        // Everything is read before and written after the loop over lanes, so that nothing in it can alias.
        let (state, elapsed, action) = (block.state, block.elapsed, *action);
        let mut next = [[0.0; LANES]; S];
        let mut steps = [0; LANES];
        let mut seen = [[0.0; D]; LANES];
        let mut earned = [0.0; LANES];
        let mut over = [End::No; LANES];
        for lane in 0..LANES {
            let (to, gained, terminated) =
                M::transition(std::array::from_fn(|k| state[k][lane]), action[lane]);
            for k in 0..S {
                next[k][lane] = to[k];
            }
            seen[lane] = M::observe(to);
            earned[lane] = gained;
            steps[lane] = elapsed[lane].wrapping_add(1);
            over[lane] = end(terminated, steps[lane], limit);
            outside |= action[lane].outside(choices);
        }
        *block = Block { state: next, elapsed: steps };
        *obs = seen;
        *reward = earned;
        *ends = over;
    }
    outside
}

/// [`step_blocks`] compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn step_blocks_avx2<M: Dynamics<S, D>, const S: usize, const D: usize>(
    blocks: &mut [Block<S>],
    rows: Rows<'_, M::Action>,
    limit: u32,
    choices: u32,
) -> bool {
    step_blocks::<M, S, D>(blocks, rows, limit, choices)
}

/// [`step_blocks`] compiled for AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn step_blocks_avx512<M: Dynamics<S, D>, const S: usize, const D: usize>(
    blocks: &mut [Block<S>],
    rows: Rows<'_, M::Action>,
    limit: u32,
    choices: u32,
) -> bool {
    step_blocks::<M, S, D>(blocks, rows, limit, choices)
}

fn dispatch<M: Dynamics<S, D>, const S: usize, const D: usize>(
    level: Level,
    blocks: &mut [Block<S>],
    rows: Rows<'_, M::Action>,
    limit: u32,
    choices: u32,
) -> bool {
    match level {
        Level::Baseline => step_blocks::<M, S, D>(blocks, rows, limit, choices),
        // SAFETY: a level is only ever one of those that `Level::available` found this processor to have.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { step_blocks_avx2::<M, S, D>(blocks, rows, limit, choices) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { step_blocks_avx512::<M, S, D>(blocks, rows, limit, choices) },
    }
}

impl<M: Dynamics<S, D>, const S: usize, const D: usize> VecEnv for Batch<M, S, D> {
    fn id(&self) -> &str {
        &self.id
    }

    fn num_envs(&self) -> usize {
        self.num_envs
    }

    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, seed: u64) {
        self.reset_rng.clear();
        for env in 0..self.num_envs {
            let mut rng = reset_stream(seed, env);
            let state = M::start(&mut rng);
            self.set(env, state, 0);
            self.reset_rng.push(rng);
        }
        self.reward.fill(0.0);
        self.end.fill(End::No);
    }

    fn step(&mut self, actions: Actions<'_>) {
        let mut spare = std::mem::take(&mut self.spare);
        let actions = M::Action::many(actions, self.num_envs, &mut spare);
        let whole = self.num_envs / LANES;
        let (obs, last_obs) = self.obs.split_at_mut(whole * LANES * D);
        let (reward, last_reward) = self.reward.split_at_mut(whole * LANES);
        let (ends, last_ends) = self.end.split_at_mut(whole * LANES);
        let (actions, last_actions) = actions.split_at(whole * LANES);
        let (blocks, last_block) = self.blocks.split_at_mut(whole);
        let mut outside = false;
        if whole > 0 {
            let rows = Rows { actions, obs, reward, end: ends };
            outside |= dispatch::<M, S, D>(self.level, blocks, rows, self.limit, self.choices);
        }
        if !last_actions.is_empty() {
            let mut padded = [M::Action::default(); LANES];
            padded[..last_actions.len()].copy_from_slice(last_actions);
            let rows = Rows { actions: &padded, obs: last_obs, reward: last_reward, end: last_ends };
            outside |= dispatch::<M, S, D>(self.level, last_block, rows, self.limit, self.choices);
        }
        self.spare = spare;
        assert!(!outside, "an action outside the action space of {} actions", self.choices);
        self.restart();
    }

    fn obs(&self) -> ArrayView2<'_, f32> {
        view(&self.obs, self.num_envs, D)
    }

    fn reward(&self) -> &[f32] {
        &self.reward[..self.num_envs]
    }

    fn end(&self) -> &[End] {
        &self.end[..self.num_envs]
    }

    fn final_obs(&self) -> ArrayView2<'_, f32> {
        view(&self.final_obs, self.num_envs, D)
    }

    fn save(&self) -> Value {
        let envs = (0..self.num_envs)
            .map(|env| saved::real_state(self.state(env), self.blocks[env / LANES].elapsed[env % LANES]));
        SavedVec::write(&self.id, envs.collect(), self.obs(), &self.reset_rng, &[])
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let saved = SavedVec::read(state, &self.id, self.num_envs, D, 0)?;
        let envs = saved.envs.iter().map(|env| saved::read_real_state::<S>(env, self.limit));
        let envs = envs.collect::<Result<Vec<_>, _>>()?;
        let obs = saved.flat_obs()?;
        for (env, (state, elapsed)) in envs.into_iter().enumerate() {
            self.set(env, state, elapsed);
        }
        self.obs[..obs.len()].copy_from_slice(&obs);
        self.reset_rng = saved.reset;
        self.reward.fill(0.0);
        self.end.fill(End::No);
        Ok(())
    }
}

fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns])
        .expect("as many values as the shape has")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{acrobot::Acrobot, cart_pole::CartPole, pendulum::Pendulum};
    use ndarray::Array2;

    /// Runs the same actions at every level and compares all that comes out, bit for bit.
    fn same_at_every_level<M: Dynamics<S, D>, const S: usize, const D: usize>(limit: u32) {
        for num_envs in [1, 5, 8, 21] {
            let mut runs: Vec<Vec<u64>> = Vec::new();
            for level in Level::available() {
                let mut batch = Batch::<M, S, D>::new("test", num_envs, Some(limit));
                batch.level = level;
                batch.reset(5);
                let mut rng = Stream::new(9, "test", 0);
                let mut bits = Vec::new();
                for _ in 0..300 {
                    if let Space::Discrete { n } = M::action_space() {
                        let actions: Vec<u32> = (0..num_envs).map(|_| rng.below(n as u32)).collect();
                        batch.step(Actions::Discrete(&actions));
                    } else {
                        let actions = Array2::from_shape_fn((num_envs, 1), |_| rng.uniform(-3.0, 3.0) as f32);
                        batch.step(Actions::Continuous(&actions));
                    }
                    bits.extend((0..num_envs).flat_map(|env| batch.state(env)).map(f64::to_bits));
                    bits.extend(batch.obs().iter().map(|x| u64::from(x.to_bits())));
                    bits.extend(batch.reward().iter().map(|x| u64::from(x.to_bits())));
                    bits.extend(batch.end().iter().map(|&end| end as u64));
                }
                runs.push(bits);
            }
            assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{num_envs} environments");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        same_at_every_level::<CartPole, 4, 4>(40);
        same_at_every_level::<Acrobot, 4, 6>(100);
        same_at_every_level::<Pendulum, 2, 3>(50);
    }
}

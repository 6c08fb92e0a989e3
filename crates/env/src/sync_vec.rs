use crate::{
    Action, Actions, End, Env, FiniteParts, Place, Space, StateError, Stream, VecEnv, saved::SavedVec,
};
use ndarray::{Array2, ArrayView2};
use serde_json::Value;

/// The stream from which environment number `env` under `seed` draws the starts of its episodes.
///
/// A single [`Env`] that is given the streams of number `env` follows the trajectory that this number follows in any
/// [`VecEnv`] of this crate, however many environments that has.
pub fn reset_stream(seed: u64, env: usize) -> Stream {
    Stream::new(seed, "env.reset", env as u64)
}

/// The stream from which environment number `env` under `seed` draws its transitions; see [`reset_stream`].
pub fn step_stream(seed: u64, env: usize) -> Stream {
    Stream::new(seed, "env.step", env as u64)
}

/// Environments of one kind, stepped one after the other.
pub struct SyncVec<E> {
    id: String,
    observation_space: Space,
    action_space: Space,
    envs: Vec<E>,
    reset_rng: Vec<Stream>,
    step_rng: Vec<Stream>,
    obs: Array2<f32>,
    final_obs: Array2<f32>,
    reward: Vec<f32>,
    end: Vec<End>,
    spare: Vec<f32>,
}

impl<E: Env> SyncVec<E> {
    /// Puts `envs` side by side and resets them with seed 0.
    ///
    /// # Panics
    /// If there is no environment.
    pub fn new(id: impl Into<String>, envs: Vec<E>) -> Self {
        assert!(!envs.is_empty(), "SyncVec::new: `envs` holds no environment");
        let observation_space = envs[0].observation_space();
        let (num_envs, features) = (envs.len(), observation_space.len());
        let mut this = SyncVec {
            id: id.into(),
            action_space: envs[0].action_space(),
            observation_space,
            reset_rng: Vec::with_capacity(num_envs),
            step_rng: Vec::with_capacity(num_envs),
            obs: Array2::zeros((num_envs, features)),
            final_obs: Array2::zeros((num_envs, features)),
            reward: vec![0.0; num_envs],
            end: vec![End::No; num_envs],
            spare: Vec::new(),
            envs,
        };
        this.reset(0);
        this
    }

    /// The environments.
    pub fn envs(&self) -> &[E] {
        &self.envs
    }

    #[inline(always)]
    fn step_with<'a>(&mut self, action: impl Fn(usize) -> Action<'a>) {
        let features = self.obs.ncols();
        let rows = self.obs.as_slice_mut().expect("standard layout").chunks_exact_mut(features);
        let final_rows = self.final_obs.as_slice_mut().expect("standard layout").chunks_exact_mut(features);
        let streams = self.reset_rng.iter_mut().zip(&mut self.step_rng);
        let outcomes = self.reward.iter_mut().zip(&mut self.end);
        let all = self.envs.iter_mut().zip(streams).zip(outcomes).zip(rows.zip(final_rows));
        for (n, (((env, (reset_rng, step_rng)), (reward, end)), (obs, final_obs))) in all.enumerate() {
            (*reward, *end) = env.step(action(n), step_rng, obs);
            if end.done() {
                final_obs.copy_from_slice(obs);
                env.reset(reset_rng, obs);
            }
        }
    }
}

impl<E: Env> VecEnv for SyncVec<E> {
    fn id(&self) -> &str {
        &self.id
    }

    fn num_envs(&self) -> usize {
        self.envs.len()
    }

    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, seed: u64) {
        self.reset_rng.clear();
        self.step_rng.clear();
        for (n, (env, mut obs)) in self.envs.iter_mut().zip(self.obs.rows_mut()).enumerate() {
            let mut rng = reset_stream(seed, n);
            env.reset(&mut rng, obs.as_slice_mut().expect("standard layout"));
            self.reset_rng.push(rng);
            self.step_rng.push(step_stream(seed, n));
        }
        self.reward.fill(0.0);
        self.end.fill(End::No);
    }

    fn step(&mut self, actions: Actions<'_>) {
        match actions {
            Actions::Discrete(a) => {
                assert_eq!(a.len(), self.envs.len(), "number of actions against num_envs");
                self.step_with(|n| Action::Discrete(a[n]));
            }
            Actions::Continuous(a) => {
                assert_eq!(a.nrows(), self.envs.len(), "rows of the actions against num_envs");
                let width = a.ncols();
                let mut spare = std::mem::take(&mut self.spare);
                let flat = a.as_slice().unwrap_or_else(|| {
                    spare.clear();
                    spare.extend(a.iter());
                    &spare
                });
                self.step_with(|n| Action::Continuous(&flat[n * width..][..width]));
                self.spare = spare;
            }
        }
    }

    fn obs(&self) -> ArrayView2<'_, f32> {
        self.obs.view()
    }

    fn reward(&self) -> &[f32] {
        &self.reward
    }

    fn end(&self) -> &[End] {
        &self.end
    }

    fn final_obs(&self) -> ArrayView2<'_, f32> {
        self.final_obs.view()
    }

    fn save(&self) -> Value {
        let envs = self.envs.iter().map(Env::save).collect();
        SavedVec::write(&self.id, envs, self.obs.view(), &self.reset_rng, &self.step_rng)
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let (num_envs, features) = self.obs.dim();
        let saved = SavedVec::read(state, &self.id, num_envs, features, num_envs)?;
        let obs = saved.flat_obs()?;
        let before: Vec<Value> = self.envs.iter().map(Env::save).collect();
        for n in 0..num_envs {
            if let Err(error) = self.envs[n].load(&saved.envs[n]) {
                // All or nothing: what was loaded so far goes back to where it was.
                for (env, state) in self.envs[..n].iter_mut().zip(&before) {
                    env.load(state)?;
                }
                return Err(StateError(format!("environment {n}: {}", error.0)));
            }
        }
        self.obs.as_slice_mut().expect("standard layout").copy_from_slice(&obs);
        self.reset_rng = saved.reset;
        self.step_rng = saved.step;
        self.reward.fill(0.0);
        self.end.fill(End::No);
        Ok(())
    }

    fn finite_parts(&self) -> Option<FiniteParts<'_>> {
        self.envs[0].finite_parts()
    }

    fn place(&self, n: usize) -> Option<Place> {
        let (state, elapsed) = self.envs[n].finite_state()?;
        Some(Place { state, elapsed, reset: self.reset_rng[n].clone(), step: self.step_rng[n].clone() })
    }

    fn set_place(&mut self, n: usize, place: Place) {
        let mut obs = self.obs.row_mut(n);
        let obs = obs.as_slice_mut().expect("standard layout");
        self.envs[n].set_finite_state(place.state, place.elapsed, obs);
        (self.reset_rng[n], self.step_rng[n]) = (place.reset, place.step);
        (self.reward[n], self.end[n]) = (0.0, End::No);
    }
}

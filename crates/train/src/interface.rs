use crate::{ActionBuffer, Checkpoint, Diverged, Networks, ObsNormalizer};
use ndarray::{Array2, ArrayRef2, ArrayView2};
use rederive_env::{Space, VecEnv};

/// What lies between environments and networks: observations become features, normalised where that is on, and continuous actions
/// stay within the bounds of their space.
#[derive(Clone, Debug)]
pub struct Interface {
    observation_space: Space,
    action_bounds: Option<(Vec<f32>, Vec<f32>)>,
    obs_normalizer: Option<ObsNormalizer>,
    /// The features of one observation.
    one: Vec<f32>,
    /// What the environments are given.
    clipped: ActionBuffer,
    /// The features of observations to act greedily on.
    greedy_features: Array2<f32>,
}

impl Interface {
    /// For environments like `env`.
    pub fn new(env: &dyn VecEnv, normalize_obs: bool) -> Self {
        let (space, action) = (env.observation_space(), env.action_space());
        let features = space.features();
        Interface {
            observation_space: space.clone(),
            action_bounds: match action {
                Space::Box { low, high } => Some((low.clone(), high.clone())),
                _ => None,
            },
            obs_normalizer: normalize_obs.then(|| ObsNormalizer::new(features)),
            one: vec![0.0; features],
            clipped: ActionBuffer::new(action, env.num_envs()),
            greedy_features: Array2::zeros((0, features)),
        }
    }

    /// How many features an observation has.
    pub fn features(&self) -> usize {
        self.one.len()
    }

    /// Writes the features of every row of `obs` `[N, D]` to `features` `[N, F]`.
    pub fn encode(&self, obs: ArrayView2<'_, f32>, features: &mut ArrayRef2<f32>) {
        encode(&self.observation_space, self.obs_normalizer.as_ref(), obs, features);
    }

    /// Takes the present observations of `env` into account, where normalisation is on.
    pub fn observe(&mut self, env: &dyn VecEnv) {
        if let Some(normalizer) = &mut self.obs_normalizer {
            for row in env.obs().rows() {
                self.observation_space.encode(row.as_slice().expect("rows are contiguous"), &mut self.one);
                normalizer.observe(&self.one);
            }
        }
    }

    /// One step of every environment, in the update of that number.
    ///
    /// # Errors
    /// If a reward or an observation is not finite.
    pub fn step(&mut self, env: &mut dyn VecEnv, action: &ActionBuffer, update: u64) -> Result<(), Diverged> {
        self.clipped.copy_rows(0, action);
        clip(&self.action_bounds, &mut self.clipped);
        env.step(self.clipped.as_actions());
        Diverged::check(update, "reward", env.reward())?;
        Diverged::check(update, "observation", env.obs())
    }

    /// The most likely actions for the rows of `obs` `[N, D]`, within their bounds.
    pub fn act_greedy(
        &mut self,
        networks: &mut Networks,
        obs: ArrayView2<'_, f32>,
        actions: &mut ActionBuffer,
    ) {
        if self.greedy_features.nrows() != obs.nrows() {
            self.greedy_features = Array2::zeros((obs.nrows(), self.features()));
        }
        encode(&self.observation_space, self.obs_normalizer.as_ref(), obs, &mut self.greedy_features);
        networks.greedy(&self.greedy_features, actions);
        clip(&self.action_bounds, actions);
    }

    /// Adds the state of the normalisation.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put("obs_normalizer", &self.obs_normalizer);
    }

    /// Restores what [`save`](Self::save) added; the problem in words if it does not fit.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let obs: Option<ObsNormalizer> = checkpoint.get("obs_normalizer")?;
        if obs.as_ref().map(ObsNormalizer::len) != self.obs_normalizer.as_ref().map(ObsNormalizer::len) {
            return Err("state obs_normalizer does not fit normalize_obs".to_owned());
        }
        self.obs_normalizer = obs;
        Ok(())
    }
}

/// Writes the features of every row of `obs` `[N, D]` to `features` `[N, F]`.
pub fn encode(
    space: &Space,
    normalizer: Option<&ObsNormalizer>,
    obs: ArrayView2<'_, f32>,
    features: &mut ArrayRef2<f32>,
) {
    for (from, mut to) in obs.rows().into_iter().zip(features.rows_mut()) {
        let to = to.as_slice_mut().expect("rows are contiguous");
        space.encode(from.as_slice().expect("rows are contiguous"), to);
        if let Some(normalizer) = normalizer {
            normalizer.apply(to);
        }
    }
}

/// Clips continuous actions to their bounds; discrete ones have none.
fn clip(bounds: &Option<(Vec<f32>, Vec<f32>)>, actions: &mut ActionBuffer) {
    if let (Some((low, high)), ActionBuffer::Continuous(actions)) = (bounds, actions) {
        for mut row in actions.rows_mut() {
            for ((x, &low), &high) in row.iter_mut().zip(low).zip(high) {
                *x = x.clamp(low, high);
            }
        }
    }
}

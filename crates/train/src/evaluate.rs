use crate::{ActionBuffer, ConfigError, Diverged, Learner, RunError, stats};
use ndarray::ArrayView2;
use rand::RngCore;
use rederive_env::{Space, Stream, VecEnv};
use serde::{Deserialize, Serialize};

/// How good a policy is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// How many episodes were played.
    pub episodes: u64,
    /// Their mean undiscounted return.
    pub return_mean: f64,
    /// The standard deviation of their returns (with `episodes - 1`; 0 for a single one).
    pub return_std: f64,
    /// Their mean length.
    pub length_mean: f64,
    /// Each episode's return, in a fixed order.
    #[serde(skip)]
    pub returns: Vec<f64>,
    /// How many episodes were cut off at [`Evaluator::max_episode_steps`] and count with what they had by then.
    #[serde(skip)]
    pub cut: u64,
}

/// Plays whole episodes and looks at their returns.
///
/// The `N` environments are reset together and play one episode each; that is repeated until there are enough. So long
/// episodes count as often as short ones, which they would not if one took the first episodes to finish. The streams are
/// apart from those of a training run with the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluator {
    /// How many episodes, at least 1.
    pub episodes: u64,
    /// The seed.
    pub seed: u64,
    /// Where an episode is cut off that the environment does not end, at least 1.
    pub max_episode_steps: u64,
}

impl Default for Evaluator {
    fn default() -> Self {
        Evaluator { episodes: 100, seed: 0, max_episode_steps: 10_000 }
    }
}

impl Evaluator {
    /// A number of environments that suits so many episodes.
    pub fn num_envs(&self) -> usize {
        self.episodes.clamp(1, 64) as usize
    }

    /// Evaluates the greedy (or mean) action of `learner`.
    ///
    /// # Errors
    /// If a field is out of range, or a reward or observation is not finite.
    pub fn greedy(&self, learner: &mut dyn Learner, env: &mut dyn VecEnv) -> Result<Evaluation, RunError> {
        self.play(env, |obs, actions| learner.act_greedy(obs, actions))
    }

    /// Evaluates uniformly random actions (standard normal ones where an action has no bounds): what a policy has to beat.
    ///
    /// # Errors
    /// As [`greedy`](Self::greedy).
    pub fn random(&self, env: &mut dyn VecEnv) -> Result<Evaluation, RunError> {
        let space = env.action_space().clone();
        let mut rng = Stream::new(self.seed, "evaluation action", 0);
        self.play(env, |_, actions| sample(&space, &mut rng, actions))
    }

    fn play(
        &self,
        env: &mut dyn VecEnv,
        mut act: impl FnMut(ArrayView2<'_, f32>, &mut ActionBuffer),
    ) -> Result<Evaluation, RunError> {
        if self.episodes == 0 {
            return Err(ConfigError::new("episodes", 0, "at least 1").into());
        }
        if self.max_episode_steps == 0 {
            return Err(ConfigError::new("max_episode_steps", 0, "at least 1").into());
        }
        let n = env.num_envs();
        let mut seeds = Stream::new(self.seed, "evaluation reset", 0);
        let mut actions = ActionBuffer::new(env.action_space(), n);
        let mut returns = Vec::new();
        let (mut lengths, mut cut) = (0, 0);
        let mut playing: Vec<Option<f64>> = vec![None; n];
        let not_finite = |term: &str| Diverged { update: 0, term: format!("{term} (in the evaluation)") };

        while (returns.len() as u64) < self.episodes {
            let missing = (self.episodes - returns.len() as u64).min(n as u64) as usize;
            playing[..missing].fill(Some(0.0));
            let first = returns.len();
            returns.resize(first + missing, 0.0);
            env.reset(seeds.next_u64());
            for step in 1..=self.max_episode_steps {
                if !env.obs().iter().all(|x| x.is_finite()) {
                    return Err(not_finite("observation").into());
                }
                act(env.obs(), &mut actions);
                env.step(actions.as_actions());
                let mut left = 0;
                for (i, slot) in playing.iter_mut().enumerate() {
                    let Some(sum) = slot else { continue };
                    let reward = env.reward()[i];
                    if !reward.is_finite() {
                        return Err(not_finite("reward").into());
                    }
                    *sum += f64::from(reward);
                    let done = env.end()[i].done();
                    if done || step == self.max_episode_steps {
                        returns[first + i] = *sum;
                        lengths += step;
                        cut += u64::from(!done);
                        *slot = None;
                    } else {
                        left += 1;
                    }
                }
                if left == 0 {
                    break;
                }
            }
        }
        Ok(Evaluation {
            episodes: self.episodes,
            return_mean: stats::mean(&returns),
            return_std: if returns.len() > 1 { stats::std(&returns) } else { 0.0 },
            length_mean: lengths as f64 / self.episodes as f64,
            returns,
            cut,
        })
    }
}

fn sample(space: &Space, rng: &mut Stream, actions: &mut ActionBuffer) {
    match (space, actions) {
        (Space::Discrete { n }, ActionBuffer::Discrete(actions)) => {
            actions.iter_mut().for_each(|a| *a = rng.below(*n as u32));
        }
        (Space::Box { low, high }, ActionBuffer::Continuous(actions)) => {
            for mut row in actions.rows_mut() {
                for ((a, &low), &high) in row.iter_mut().zip(low).zip(high) {
                    let bounded = low.is_finite() && high.is_finite();
                    let x = if bounded { rng.uniform(low.into(), high.into()) } else { rng.normal() };
                    *a = (x as f32).clamp(low, high);
                }
            }
        }
        (space, actions) => panic!("actions {actions:?} against the action space {space:?}"),
    }
}

//! States as row numbers of a table.

use rederive_env::{Space, VecEnv};
use rederive_train::ConfigError;

/// More entries than this are no table but a mistake.
const MAX_ENTRIES: usize = 1 << 26;

/// The environments that a table fits.
fn fitting() -> Vec<&'static str> {
    let fits = |id: &str| {
        rederive_env::make(id).is_ok_and(|env| {
            let spaces = (env.observation_space(), env.action_space());
            matches!(spaces, (Space::Discrete { .. } | Space::MultiDiscrete { .. }, Space::Discrete { .. }))
        })
    };
    rederive_env::IDS.iter().map(|spec| spec.id).filter(|id| fits(id)).collect()
}

/// How observations number the rows of a table, and how many actions a row has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// How many values each component of an observation has.
    sizes: Vec<usize>,
    pub states: usize,
    pub actions: usize,
}

impl Layout {
    /// The table for environments like `env`.
    ///
    /// # Errors
    /// If observations or actions are not discrete, or the table would be too large.
    pub fn of(env: &dyn VecEnv, method: &str) -> Result<Self, ConfigError> {
        let unfit = |what: &str| {
            let allowed =
                format!("an environment with discrete {what} for {method}: {}", fitting().join(", "));
            ConfigError::new("env", env.id(), allowed)
        };
        let sizes = match env.observation_space() {
            Space::Discrete { n } => vec![*n],
            Space::MultiDiscrete { n } => n.clone(),
            Space::Box { .. } | Space::Image { .. } => return Err(unfit("observations")),
        };
        let Space::Discrete { n: actions } = *env.action_space() else { return Err(unfit("actions")) };
        let entries = sizes.iter().try_fold(actions, |product, &n| product.checked_mul(n));
        match entries.filter(|&entries| (1..=MAX_ENTRIES).contains(&entries)) {
            Some(entries) => Ok(Layout { sizes, states: entries / actions, actions }),
            None => {
                let allowed =
                    format!("an environment with at most {MAX_ENTRIES} states times actions for {method}");
                Err(ConfigError::new("env", env.id(), allowed))
            }
        }
    }

    /// The row of an observation: its components as the digits of a number with mixed bases, the last one fastest.
    #[inline]
    pub fn row(&self, obs: &[f32]) -> usize {
        obs.iter().zip(&self.sizes).fold(0, |row, (&digit, &base)| row * base + digit as usize)
    }
}

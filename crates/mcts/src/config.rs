use rederive_train::{ConfigError, range};

/// The parameters of a search.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `simulations` | 10000 | 1..=4294967294 | simulations of one [`plan`](crate::Search::plan) |
/// | `c` | 1.4142 | \[0, inf) | weight of exploration, for returns in an interval of length 1 |
/// | `range` | 1 | (0, inf) | the largest return less the smallest; 2 for games won with 1 and lost with -1 |
/// | `gamma` | 1 | \[0, 1\] | discount |
/// | `max_depth` | 10000 | 1.. | steps after which a simulation stops, in the tree and in the playout together |
/// | `max_nodes` | 16777216 | 2..=4294967294 | nodes after which the tree stops growing and simulations go on from its leaves |
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Simulations of one [`plan`](crate::Search::plan).
    #[doc(alias = "num_simulations")]
    pub simulations: u64,
    /// Weight of exploration, for returns in an interval of length 1.
    #[doc(alias = "c_puct")]
    #[doc(alias = "exploration_constant")]
    pub c: f64,
    /// The largest return less the smallest.
    pub range: f64,
    /// Discount.
    pub gamma: f64,
    /// Steps after which a simulation stops, in the tree and in the playout together.
    #[doc(alias = "horizon")]
    pub max_depth: u32,
    /// Nodes after which the tree stops growing.
    pub max_nodes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            simulations: 10_000,
            c: std::f64::consts::SQRT_2,
            range: 1.0,
            gamma: 1.0,
            max_depth: 10_000,
            max_nodes: 1 << 24,
        }
    }
}

/// Counts and positions in the tree are 32-bit numbers, of which the last one means "none".
const MAX: u64 = u32::MAX as u64 - 1;

impl Config {
    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=MAX).contains(&self.simulations) {
            return Err(ConfigError::new("simulations", self.simulations, format_args!("in 1..={MAX}")));
        }
        range::not_negative("c", self.c)?;
        range::positive("range", self.range)?;
        range::share("gamma", self.gamma)?;
        if self.max_depth == 0 {
            return Err(ConfigError::new("max_depth", self.max_depth, "at least 1"));
        }
        if !(2..=MAX).contains(&(self.max_nodes as u64)) {
            return Err(ConfigError::new("max_nodes", self.max_nodes, format_args!("in 2..={MAX}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_out_of_range_names_its_field() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 12] = [
            ("simulations", |c| c.simulations = 0),
            ("simulations", |c| c.simulations = 1 << 32),
            ("c", |c| c.c = -0.1),
            ("c", |c| c.c = f64::NAN),
            ("c", |c| c.c = f64::INFINITY),
            ("range", |c| c.range = 0.0),
            ("range", |c| c.range = -1.0),
            ("gamma", |c| c.gamma = 1.5),
            ("gamma", |c| c.gamma = -0.5),
            ("max_depth", |c| c.max_depth = 0),
            ("max_nodes", |c| c.max_nodes = 1),
            ("max_nodes", |c| c.max_nodes = u32::MAX as usize),
        ];
        assert_eq!(Config::default().validate(), Ok(()));
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().expect_err(field).field, field);
        }
    }
}

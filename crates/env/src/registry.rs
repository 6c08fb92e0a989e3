use crate::{
    Batch, Dynamics, Env, Finite, FiniteModel, FiniteTable, Grid, Single, Stacked, SyncVec, VecEnv,
    acrobot::Acrobot,
    blackjack::Blackjack,
    cart_pole::CartPole,
    cliff_walking::CliffWalking,
    corridor::Corridor,
    crawler::Crawler,
    frozen_lake::FrozenLake,
    grid_world::{GridWorld, NOTES_MAP},
    minatar::{Asterix, Breakout, Freeway, Game, MinAtar, Rules, Seaquest, SpaceInvaders},
    mountain_car::MountainCar,
    mountain_car_continuous::MountainCarContinuous,
    pendulum::Pendulum,
    taxi::Taxi,
};
use std::{fmt, str::FromStr, sync::Arc};

/// What is known of an environment before it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvSpec {
    /// Its ID.
    pub id: &'static str,
    /// Other IDs for it.
    pub aliases: &'static [&'static str],
    /// The mean return from which it counts as solved, where Gymnasium names one.
    pub reward_threshold: Option<f64>,
    /// After how many steps an episode is truncated, if ever.
    pub max_steps: Option<u32>,
    /// What it is about, in one line.
    pub description: &'static str,
    /// What can be set in the ID, as in `FrozenLake-v1?map=8x8&slippery=false`; [`MAX_STEPS`] can be set for all.
    pub options: &'static [EnvOption],
}

/// Something that can be set in an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvOption {
    /// Its name.
    pub name: &'static str,
    /// Its value when it is not set.
    pub default: &'static str,
    /// Which values it takes.
    pub allowed: &'static str,
}

/// The option that every environment has: the number of steps after which an episode is truncated, in place of
/// [`EnvSpec::max_steps`].
pub const MAX_STEPS: EnvOption =
    EnvOption { name: "max_steps", default: "the ID's", allowed: "a whole number from 1" };

/// How many observations are seen at once, for boxes and images.
const STACK: EnvOption = EnvOption { name: "stack", default: "1", allowed: "a whole number from 1 to 100" };

const SLIPPERY: EnvOption = EnvOption { name: "slippery", default: "true", allowed: "true, false" };
const SUCCESS_RATE: EnvOption =
    EnvOption { name: "success_rate", default: "0.3333333333333333", allowed: "a number in [0, 1]" };

const fn lake_map(default: &'static str) -> EnvOption {
    EnvOption {
        name: "map",
        default,
        allowed: "4x4, 8x8, or rows of equal length of S, F, H, G with an S, separated by /",
    }
}

const fn minatar(id: &'static str, description: &'static str) -> EnvSpec {
    const OPTIONS: &[EnvOption] = &[
        EnvOption { name: "sticky", default: "0.1", allowed: "a number in [0, 1]" },
        EnvOption { name: "ramping", default: "true", allowed: "true, false" },
        STACK,
    ];
    EnvSpec { id, aliases: &[], reward_threshold: None, max_steps: None, description, options: OPTIONS }
}

/// All environments.
pub const IDS: &[EnvSpec] = &[
    EnvSpec {
        id: "CartPole-v1",
        aliases: &[],
        reward_threshold: Some(475.0),
        max_steps: Some(500),
        description: "push a cart so that the pole on it stays up",
        options: &[STACK],
    },
    EnvSpec {
        id: "MountainCar-v0",
        aliases: &[],
        reward_threshold: Some(-110.0),
        max_steps: Some(200),
        description: "swing a weak car out of a valley: left, coast, right",
        options: &[STACK],
    },
    EnvSpec {
        id: "MountainCarContinuous-v0",
        aliases: &[],
        reward_threshold: Some(90.0),
        max_steps: Some(999),
        description: "swing a weak car out of a valley with any force, and pay for it",
        options: &[STACK],
    },
    EnvSpec {
        id: "Acrobot-v1",
        aliases: &[],
        reward_threshold: Some(-100.0),
        max_steps: Some(500),
        description: "swing the foot of two hanging links above a line",
        options: &[STACK],
    },
    EnvSpec {
        id: "Pendulum-v1",
        aliases: &[],
        reward_threshold: None,
        max_steps: Some(200),
        description: "swing a pendulum up and hold it with a weak motor",
        options: &[STACK],
    },
    EnvSpec {
        id: "FrozenLake-v1",
        aliases: &[],
        reward_threshold: Some(0.7),
        max_steps: Some(100),
        description: "cross the slippery ice of a 4x4 lake without falling into a hole",
        options: &[lake_map("4x4"), SLIPPERY, SUCCESS_RATE],
    },
    EnvSpec {
        id: "FrozenLake8x8-v1",
        aliases: &[],
        reward_threshold: Some(0.85),
        max_steps: Some(200),
        description: "cross the slippery ice of an 8x8 lake without falling into a hole",
        options: &[lake_map("8x8"), SLIPPERY, SUCCESS_RATE],
    },
    EnvSpec {
        id: "CliffWalking-v1",
        aliases: &[],
        reward_threshold: None,
        max_steps: None,
        description: "walk along a cliff to its other end",
        options: &[EnvOption { name: "slippery", default: "false", allowed: "true, false" }],
    },
    EnvSpec {
        id: "Taxi-v3",
        aliases: &["Taxi-v4"],
        reward_threshold: Some(8.0),
        max_steps: Some(200),
        description: "fetch a passenger and bring them to their destination",
        options: &[],
    },
    EnvSpec {
        id: "Blackjack-v1",
        aliases: &[],
        reward_threshold: None,
        max_steps: None,
        description: "get closer to 21 than the dealer without going over",
        options: &[
            EnvOption { name: "sab", default: "true", allowed: "true, false" },
            EnvOption { name: "natural", default: "false", allowed: "true, false" },
        ],
    },
    EnvSpec {
        id: "GridWorld-v0",
        aliases: &["GridWorld"],
        reward_threshold: None,
        max_steps: Some(100),
        description: "the notes' grid: walls, exits worth 1 and -1, noise and a living reward",
        options: &[
            EnvOption {
                name: "map",
                default: NOTES_MAP,
                allowed: "rows of equal length of `.`, S, #, + and - with an S, separated by /",
            },
            EnvOption { name: "noise", default: "0.2", allowed: "a number in [0, 1]" },
            EnvOption { name: "living_reward", default: "0", allowed: "a finite number" },
        ],
    },
    EnvSpec {
        id: "Crawler-v0",
        aliases: &["Crawler"],
        reward_threshold: None,
        max_steps: Some(100),
        description: "pull a box forward with an arm of two joints",
        options: &[],
    },
    EnvSpec {
        id: "Corridor-v0",
        aliases: &["Corridor"],
        reward_threshold: None,
        max_steps: Some(100),
        description: "find the goal between two cells that look the same",
        options: &[],
    },
    minatar("MinAtar/Breakout-v1", "bounce a ball off a paddle into rows of bricks"),
    minatar("MinAtar/Breakout-v0", "Breakout with all six actions"),
    minatar("MinAtar/Asterix-v1", "collect gold and keep out of the enemies' way"),
    minatar("MinAtar/Asterix-v0", "Asterix with all six actions"),
    minatar("MinAtar/Freeway-v1", "bring a chicken across eight lanes of cars"),
    minatar("MinAtar/Freeway-v0", "Freeway with all six actions"),
    minatar("MinAtar/Seaquest-v1", "dive for people, shoot what swims, and come up for air"),
    minatar("MinAtar/Seaquest-v0", "the same game: it has six actions anyway"),
    minatar("MinAtar/SpaceInvaders-v1", "shoot the aliens before they land or hit the cannon"),
    minatar("MinAtar/SpaceInvaders-v0", "SpaceInvaders with all six actions"),
];

/// An environment that can't be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEnv {
    /// What was asked for.
    pub id: String,
    /// Why it can't be made.
    pub problem: Problem,
}

/// Why an environment can't be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no environment of this name.
    Name {
        /// The name that comes nearest, if one comes near.
        nearest: Option<&'static str>,
    },
    /// The environment has no such option.
    Option {
        /// The option asked for.
        name: String,
        /// The option that comes nearest, if one comes near.
        nearest: Option<&'static str>,
    },
    /// An option has a value that it does not take.
    Value {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values that it takes.
        allowed: &'static str,
    },
    /// No environment at all was asked for.
    NoEnvs,
}

impl fmt::Display for UnknownEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.id.split('?').next().unwrap_or_default();
        match &self.problem {
            Problem::Name { nearest: Some(nearest) } => {
                write!(f, "unknown environment `{name}`; did you mean `{nearest}`?")
            }
            Problem::Name { nearest: None } => {
                let ids: Vec<_> = IDS.iter().map(|spec| spec.id).collect();
                write!(f, "unknown environment `{name}`; there are {}", ids.join(", "))
            }
            Problem::Option { name: option, nearest: Some(nearest) } => {
                write!(f, "{name} has no option `{option}`; did you mean `{nearest}`?")
            }
            Problem::Option { name: option, nearest: None } => {
                let options = spec(name).map_or(&[][..], |spec| spec.options);
                let names: Vec<_> = options.iter().chain([&MAX_STEPS]).map(|option| option.name).collect();
                write!(f, "{name} has no option `{option}`; there are {}", names.join(", "))
            }
            Problem::Value { name: option, value, allowed } => {
                write!(f, "{name}: option `{option}` is `{value}`; allowed: {allowed}")
            }
            Problem::NoEnvs => write!(f, "{name}: the number of environments is 0; allowed: from 1"),
        }
    }
}

impl std::error::Error for UnknownEnv {}

/// What is known of the environment `id`, which may be an alias and may have options.
pub fn spec(id: &str) -> Option<&'static EnvSpec> {
    let name = id.split('?').next()?;
    IDS.iter().find(|spec| spec.id == name || spec.aliases.contains(&name))
}

/// Makes one environment. See [`IDS`] for the names and options.
pub fn make(id: &str) -> Result<Box<dyn Env>, UnknownEnv> {
    visit(id, One)
}

/// Makes `num_envs` environments that are stepped together, reset with seed 0.
pub fn make_vec(id: &str, num_envs: usize) -> Result<Box<dyn VecEnv>, UnknownEnv> {
    if num_envs == 0 {
        return Err(UnknownEnv { id: id.to_owned(), problem: Problem::NoEnvs });
    }
    visit(id, Many { num_envs })
}

/// The exact transition table of a finite environment; `None` for the others and for an ID that [`make`] refuses.
pub fn finite_table(id: &str) -> Option<FiniteTable> {
    visit(id, Table).ok().flatten()
}

/// After how many steps an episode of the environment `id` is truncated, if ever: what its options say, or the ID's own
/// limit. `None` too for an ID that [`make`] refuses.
pub fn max_steps(id: &str) -> Option<u32> {
    Options::parse(id, spec(id)?).ok()?.max_steps().ok()?
}

/// How the states of a finite environment lie on a board; `None` where they don't, and for an ID that [`make`] refuses.
pub fn grid(id: &str) -> Option<Grid> {
    visit(id, Layout).ok().flatten()
}

/// The name of `id` without alias, and its options as they were given.
fn canonical(id: &str, spec: &EnvSpec) -> String {
    match id.split_once('?') {
        Some((_, options)) if !options.is_empty() => format!("{}?{options}", spec.id),
        _ => spec.id.to_owned(),
    }
}

/// What is done with an environment once its kind is known.
trait Visitor {
    type Out;
    fn dynamics<M: Dynamics<S, D>, const S: usize, const D: usize>(
        self,
        id: String,
        max_steps: Option<u32>,
    ) -> Self::Out;
    fn finite<M: FiniteModel>(self, id: String, model: M, max_steps: Option<u32>) -> Self::Out;
    fn other<E: Env + 'static>(self, id: String, make: impl Fn() -> E) -> Self::Out;
}

struct One;

impl Visitor for One {
    type Out = Box<dyn Env>;

    fn dynamics<M: Dynamics<S, D>, const S: usize, const D: usize>(
        self,
        _id: String,
        max_steps: Option<u32>,
    ) -> Self::Out {
        Box::new(Single::<M, S, D>::new(max_steps))
    }

    fn finite<M: FiniteModel>(self, _id: String, model: M, max_steps: Option<u32>) -> Self::Out {
        Box::new(Finite::new(Arc::new(model), max_steps))
    }

    fn other<E: Env + 'static>(self, _id: String, make: impl Fn() -> E) -> Self::Out {
        Box::new(make())
    }
}

struct Many {
    num_envs: usize,
}

impl Visitor for Many {
    type Out = Box<dyn VecEnv>;

    fn dynamics<M: Dynamics<S, D>, const S: usize, const D: usize>(
        self,
        id: String,
        max_steps: Option<u32>,
    ) -> Self::Out {
        Box::new(Batch::<M, S, D>::new(id, self.num_envs, max_steps))
    }

    fn finite<M: FiniteModel>(self, id: String, model: M, max_steps: Option<u32>) -> Self::Out {
        let model = Arc::new(model);
        Box::new(SyncVec::new(
            id,
            (0..self.num_envs).map(|_| Finite::new(model.clone(), max_steps)).collect(),
        ))
    }

    fn other<E: Env + 'static>(self, id: String, make: impl Fn() -> E) -> Self::Out {
        Box::new(SyncVec::new(id, (0..self.num_envs).map(|_| make()).collect()))
    }
}

struct Layout;

impl Visitor for Layout {
    type Out = Option<Grid>;

    fn dynamics<M: Dynamics<S, D>, const S: usize, const D: usize>(
        self,
        _id: String,
        _max_steps: Option<u32>,
    ) -> Self::Out {
        None
    }

    fn finite<M: FiniteModel>(self, _id: String, model: M, _max_steps: Option<u32>) -> Self::Out {
        model.grid()
    }

    fn other<E: Env + 'static>(self, _id: String, _make: impl Fn() -> E) -> Self::Out {
        None
    }
}

struct Table;

impl Visitor for Table {
    type Out = Option<FiniteTable>;

    fn dynamics<M: Dynamics<S, D>, const S: usize, const D: usize>(
        self,
        _id: String,
        _max_steps: Option<u32>,
    ) -> Self::Out {
        None
    }

    fn finite<M: FiniteModel>(self, _id: String, model: M, _max_steps: Option<u32>) -> Self::Out {
        Some(model.table().clone())
    }

    fn other<E: Env + 'static>(self, _id: String, _make: impl Fn() -> E) -> Self::Out {
        None
    }
}

/// The options of an ID.
struct Options<'a> {
    spec: &'static EnvSpec,
    given: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    fn parse(id: &'a str, spec: &'static EnvSpec) -> Result<Self, Problem> {
        let text = id.split_once('?').map_or("", |(_, options)| options);
        let mut given = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let names = || spec.options.iter().chain([&MAX_STEPS]).map(|option| option.name);
            if !names().any(|known| known == name) {
                return Err(Problem::Option { name: name.to_owned(), nearest: nearest(name, names()) });
            }
            given.push((name, value));
        }
        Ok(Options { spec, given })
    }

    fn option(&self, name: &str) -> &'static EnvOption {
        self.spec.options.iter().find(|option| option.name == name).unwrap_or(&MAX_STEPS)
    }

    /// The value of the option `name`: what was given last, or its default.
    fn text(&self, name: &str) -> &'a str {
        let given = self.given.iter().rev().find(|(given, _)| *given == name);
        given.map_or(self.option(name).default, |(_, value)| value)
    }

    fn refuse(&self, name: &str) -> Problem {
        let option = self.option(name);
        Problem::Value { name: option.name, value: self.text(name).to_owned(), allowed: option.allowed }
    }

    fn value<T: FromStr>(&self, name: &str, allowed: impl Fn(&T) -> bool) -> Result<T, Problem> {
        self.text(name).parse().ok().filter(allowed).ok_or_else(|| self.refuse(name))
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        self.value(name, |_| true)
    }

    fn max_steps(&self) -> Result<Option<u32>, Problem> {
        if self.given.iter().any(|(name, _)| *name == MAX_STEPS.name) {
            return self.value(MAX_STEPS.name, |&steps| steps > 0).map(Some);
        }
        Ok(self.spec.max_steps)
    }

    /// How many observations are seen at once; 1 where that can't be set.
    fn stack(&self) -> Result<usize, Problem> {
        if self.spec.options.contains(&STACK) {
            return self.value(STACK.name, |depth| (1..=100).contains(depth));
        }
        Ok(1)
    }

    fn lake(&self) -> Result<FrozenLake, Problem> {
        let rate = self.value("success_rate", |rate| (0.0..=1.0).contains(rate))?;
        let rate = if self.flag("slippery")? { rate } else { 1.0 };
        FrozenLake::new(self.text("map"), rate).ok_or_else(|| self.refuse("map"))
    }

    fn grid(&self) -> Result<GridWorld, Problem> {
        let noise = self.value("noise", |noise| (0.0..=1.0).contains(noise))?;
        let living_reward = self.value("living_reward", |reward: &f64| reward.is_finite())?;
        GridWorld::from_map(self.text("map"), noise, living_reward).ok_or_else(|| self.refuse("map"))
    }

    fn minatar(&self) -> Result<Rules, Problem> {
        Ok(Rules {
            all_keys: self.spec.id.ends_with("-v0"),
            sticky: self.value("sticky", |sticky| (0.0..=1.0).contains(sticky))?,
            ramping: self.flag("ramping")?,
            max_steps: self.max_steps()?,
        })
    }
}

fn visit<V: Visitor>(id: &str, visitor: V) -> Result<V::Out, UnknownEnv> {
    let fail = |problem| UnknownEnv { id: id.to_owned(), problem };
    let Some(spec) = spec(id) else {
        let name = id.split('?').next().unwrap_or_default();
        let names = IDS.iter().flat_map(|spec| [spec.id].into_iter().chain(spec.aliases.iter().copied()));
        return Err(fail(Problem::Name { nearest: nearest(name, names) }));
    };
    let options = Options::parse(id, spec).map_err(fail)?;
    let steps = options.max_steps().map_err(fail)?;
    let full = canonical(id, spec);
    Ok(match spec.id {
        "CartPole-v1" => moving::<CartPole, 4, 4, V>(visitor, full, &options).map_err(fail)?,
        "MountainCar-v0" => moving::<MountainCar, 2, 2, V>(visitor, full, &options).map_err(fail)?,
        "MountainCarContinuous-v0" => {
            moving::<MountainCarContinuous, 2, 2, V>(visitor, full, &options).map_err(fail)?
        }
        "Acrobot-v1" => moving::<Acrobot, 4, 6, V>(visitor, full, &options).map_err(fail)?,
        "Pendulum-v1" => moving::<Pendulum, 2, 3, V>(visitor, full, &options).map_err(fail)?,
        "FrozenLake-v1" | "FrozenLake8x8-v1" => visitor.finite(full, options.lake().map_err(fail)?, steps),
        "CliffWalking-v1" => {
            visitor.finite(full, CliffWalking::new(options.flag("slippery").map_err(fail)?), steps)
        }
        "Taxi-v3" => visitor.finite(full, Taxi::new(), steps),
        "Blackjack-v1" => {
            let (sab, natural) = (options.flag("sab").map_err(fail)?, options.flag("natural").map_err(fail)?);
            visitor.finite(full, Blackjack::new(sab, natural), steps)
        }
        "Crawler-v0" => visitor.finite(full, Crawler::new(), steps),
        "Corridor-v0" => visitor.finite(full, Corridor::new(), steps),
        "GridWorld-v0" => visitor.finite(full, options.grid().map_err(fail)?, steps),
        "MinAtar/Breakout-v1" | "MinAtar/Breakout-v0" => {
            game::<Breakout, V>(visitor, full, &options).map_err(fail)?
        }
        "MinAtar/Asterix-v1" | "MinAtar/Asterix-v0" => {
            game::<Asterix, V>(visitor, full, &options).map_err(fail)?
        }
        "MinAtar/Freeway-v1" | "MinAtar/Freeway-v0" => {
            game::<Freeway, V>(visitor, full, &options).map_err(fail)?
        }
        "MinAtar/Seaquest-v1" | "MinAtar/Seaquest-v0" => {
            game::<Seaquest, V>(visitor, full, &options).map_err(fail)?
        }
        "MinAtar/SpaceInvaders-v1" | "MinAtar/SpaceInvaders-v0" => {
            game::<SpaceInvaders, V>(visitor, full, &options).map_err(fail)?
        }
        other => unreachable!("{other} is listed but not made"),
    })
}

fn moving<M: Dynamics<S, D>, const S: usize, const D: usize, V: Visitor>(
    visitor: V,
    id: String,
    options: &Options<'_>,
) -> Result<V::Out, Problem> {
    let max_steps = options.max_steps()?;
    Ok(match options.stack()? {
        1 => visitor.dynamics::<M, S, D>(id, max_steps),
        depth => visitor.other(id, || Stacked::new(Single::<M, S, D>::new(max_steps), depth)),
    })
}

fn game<G: Game, V: Visitor>(visitor: V, id: String, options: &Options<'_>) -> Result<V::Out, Problem> {
    let rules = options.minatar()?;
    Ok(match options.stack()? {
        1 => visitor.other(id, || MinAtar::<G>::new(rules)),
        depth => visitor.other(id, || Stacked::new(MinAtar::<G>::new(rules), depth)),
    })
}

/// The name that looks most like `asked`, unless none looks like it.
fn nearest(asked: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let lower = asked.to_lowercase();
    // `Breakout-v1` is meant to find `MinAtar/Breakout-v1`; of two that come equally near the first is meant.
    let score = |name: &str| strsim::jaro_winkler(&lower, &name.to_lowercase());
    let scored = names.map(|name| (score(name).max(score(name.rsplit('/').next().unwrap_or(name))), name));
    let (score, name) = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (score > 0.75).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(id: &str) -> String {
        make(id).err().expect(id).to_string()
    }

    #[test]
    fn every_listed_environment_can_be_made_under_every_name() {
        for spec in IDS {
            for id in [spec.id].iter().chain(spec.aliases) {
                assert!(make(id).is_ok() && make_vec(id, 2).unwrap().id() == spec.id, "{id}");
                let limited = format!("{id}?max_steps=3");
                assert_eq!(make_vec(&limited, 1).unwrap().id(), format!("{}?max_steps=3", spec.id));
            }
            for option in spec.options {
                let id = format!("{}?{}={}", spec.id, option.name, option.default);
                assert!(make(&id).is_ok(), "{id}");
            }
        }
    }

    #[test]
    fn messages_name_what_was_wrong_and_what_comes_nearest() {
        for (id, message) in [
            ("CartPol-v1", "unknown environment `CartPol-v1`; did you mean `CartPole-v1`?"),
            ("cartpole", "unknown environment `cartpole`; did you mean `CartPole-v1`?"),
            ("CartPole-v0", "unknown environment `CartPole-v0`; did you mean `CartPole-v1`?"),
            ("FrozenLake?x=1", "unknown environment `FrozenLake`; did you mean `FrozenLake-v1`?"),
            ("FrozenLake-v1?slipery=1", "FrozenLake-v1 has no option `slipery`; did you mean `slippery`?"),
            ("FrozenLake-v1?slippery=1", "FrozenLake-v1: option `slippery` is `1`; allowed: true, false"),
            ("CartPole-v1?gravity=1", "CartPole-v1 has no option `gravity`; there are stack, max_steps"),
            (
                "CartPole-v1?max_steps=0",
                "CartPole-v1: option `max_steps` is `0`; allowed: a whole number from 1",
            ),
            (
                "CartPole-v1?stack=0",
                "CartPole-v1: option `stack` is `0`; allowed: a whole number from 1 to 100",
            ),
            ("Taxi-v3?stack=4", "Taxi-v3 has no option `stack`; there are max_steps"),
            ("Breakout-v1", "unknown environment `Breakout-v1`; did you mean `MinAtar/Breakout-v1`?"),
            (
                "MinAtar/Seaquest",
                "unknown environment `MinAtar/Seaquest`; did you mean `MinAtar/Seaquest-v1`?",
            ),
            (
                "MinAtar/Freeway-v1?sticky=2",
                "MinAtar/Freeway-v1: option `sticky` is `2`; allowed: a number in [0, 1]",
            ),
            ("GridWorld-v0?noise=2", "GridWorld-v0: option `noise` is `2`; allowed: a number in [0, 1]"),
        ] {
            assert_eq!(error(id), message);
        }
        assert!(error("Zork").starts_with("unknown environment `Zork`; there are CartPole-v1, "));
        assert!(error("").starts_with("unknown environment ``; there are "));
        assert!(
            error("FrozenLake-v1?map=SF/G").contains("option `map` is `SF/G`; allowed: 4x4, 8x8, or rows")
        );
        let none = make_vec("CartPole-v1", 0).err().expect("no environments").to_string();
        assert_eq!(none, "CartPole-v1: the number of environments is 0; allowed: from 1");
    }

    #[test]
    fn options_change_the_table() {
        let sure = finite_table("FrozenLake-v1?map=8x8&slippery=false").unwrap();
        assert_eq!((sure.num_states(), sure.row(0, 2).len()), (64, 1));
        assert_eq!(finite_table("FrozenLake-v1?map=SF/HG").unwrap().num_states(), 4);
        assert_eq!(finite_table("GridWorld?noise=0").unwrap().row(0, 0).len(), 1);
        assert!(finite_table("CartPole-v1").is_none());
    }
}

//! The algorithms that the command line knows: one row each in [`ALGORITHMS`].

use rederive_env::{Space, VecEnv};
use rederive_q_learning::{LinearQ, Method, QLearning};
use rederive_reinforce::A2c;
use rederive_train::{ConfigError, Learner};
use rederive_trpo::Method as Natural;
use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use std::fmt;
use toml::{Table, Value};

/// Builds a learner for an environment from a configuration and a seed.
type Make = fn(&Table, &dyn VecEnv, u64) -> Result<Box<dyn Learner>, ConfigError>;

/// An algorithm, as the command line sees it. A further algorithm is one more row in [`ALGORITHMS`].
#[derive(Debug)]
pub struct Algorithm {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// The action spaces that it takes, in words.
    pub actions: &'static str,
    /// Whether it takes actions of this space.
    pub fits: fn(&Space) -> bool,
    /// Its presets as (name, TOML text); the first one is the default.
    pub presets: &'static [(&'static str, &'static str)],
    /// The fields of its configuration, in order.
    pub fields: fn() -> &'static [&'static str],
    /// Reads a configuration and writes it out again with every field in it.
    complete: fn(&Table) -> Result<Table, toml::de::Error>,
    make: Make,
}

/// Which actions an algorithm takes, in words and as a question to a space.
type Takes = (&'static str, fn(&Space) -> bool);

const DISCRETE: Takes = ("discrete", |action| matches!(action, Space::Discrete { .. }));
const ANY: Takes =
    ("discrete and continuous", |action| matches!(action, Space::Discrete { .. } | Space::Box { .. }));

/// Every algorithm.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm::new::<rederive_ppo::Config>(
        "ppo",
        "proximal policy optimisation, with clipped ratios or a KL penalty",
        ANY,
        &[
            ("tuned", include_str!("../presets/ppo/tuned.toml")),
            ("cleanrl", include_str!("../presets/ppo/cleanrl.toml")),
        ],
        |config, env, seed| Ok(Box::new(rederive_ppo::Ppo::new(read(config)?, env, seed)?)),
    ),
    Algorithm::new::<rederive_reinforce::Config>(
        "reinforce",
        "REINFORCE: whole episodes, returns less a baseline, one step of the policy",
        ANY,
        &[("tuned", include_str!("../presets/reinforce/tuned.toml"))],
        |config, env, seed| Ok(Box::new(rederive_reinforce::Reinforce::new(read(config)?, env, seed)?)),
    ),
    Algorithm::new::<rederive_reinforce::A2cConfig>(
        "actor-critic",
        "actor-critic in one environment: TD errors or n steps, and a critic that is learnt along",
        ANY,
        &[("tuned", include_str!("../presets/actor-critic/tuned.toml"))],
        |config, env, seed| Ok(Box::new(A2c::actor_critic(read(config)?, env, seed)?)),
    ),
    Algorithm::new::<rederive_reinforce::A2cConfig>(
        "a2c",
        "advantage actor-critic: a few steps of several environments, one step of both networks",
        ANY,
        &[("tuned", include_str!("../presets/a2c/tuned.toml"))],
        |config, env, seed| Ok(Box::new(A2c::new(read(config)?, env, seed)?)),
    ),
    Algorithm::new::<rederive_trpo::Config>(
        "trpo",
        "natural gradients, as long as the policy's divergence allows",
        ANY,
        TRPO_PRESETS,
        |config, env, seed| natural(Natural::Trpo, config, env, seed),
    ),
    Algorithm::new::<rederive_trpo::Config>(
        "npg",
        "natural policy gradients, steps of a fixed size",
        ANY,
        TRPO_PRESETS,
        |config, env, seed| natural(Natural::Npg, config, env, seed),
    ),
    Algorithm::with_table(
        "q-learning",
        "Q-learning with a table: learns the best policy from what any policy does",
        &[("tuned", include_str!("../presets/q-learning/tuned.toml"))],
        |config, env, seed| table(Method::QLearning, config, env, seed),
    ),
    Algorithm::with_table(
        "double-q-learning",
        "Q-learning with two tables, which does not take luck for value",
        &[("tuned", include_str!("../presets/double-q-learning/tuned.toml"))],
        |config, env, seed| table(Method::DoubleQLearning, config, env, seed),
    ),
    Algorithm::with_table(
        "sarsa",
        "SARSA with a table: learns what the policy that explores is worth",
        &[("tuned", include_str!("../presets/q-learning/tuned.toml"))],
        |config, env, seed| table(Method::Sarsa, config, env, seed),
    ),
    Algorithm::with_table(
        "expected-sarsa",
        "SARSA that averages over the next action instead of drawing it",
        &[("tuned", include_str!("../presets/q-learning/tuned.toml"))],
        |config, env, seed| table(Method::ExpectedSarsa, config, env, seed),
    ),
    Algorithm::with_table(
        "n-step-sarsa",
        "SARSA with targets of several rewards",
        &[("tuned", include_str!("../presets/n-step-sarsa/tuned.toml"))],
        |config, env, seed| table(Method::NStepSarsa, config, env, seed),
    ),
    Algorithm::with_table(
        "sarsa-lambda",
        "SARSA with eligibility traces: every error teaches all earlier steps",
        &[("tuned", include_str!("../presets/sarsa-lambda/tuned.toml"))],
        |config, env, seed| table(Method::SarsaLambda, config, env, seed),
    ),
    Algorithm::with_table(
        "monte-carlo",
        "Monte Carlo control with a table: learns from the returns of whole episodes",
        &[("tuned", include_str!("../presets/monte-carlo/tuned.toml"))],
        |config, env, seed| table(Method::MonteCarlo, config, env, seed),
    ),
    Algorithm::new::<rederive_q_learning::LinearConfig>(
        "linear-q",
        "SARSA or Q-learning with values linear in tiles, or in one-hot features",
        DISCRETE,
        &[("tuned", include_str!("../presets/linear-q/tuned.toml"))],
        |config, env, seed| Ok(Box::new(LinearQ::new(read(config)?, env, seed)?)),
    ),
    Algorithm::new::<rederive_dqn::Config>(
        "dqn",
        "deep Q-networks: action values from a replay buffer, towards a target network",
        DISCRETE,
        &[
            ("tuned", include_str!("../presets/dqn/tuned.toml")),
            ("cleanrl", include_str!("../presets/dqn/cleanrl.toml")),
        ],
        |config, env, seed| Ok(Box::new(rederive_dqn::Dqn::new(read(config)?, env, seed)?)),
    ),
];

const TRPO_PRESETS: &[(&str, &str)] = &[
    ("tuned", include_str!("../presets/trpo/tuned.toml")),
    ("sb3", include_str!("../presets/trpo/sb3.toml")),
];

/// A learner that follows natural gradients.
fn natural(
    method: Natural,
    config: &Table,
    env: &dyn VecEnv,
    seed: u64,
) -> Result<Box<dyn Learner>, ConfigError> {
    Ok(Box::new(rederive_trpo::Trpo::new(method, read(config)?, env, seed)?))
}

/// A learner with a table.
fn table(
    method: Method,
    config: &Table,
    env: &dyn VecEnv,
    seed: u64,
) -> Result<Box<dyn Learner>, ConfigError> {
    Ok(Box::new(QLearning::new(method, read(config)?, env, seed)?))
}

/// The row called `name`.
pub fn algorithm(name: &str) -> Option<&'static Algorithm> {
    ALGORITHMS.iter().find(|a| a.name == name)
}

impl Algorithm {
    const fn new<C: DeserializeOwned + Serialize>(
        name: &'static str,
        description: &'static str,
        (actions, fits): Takes,
        presets: &'static [(&'static str, &'static str)],
        make: Make,
    ) -> Self {
        Algorithm {
            name,
            description,
            actions,
            fits,
            presets,
            fields: fields::<C>,
            complete: complete::<C>,
            make,
        }
    }

    /// One of the methods that share a configuration and a table of action values.
    const fn with_table(
        name: &'static str,
        description: &'static str,
        presets: &'static [(&'static str, &'static str)],
        make: Make,
    ) -> Self {
        Algorithm::new::<rederive_q_learning::Config>(name, description, DISCRETE, presets, make)
    }

    /// The text of the preset called `name`.
    pub fn preset(&self, name: &str) -> Option<&'static str> {
        self.presets.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
    }

    /// `config` with every field of the algorithm in it: fields that are not given have their defaults, and an optional
    /// field without a value is written as the string `"none"`.
    ///
    /// # Errors
    /// The first field that the algorithm does not have, or whose value is of another type than it wants.
    pub fn complete(&self, config: &Table) -> Result<Table, ConfigError> {
        let known = (self.fields)();
        if let Some((field, value)) = config.iter().find(|(field, _)| !known.contains(&field.as_str())) {
            return Err(ConfigError::new(field, value, format!("absent: {} has no such field", self.name)));
        }
        match (self.complete)(config) {
            Ok(table) => Ok(table),
            Err(whole) => {
                // One field at a time, to say which of them it is.
                for (field, value) in config {
                    let alone = Table::from_iter([(field.clone(), value.clone())]);
                    if let Err(error) = (self.complete)(&alone) {
                        return Err(ConfigError::new(field, value, wanted(error.message())));
                    }
                }
                Err(ConfigError::new("configuration", "as given", wanted(whole.message())))
            }
        }
    }

    /// Why it can't act in the environment `id`, whose actions are `action`, and what fits instead.
    pub fn misfit(&self, id: &str, action: &Space) -> String {
        let others = ALGORITHMS.iter().filter(|other| (other.fits)(action)).map(|other| other.name);
        let envs = rederive_env::IDS
            .iter()
            .map(|spec| spec.id)
            .filter(|id| rederive_env::make(id).is_ok_and(|env| (self.fits)(&env.action_space())));
        let (others, envs) = (others.collect::<Vec<_>>().join(", "), envs.collect::<Vec<_>>().join(", "));
        let (name, actions) = (self.name, self.actions);
        format!(
            "{name} takes {actions} actions, which {id} does not have (these have: {envs}); what fits {id}: {others}"
        )
    }

    /// Builds a learner for `env` from a configuration, which need not be complete.
    ///
    /// # Errors
    /// A field that the algorithm does not have, a value of the wrong type or out of range, or actions that do not fit.
    pub fn make(&self, config: &Table, env: &dyn VecEnv, seed: u64) -> Result<Box<dyn Learner>, ConfigError> {
        if !(self.fits)(env.action_space()) {
            let allowed = format!("one with {} actions for {}", self.actions, self.name);
            return Err(ConfigError::new("env", env.id(), allowed));
        }
        self.complete(config)?;
        (self.make)(config, env, seed)
    }
}

/// What a deserialiser's message says it wants, in the words of a person who writes TOML.
fn wanted(message: &str) -> String {
    let expected = message.rsplit_once("expected ").map_or(message, |(_, expected)| expected);
    match expected.trim() {
        "f64" | "f32" => "a number".to_owned(),
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, not negative".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a string".to_owned(),
        other if message.contains("unknown variant") => other.replace('`', "\"").to_string(),
        other => other.to_owned(),
    }
}

/// A configuration from its table, in which `"none"` stands for an optional field without a value.
fn read<C: DeserializeOwned>(config: &Table) -> Result<C, ConfigError> {
    parse(config).map_err(|error| ConfigError::new("configuration", "as given", wanted(error.message())))
}

fn parse<C: DeserializeOwned>(config: &Table) -> Result<C, toml::de::Error> {
    C::deserialize(MapDeserializer::new(config.iter().map(|(k, v)| (k.as_str(), Field(v.clone())))))
}

fn complete<C: DeserializeOwned + Serialize>(config: &Table) -> Result<Table, toml::de::Error> {
    let config: C = parse(config)?;
    let mut table = Table::try_from(config).map_err(de::Error::custom)?;
    for &field in fields::<C>() {
        table.entry(field).or_insert_with(|| Value::String("none".to_owned()));
    }
    Ok(table)
}

/// A field's value: TOML, and `"none"` for an optional field without one, which TOML itself can't write.
struct Field(Value);

impl<'de> IntoDeserializer<'de, toml::de::Error> for Field {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Field {
    type Error = toml::de::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.0.as_str() == Some("none") { visitor.visit_none() } else { visitor.visit_some(self.0) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The names of a struct's fields, which its `Deserialize` hands to whatever deserialises it.
fn fields<C: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It always fails, after it has noted the names.
    let _ = C::deserialize(FieldNames(&mut names));
    names
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

#[derive(Debug)]
struct Noted;

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field names noted")
    }
}

impl std::error::Error for Noted {}

impl de::Error for Noted {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Noted
    }
}

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = Noted;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Noted> {
        Err(Noted)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Noted> {
        *self.0 = fields;
        Err(Noted)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

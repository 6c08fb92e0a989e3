//! The layout of Gymnasium's `env.unwrapped.P`, as `json.dumps` writes it.

use super::{Mdp, MdpFileError};
use crate::{FiniteTable, Outcome};
use rederive_math::Real;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use std::collections::BTreeSet;
use std::{cell::RefCell, fmt, io};

impl Mdp<f64> {
    /// Reads the layout of Gymnasium's `P`:
    ///
    /// ```json
    /// {"0": {"0": [[0.5, 0, 0.0, false], [0.5, 1, 1.0, true]], "1": [[1.0, 0, -1.0, false]]},
    ///  "1": {"0": [[1.0, 1, 0.0, true]]}}
    /// ```
    ///
    /// State, action, and the outcomes as `[probability, next state, reward, terminated]`. States and the actions of each
    /// state are numbered from 0 without gaps, in any order; states may have different numbers of actions. Python writes it
    /// with `json.dump(env.unwrapped.P, file, default=lambda x: x.item())`.
    ///
    /// # Errors
    /// Text that is no JSON or has another layout, a state or an action that is missing or given twice, and whatever
    /// [`MdpBuilder::action`](super::MdpBuilder::action) refuses. The message names line, state and action.
    pub fn from_json(text: &[u8]) -> Result<Self, MdpFileError> {
        let reader = Reader::default();
        let mut json = serde_json::Deserializer::from_slice(text);
        States(&reader)
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|e| reader.error(&e, text))?;
        reader.into_inner().build()
    }
}

impl FiniteTable {
    /// Writes the table in the layout that [`Mdp::from_json`] reads, one state per line, outcomes that end the episode with
    /// the states that they lead to.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn to_json(&self, mut out: impl io::Write) -> io::Result<()> {
        write_states(
            &mut out,
            self.num_states(),
            |_| self.num_actions(),
            |out, s, a| write_row(out, self.row(s, a).iter().copied()),
        )
    }
}

impl<P: Real> Mdp<P> {
    /// Writes the process in the layout that [`Mdp::from_json`] reads, one state per line. Each outcome of a pair is given the
    /// pair's mean reward, and what ends the episode is one outcome that leads to the state that it comes from.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn to_json(&self, mut out: impl io::Write) -> io::Result<()> {
        write_states(
            &mut out,
            self.num_states(),
            |s| self.pairs(s).len(),
            |out, s, a| write_row(out, self.outcomes(s, a)),
        )
    }
}

fn write_states<W: io::Write>(
    out: &mut W,
    num_states: usize,
    num_actions: impl Fn(usize) -> usize,
    row: impl Fn(&mut W, usize, usize) -> io::Result<()>,
) -> io::Result<()> {
    for s in 0..num_states {
        write!(out, "{}\"{s}\": {{", if s == 0 { "{" } else { ",\n " })?;
        for a in 0..num_actions(s) {
            write!(out, "{}\"{a}\": ", if a == 0 { "" } else { ", " })?;
            row(out, s, a)?;
        }
        write!(out, "}}")?;
    }
    writeln!(out, "}}")
}

fn write_row(out: &mut impl io::Write, outcomes: impl Iterator<Item = Outcome>) -> io::Result<()> {
    for (i, Outcome { prob, next, reward, terminated }) in outcomes.enumerate() {
        // `{:?}` is the shortest text that reads back as the same number.
        write!(out, "{}[{prob:?}, {next}, {reward:?}, {terminated}]", if i == 0 { "[" } else { ", " })?;
    }
    write!(out, "]")
}

/// What has been read so far, and where the reader is: errors of the parser itself don't know of states.
#[derive(Default)]
struct Reader(RefCell<Rows>);

#[derive(Default)]
struct Rows {
    states: Numbers,
    actions: Numbers,
    /// (state, action, where its outcomes begin), in the order of the file.
    pairs: Vec<(u32, u32, usize)>,
    outcomes: Vec<Outcome>,
    state: Option<u32>,
    action: Option<u32>,
    outcome: Option<usize>,
}

/// Numbers from 0 that come in any order, each once.
#[derive(Default)]
struct Numbers {
    /// All below have come.
    next: u32,
    /// Those above `next` that have come.
    ahead: BTreeSet<u32>,
}

impl Numbers {
    /// Notes that `number` has come; false if it had come before.
    fn take(&mut self, number: u32) -> bool {
        if number < self.next {
            return false;
        }
        if number > self.next {
            return self.ahead.insert(number);
        }
        self.next += 1;
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
        true
    }

    /// The first number that is missing, if a larger one has come.
    fn gap(&self) -> Option<u32> {
        (!self.ahead.is_empty()).then_some(self.next)
    }
}

impl Reader {
    fn into_inner(self) -> Rows {
        self.0.into_inner()
    }

    /// What the parser says, with the line, the column, and the state and action that it was in.
    fn error(&self, error: &serde_json::Error, text: &[u8]) -> MdpFileError {
        let (line, column) = (error.line(), error.column());
        let full = error.to_string();
        let said = full.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&full);
        let rows = self.0.borrow();
        let mut place = String::new();
        for (what, number) in [
            ("state", rows.state.map(|s| s as usize)),
            ("action", rows.action.map(|a| a as usize)),
            ("outcome", rows.outcome),
        ] {
            if let Some(number) = number {
                let comma = if place.is_empty() { "" } else { ", " };
                place += &format!("{comma}{what} {number}");
            }
        }
        let colon = if place.is_empty() { "" } else { ": " };
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the file ends too early".to_owned(),
            serde_json::error::Category::Syntax if at(text, line, column).is_some_and(is_no_number) => {
                "NaN and Infinity are not numbers in JSON".to_owned()
            }
            _ => said.to_owned(),
        };
        MdpFileError::at(format_args!("line {line}, column {column}"), format_args!("{place}{colon}{what}"))
    }
}

/// The text from a line and a column on, both from 1.
fn at(text: &[u8], line: usize, column: usize) -> Option<&[u8]> {
    let start = if line <= 1 {
        0
    } else {
        text.iter().enumerate().filter(|(_, c)| **c == b'\n').nth(line - 2)?.0 + 1
    };
    text.get(start + column.saturating_sub(1)..)
}

/// Whether what Python writes for a number that is not finite stands there; the parser stops after a minus sign.
fn is_no_number(text: &[u8]) -> bool {
    [&b"NaN"[..], b"Infinity", b"-Infinity"].iter().any(|word| text.starts_with(word))
}

impl Rows {
    fn build(mut self) -> Result<Mdp<f64>, MdpFileError> {
        let num_states = self.states.next as usize;
        let total = self.outcomes.len();
        // Where the outcomes of each pair end, before the pairs are put in order.
        let mut ends: Vec<usize> = self.pairs.iter().skip(1).map(|&(.., start)| start).collect();
        ends.push(total);
        let mut pairs: Vec<_> =
            self.pairs.drain(..).zip(ends).map(|((s, a, start), end)| (s, a, start, end)).collect();
        pairs.sort_unstable();
        let mut builder = Mdp::builder(num_states);
        builder.reserve(pairs.len(), total);
        let mut present = 0;
        for (state, _, start, end) in pairs {
            if state != present {
                builder.end_state().map_err(MdpFileError::new)?;
                present = state;
            }
            builder.action(&self.outcomes[start..end]).map_err(MdpFileError::new)?;
        }
        if num_states > 0 {
            builder.end_state().map_err(MdpFileError::new)?;
        }
        builder.finish().map_err(MdpFileError::new)
    }
}

/// A number from 0 as it is written as a key: digits, without leading zeros.
fn number<E: de::Error>(key: &str, what: &str) -> Result<u32, E> {
    match key.parse::<u32>() {
        // The largest number is left out, so that the count of numbers is one too.
        Ok(number) if number < u32::MAX && number.to_string() == key => Ok(number),
        _ => Err(E::custom(format_args!("`{key}` is no number of {what}: must be a whole number from 0"))),
    }
}

struct States<'a>(&'a Reader);

impl<'de> DeserializeSeed<'de> for States<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for States<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of states")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let rows = &self.0.0;
        while let Some(key) = map.next_key::<String>()? {
            let state = number::<M::Error>(&key, "a state")?;
            if !rows.borrow_mut().states.take(state) {
                return Err(de::Error::custom(format_args!("state {state} is given twice")));
            }
            rows.borrow_mut().state = Some(state);
            rows.borrow_mut().actions = Numbers::default();
            map.next_value_seed(Actions(self.0))?;
            rows.borrow_mut().state = None;
        }
        match rows.borrow().states.gap() {
            Some(state) => Err(de::Error::custom(format_args!("state {state} is missing"))),
            None => Ok(()),
        }
    }
}

struct Actions<'a>(&'a Reader);

impl<'de> DeserializeSeed<'de> for Actions<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Actions<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of actions")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let rows = &self.0.0;
        while let Some(key) = map.next_key::<String>()? {
            let action = number::<M::Error>(&key, "an action")?;
            if !rows.borrow_mut().actions.take(action) {
                return Err(de::Error::custom(format_args!("action {action} is given twice")));
            }
            {
                let mut rows = rows.borrow_mut();
                let (state, start) = (rows.state.unwrap_or_default(), rows.outcomes.len());
                rows.action = Some(action);
                rows.pairs.push((state, action, start));
            }
            map.next_value_seed(Outcomes(self.0))?;
            rows.borrow_mut().action = None;
        }
        let rows = rows.borrow();
        match rows.actions.gap() {
            Some(action) => Err(de::Error::custom(format_args!("action {action} is missing"))),
            None if rows.actions.next == 0 => Err(de::Error::custom("there is no action")),
            None => Ok(()),
        }
    }
}

struct Outcomes<'a>(&'a Reader);

impl<'de> DeserializeSeed<'de> for Outcomes<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Outcomes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of outcomes [probability, next state, reward, terminated]")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        let rows = &self.0.0;
        for i in 0.. {
            rows.borrow_mut().outcome = Some(i);
            match list.next_element::<Row>()? {
                Some(Row(outcome)) => rows.borrow_mut().outcomes.push(outcome),
                None => break,
            }
        }
        rows.borrow_mut().outcome = None;
        Ok(())
    }
}

/// One outcome.
struct Row(Outcome);

impl<'de> de::Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an outcome [probability, next state, reward, terminated]")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Row, S::Error> {
                let short = |length| de::Error::invalid_length(length, &Fields);
                let prob = list.next_element::<f64>()?.ok_or_else(|| short(0))?;
                let Next(next) = list.next_element()?.ok_or_else(|| short(1))?;
                let reward = list.next_element::<f64>()?.ok_or_else(|| short(2))?;
                let Flag(terminated) = list.next_element()?.ok_or_else(|| short(3))?;
                let mut length = 4;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                if length > 4 {
                    Err(short(length))
                } else {
                    Ok(Row(Outcome { prob, next, reward, terminated }))
                }
            }
        }

        deserializer.deserialize_seq(Fields)
    }
}

/// The number of a next state: whole, and written as such or as `3.0`.
struct Next(u32);

impl<'de> de::Deserialize<'de> for Next {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Next;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a next state, a whole number from 0")
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Next, E> {
                u32::try_from(v).map(Next).map_err(|_| E::invalid_value(Unexpected::Unsigned(v), &self))
            }

            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Next, E> {
                u32::try_from(v).map(Next).map_err(|_| E::invalid_value(Unexpected::Signed(v), &self))
            }

            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Next, E> {
                let whole = v as u32;
                if f64::from(whole) == v {
                    Ok(Next(whole))
                } else {
                    Err(E::invalid_value(Unexpected::Float(v), &self))
                }
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// Whether an outcome ends the episode: true, false, 1 or 0.
struct Flag(bool);

impl<'de> de::Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bit;

        impl Visitor<'_> for Bit {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "terminated, which is true or false")
            }

            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Flag, E> {
                Ok(Flag(v))
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Flag, E> {
                match v {
                    0 | 1 => Ok(Flag(v == 1)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(v), &self)),
                }
            }
        }

        deserializer.deserialize_any(Bit)
    }
}

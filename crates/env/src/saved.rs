//! The shape of a saved state. Numbers are JSON numbers, which keep every bit of a finite `f64`; the others are `"NaN"`,
//! `"inf"` and `"-inf"`.

use crate::{StateError, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What every vector environment of this crate saves.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedVec {
    id: String,
    pub envs: Vec<Value>,
    pub obs: Vec<Vec<Value>>,
    pub reset: Vec<Stream>,
    pub step: Vec<Stream>,
}

impl SavedVec {
    pub fn write(
        id: &str,
        envs: Vec<Value>,
        obs: ndarray::ArrayView2<'_, f32>,
        reset: &[Stream],
        step: &[Stream],
    ) -> Value {
        let obs = obs.rows().into_iter().map(|row| row.iter().map(|&x| number(f64::from(x))).collect());
        let saved = SavedVec {
            id: id.to_owned(),
            envs,
            obs: obs.collect(),
            reset: reset.to_vec(),
            step: step.to_vec(),
        };
        json!(saved)
    }

    /// Reads `state` and checks that it is of the environment `id`, `num_envs` times, with `features` numbers in an
    /// observation and `step_streams` streams for the dynamics.
    pub fn read(
        state: &Value,
        id: &str,
        num_envs: usize,
        features: usize,
        step_streams: usize,
    ) -> Result<SavedVec, StateError> {
        let saved = SavedVec::deserialize(state).map_err(|error| StateError(error.to_string()))?;
        if saved.id != id {
            return Err(StateError(format!("saved from `{}`, but this is `{id}`", saved.id)));
        }
        let expect = |field: &str, found: usize, expected: usize| {
            (found == expected)
                .then_some(())
                .ok_or_else(|| StateError(format!("`{field}` has {found} entries where {expected} belong")))
        };
        expect("envs", saved.envs.len(), num_envs)?;
        expect("obs", saved.obs.len(), num_envs)?;
        expect("reset", saved.reset.len(), num_envs)?;
        expect("step", saved.step.len(), step_streams)?;
        for row in &saved.obs {
            expect("obs row", row.len(), features)?;
        }
        Ok(saved)
    }

    /// The saved observations, one row after the other.
    pub fn flat_obs(&self) -> Result<Vec<f32>, StateError> {
        self.obs.iter().flatten().map(|x| read_number("obs", x).map(|x| x as f32)).collect()
    }
}

pub(crate) fn number(x: f64) -> Value {
    if x.is_finite() {
        json!(x)
    } else if x.is_nan() {
        json!("NaN")
    } else if x > 0.0 {
        json!("inf")
    } else {
        json!("-inf")
    }
}

pub(crate) fn read_number(field: &str, value: &Value) -> Result<f64, StateError> {
    match value.as_str() {
        Some("NaN") => Ok(f64::NAN),
        Some("inf") => Ok(f64::INFINITY),
        Some("-inf") => Ok(f64::NEG_INFINITY),
        _ => value
            .as_f64()
            .ok_or_else(|| StateError(format!("`{field}` holds {value} where a number belongs"))),
    }
}

/// `{"state": [numbers], "elapsed": steps}`, the saved form of an environment with `S` real numbers as its state.
pub(crate) fn real_state<const S: usize>(state: [f64; S], elapsed: u32) -> Value {
    json!({ "state": state.map(number).to_vec(), "elapsed": elapsed })
}

/// The opposite of [`real_state`], for an episode of at most `limit` steps.
pub(crate) fn read_real_state<const S: usize>(
    saved: &Value,
    limit: u32,
) -> Result<([f64; S], u32), StateError> {
    let list = saved.get("state").and_then(Value::as_array).filter(|list| list.len() == S);
    let list = list.ok_or_else(|| StateError(format!("`state` is not a list of {S} numbers")))?;
    let mut state = [0.0; S];
    for (x, value) in state.iter_mut().zip(list) {
        *x = read_number("state", value)?;
    }
    Ok((state, read_elapsed(saved, limit)?))
}

/// `{"state": number, "elapsed": steps}`, the saved form of an environment with finitely many states.
pub(crate) fn finite_state(state: u32, elapsed: u32) -> Value {
    json!({ "state": state, "elapsed": elapsed })
}

/// The opposite of [`finite_state`], with `states` states and at most `limit` steps.
pub(crate) fn read_finite_state(saved: &Value, states: usize, limit: u32) -> Result<(u32, u32), StateError> {
    let state = saved.get("state").and_then(Value::as_u64).filter(|&s| s < states as u64);
    let state = state.ok_or_else(|| StateError(format!("`state` is not a whole number below {states}")))?;
    Ok((state as u32, read_elapsed(saved, limit)?))
}

/// The number of steps in a saved state of an episode of at most `limit`.
pub(crate) fn read_elapsed(saved: &Value, limit: u32) -> Result<u32, StateError> {
    let elapsed = saved.get("elapsed").and_then(Value::as_u64).filter(|&steps| steps < u64::from(limit));
    match elapsed {
        Some(steps) => Ok(steps as u32),
        None => Err(StateError(format!("`elapsed` is not a number of steps below the limit {limit}"))),
    }
}

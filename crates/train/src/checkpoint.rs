mod file;
mod finite;

pub use file::{CheckpointId, FORMAT_VERSION};

use finite::Finite;
use rederive_nn::Optimizer;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that a run needs to go on bit for bit: flat `f32` tensors by name, bytes by name, and
/// small state as JSON by name.
///
/// Every number in it has to be finite: JSON has no other, and a run with another has diverged. A checkpoint that was given
/// one refuses to be [written](Self::write).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Flat arrays: parameters, optimiser moments, ...
    pub tensors: BTreeMap<String, Vec<f32>>,
    /// Replay buffers and whatever else is no array of numbers.
    pub bytes: BTreeMap<String, Vec<u8>>,
    /// Counters, random streams, environments, ...
    pub state: BTreeMap<String, Value>,
    /// The first state in which [`put`](Self::put) met a number that is not finite: as JSON it would silently be a `null`.
    refused: Option<String>,
}

impl Checkpoint {
    /// Adds a flat array.
    pub fn put_tensor(&mut self, name: &str, values: &[f32]) {
        self.tensors.insert(name.to_owned(), values.to_vec());
    }

    /// Copies the array called `name` into `out`; the problem in words if it is missing or has another length.
    pub fn get_tensor(&self, name: &str, out: &mut [f32]) -> Result<(), String> {
        let values = self.tensors.get(name).ok_or_else(|| format!("tensor {name} is missing"))?;
        if values.len() != out.len() {
            return Err(format!("tensor {name} has {} values, expected {}", values.len(), out.len()));
        }
        out.copy_from_slice(values);
        Ok(())
    }

    /// Adds an array of bytes, which may not have the name of a tensor.
    pub fn put_bytes(&mut self, name: &str, bytes: &[u8]) {
        self.bytes.insert(name.to_owned(), bytes.to_vec());
    }

    /// The bytes called `name`; the problem in words if they are missing.
    pub fn get_bytes(&self, name: &str) -> Result<&[u8], String> {
        self.bytes.get(name).map(Vec::as_slice).ok_or_else(|| format!("bytes {name} are missing"))
    }

    /// Adds the state of an optimiser, under names that begin with `name`.
    pub fn put_optimizer(&mut self, name: &str, optimizer: &Optimizer<f32>) {
        let (first, second) = optimizer.state();
        self.put_tensor(&format!("{name}.first"), first);
        self.put_tensor(&format!("{name}.second"), second);
        self.put(&format!("{name}.steps"), &optimizer.steps());
    }

    /// Restores the state of an optimiser; the problem in words if it does not fit, in which case some of it may already be
    /// restored.
    pub fn get_optimizer(&self, name: &str, optimizer: &mut Optimizer<f32>) -> Result<(), String> {
        let (first, second, steps) = optimizer.state_mut();
        self.get_tensor(&format!("{name}.first"), first)?;
        self.get_tensor(&format!("{name}.second"), second)?;
        *steps = self.get(&format!("{name}.steps"))?;
        Ok(())
    }

    /// Adds a small value. Finite floats come back with the same bits.
    ///
    /// # Panics
    /// If the value can't be written as JSON (a map with keys that are not strings).
    pub fn put<T: Serialize>(&mut self, name: &str, value: &T) {
        if self.refused.is_none() && value.serialize(Finite).is_err() {
            self.refused = Some(name.to_owned());
        }
        self.state.insert(name.to_owned(), serde_json::to_value(value).expect("state is plain JSON"));
    }

    /// Reads the value called `name`; the problem in words if it is missing or of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let value = self.state.get(name).ok_or_else(|| format!("state {name} is missing"))?;
        T::deserialize(value).map_err(|e| format!("state {name}: {e}"))
    }

    /// Restores `state` with what `read` does to a copy of it. Everything is read before anything is changed: a checkpoint that does
    /// not fit leaves `state` as it was.
    pub fn restore<T: Clone>(
        state: &mut T,
        read: impl FnOnce(&mut T) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut next = state.clone();
        read(&mut next)?;
        *state = next;
        Ok(())
    }

    /// What holds a number that is not finite, if anything: `"tensor actor.w1"`, `"state counters"`.
    pub fn not_finite(&self) -> Option<String> {
        let tensor = self.tensors.iter().find(|(_, values)| !values.iter().all(|x| x.is_finite()));
        match tensor {
            Some((name, _)) => Some(format!("tensor {name}")),
            None => self.refused.as_ref().map(|name| format!("state {name}")),
        }
    }
}

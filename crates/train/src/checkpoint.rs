use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that a run needs to go on bit for bit: flat `f32` tensors by name, and small state as JSON by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Flat arrays: parameters, optimiser moments, ...
    pub tensors: BTreeMap<String, Vec<f32>>,
    /// Counters, random streams, environments, ...
    pub state: BTreeMap<String, Value>,
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

    /// Adds a small value.
    ///
    /// # Panics
    /// If the value can't be written as JSON (a map with keys that are not strings).
    pub fn put<T: Serialize>(&mut self, name: &str, value: &T) {
        self.state.insert(name.to_owned(), serde_json::to_value(value).expect("state is plain JSON"));
    }

    /// Reads the value called `name`; the problem in words if it is missing or of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let value = self.state.get(name).ok_or_else(|| format!("state {name} is missing"))?;
        T::deserialize(value).map_err(|e| format!("state {name}: {e}"))
    }
}

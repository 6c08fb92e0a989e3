//! The built command, as a person or a script uses it.

mod bad_input;
mod configuration;
mod divergence;
mod drawing;
mod interruption;
mod play;
mod recommend;
mod results;
mod solve;
mod surface;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// A run of a few milliseconds.
pub const TINY: [&str; 13] = [
    "train",
    "ppo",
    "CartPole-v1",
    "--set",
    "steps=256",
    "--set",
    "num_envs=2",
    "--set",
    "num_steps=16",
    "--set",
    "minibatch=16",
    "--set",
    "hidden=[8]",
];

/// What a command left.
pub struct Done {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Standard output as the one JSON document that it has to be.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {:?}; {}", self.out, self.err))
    }

    /// This, if the command succeeded.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let done = Done {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }
}

/// The command in the folder `dir`, without anything that the caller's environment says of colours.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rederive"));
    command.current_dir(dir).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// Runs the command to its end.
pub fn rederive<S: AsRef<str>>(dir: &Path, args: &[S]) -> Done {
    command(dir).args(args.iter().map(AsRef::as_ref)).output().expect("the command starts").into()
}

/// Runs [`TINY`] with `more` arguments.
pub fn tiny(dir: &Path, more: &[&str]) -> Done {
    rederive(dir, &[&TINY[..], more].concat())
}

/// Runs a shell script in which `$R` is the command.
pub fn shell(dir: &Path, script: &str) -> Done {
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(dir).env("R", env!("CARGO_BIN_EXE_rederive"));
    bash.output().expect("bash starts").into()
}

/// The keys of a JSON object, sorted.
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

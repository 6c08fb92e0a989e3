use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde::Serialize;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Instant;

/// What one case of a property yields: its largest error, already divided by the scale that the tolerance refers to, or
/// in words how the property broke. NaN and infinity fail whatever the tolerance.
pub type Measured = Result<f64, String>;

/// Cases that a random check draws unless told otherwise.
pub const DEFAULT_CASES: u32 = 256;

/// The seed unless told otherwise.
pub const DEFAULT_SEED: u64 = 0;

/// One property of one equation.
pub struct Check {
    /// The equation's ID, e.g. `gae.recursion`.
    pub id: &'static str,
    /// The property's name, unique within the equation, e.g. `definition`.
    pub property: &'static str,
    /// The largest scaled error that passes.
    pub tolerance: f64,
    /// For properties whose single case is expensive (it enumerates many outcomes): never more cases than this.
    pub max_cases: Option<u32>,
    run: Box<dyn Fn(&Plan) -> Verdict + Send + Sync>,
}

/// The result of running a [`Check`].
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The equation's ID.
    pub id: &'static str,
    /// The property's name.
    pub property: &'static str,
    /// Cases run, including the one that failed but not those of the search for a smaller counterexample.
    pub cases: u32,
    /// The largest scaled error among these cases.
    pub max_error: f64,
    /// The largest scaled error that passes.
    pub tolerance: f64,
    /// Whether every case passed.
    pub passed: bool,
    /// Wall-clock time.
    pub seconds: f64,
    /// The smallest counterexample found and what is wrong with it; `None` if the check passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

struct Plan {
    cases: u32,
    seed: u64,
    name: String,
    tolerance: f64,
}

struct Verdict {
    cases: u32,
    max_error: f64,
    failure: Option<String>,
}

/// A property of random inputs: `f` measures one value of `strategy`.
///
/// The same seed gives the same cases. A failing case is shrunk. A panic inside `f` is a failure like any other.
pub fn random<S, F>(id: &'static str, property: &'static str, tolerance: f64, strategy: S, f: F) -> Check
where
    S: Strategy + Send + Sync + 'static,
    F: Fn(S::Value) -> Measured + Send + Sync + 'static,
{
    let run = move |plan: &Plan| search(plan, &strategy, &f);
    Check { id, property, tolerance, max_cases: None, run: Box::new(run) }
}

/// A property without random inputs: a fixture worked out by hand, an exhaustive list, or a simulation that `f` seeds with
/// the number it is given.
pub fn fixed<F>(id: &'static str, property: &'static str, tolerance: f64, f: F) -> Check
where
    F: Fn(u64) -> Measured + Send + Sync + 'static,
{
    let run = move |plan: &Plan| {
        let max_error = Cell::new(0.0);
        let failure = judge(|| f(plan.seed), plan.tolerance, &max_error).err();
        Verdict { cases: 1, max_error: max_error.get(), failure }
    };
    Check { id, property, tolerance, max_cases: None, run: Box::new(run) }
}

impl Check {
    /// `id::property`.
    pub fn name(&self) -> String {
        format!("{}::{}", self.id, self.property)
    }

    /// Never runs more than `cases` cases, however many are asked for.
    #[must_use]
    pub fn at_most(mut self, cases: u32) -> Self {
        self.max_cases = Some(cases);
        self
    }

    /// Runs `cases` cases (at least one, at most [`Check::max_cases`]) drawn from `seed`.
    pub fn run(&self, cases: u32, seed: u64) -> Outcome {
        let start = Instant::now();
        let plan = Plan {
            cases: cases.clamp(1, self.max_cases.unwrap_or(u32::MAX).max(1)),
            seed,
            name: self.name(),
            tolerance: self.tolerance,
        };
        let Verdict { cases, max_error, failure } = (self.run)(&plan);
        Outcome {
            id: self.id,
            property: self.property,
            cases,
            max_error,
            tolerance: self.tolerance,
            passed: failure.is_none(),
            seconds: start.elapsed().as_secs_f64(),
            failure,
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name()).field("tolerance", &self.tolerance).finish()
    }
}

fn search<S: Strategy>(plan: &Plan, strategy: &S, f: &impl Fn(S::Value) -> Measured) -> Verdict {
    // Every field that the environment could set is set here: the same seed must give the same cases everywhere.
    let config = Config {
        cases: plan.cases,
        max_local_rejects: 65_536,
        max_global_rejects: 65_536,
        max_flat_map_regens: 1_000_000,
        max_shrink_iters: 4_096,
        max_shrink_time: 30_000,
        failure_persistence: None,
        source_file: None,
        test_name: None,
        verbose: 0,
        rng_algorithm: RngAlgorithm::ChaCha,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &stretch(plan.seed, &plan.name));
    let cases = Cell::new(0);
    let max_error = Cell::new(0.0);
    let shrinking = Cell::new(false);
    let unrecorded = Cell::new(0.0);
    let result = TestRunner::new_with_rng(config, rng).run(strategy, |input| {
        let record = if shrinking.get() { &unrecorded } else { &max_error };
        if !shrinking.get() {
            cases.set(cases.get() + 1);
        }
        judge(|| f(input), plan.tolerance, record).map_err(|reason| {
            shrinking.set(true);
            TestCaseError::fail(reason)
        })
    });
    let failure = match result {
        Ok(()) => None,
        Err(TestError::Abort(reason)) => Some(format!("no more inputs could be drawn: {reason}")),
        Err(TestError::Fail(reason, input)) => Some(format!("{reason}\nfor the input {input:#?}")),
    };
    Verdict { cases: cases.get(), max_error: max_error.get(), failure }
}

/// Measures one case, keeps the largest error, and says what is wrong, if anything is.
fn judge(measure: impl FnOnce() -> Measured, tolerance: f64, max_error: &Cell<f64>) -> Result<(), String> {
    let error = silently(measure).unwrap_or_else(Err)?;
    if max_error.get() < error || error.is_nan() {
        max_error.set(error);
    }
    if !error.is_finite() {
        Err(format!("the error is not a finite number: {error}"))
    } else if error > tolerance {
        Err(format!("error {error:.3e} exceeds the tolerance {tolerance:.1e}"))
    } else {
        Ok(())
    }
}

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
    static PANIC_PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs `f`; a panic becomes an error that holds its message and place, and prints nothing.
fn silently<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if SILENT.get() {
                PANIC_PLACE.set(info.location().map(ToString::to_string));
            } else {
                outer(info);
            }
        }));
    });
    let before = SILENT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    SILENT.set(before);
    result.map_err(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        match PANIC_PLACE.take() {
            Some(place) => format!("panicked at {place}: {message}"),
            None => format!("panicked: {message}"),
        }
    })
}

/// Runs `f` and says whether it panicked, printing nothing: for properties that demand a refusal.
pub fn panics<T>(f: impl FnOnce() -> T) -> bool {
    silently(f).is_err()
}

/// 32 bytes from a seed and a check's name, so that each check draws its own inputs.
fn stretch(seed: u64, name: &str) -> [u8; 32] {
    let mut state =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
            ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_largest_error_and_the_number_of_cases_are_recorded() {
        let check = random("x.y", "p", 1.0, 0.0..1.0f64, Ok);
        let outcome = check.run(100, 3);
        assert!(outcome.passed && outcome.cases == 100);
        assert!(outcome.max_error > 0.9 && outcome.max_error < 1.0, "{}", outcome.max_error);
    }

    #[test]
    fn a_seed_repeats_its_cases_and_names_draw_their_own() {
        let draws = |name: &'static str, seed| {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let keep = Arc::clone(&seen);
            let check = random("x.y", name, 1.0, 0.0..1.0f64, move |x| {
                keep.lock().unwrap().push(x);
                Ok(0.0)
            });
            check.run(20, seed);
            drop(check);
            Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
        };
        assert_eq!(draws("p", 1), draws("p", 1));
        assert_ne!(draws("p", 1), draws("p", 2));
        assert_ne!(draws("p", 1), draws("q", 1));
    }

    #[test]
    fn a_failure_is_shrunk_and_explained() {
        let check = random("x.y", "p", 1e-3, 0u32..1000, |n| Ok(f64::from(n >= 17)));
        let outcome = check.run(256, 0);
        let failure = outcome.failure.unwrap();
        assert!(!outcome.passed && failure.ends_with("for the input 17"), "{failure}");
        assert!(failure.contains("exceeds the tolerance"), "{failure}");
        assert_eq!(outcome.max_error, 1.0);
        assert!(outcome.cases < 256);
    }

    #[test]
    fn nan_and_infinity_fail_whatever_the_tolerance() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let outcome = fixed("x.y", "p", f64::INFINITY, move |_| Ok(bad)).run(1, 0);
            assert!(outcome.failure.unwrap().contains("not a finite number"));
            let outcome = random("x.y", "p", f64::INFINITY, 0u8..9, move |_| Ok(bad)).run(1, 0);
            assert!(!outcome.passed);
        }
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message_and_the_shrunk_input() {
        let check = random("x.y", "p", 1.0, 0u32..1000, |n| {
            assert!(n < 40, "too many: {n}");
            Ok(0.0)
        });
        let failure = check.run(256, 0).failure.unwrap();
        assert!(failure.contains("too many: 40") && failure.ends_with("for the input 40"), "{failure}");
        assert!(failure.contains("check.rs"), "{failure}");
        assert!(panics(|| panic!("quiet")) && !panics(|| 1));
    }

    #[test]
    fn a_cap_limits_the_cases_and_one_case_always_runs() {
        let check = random("x.y", "p", 1.0, 0u32..9, |_| Ok(0.0)).at_most(5);
        assert_eq!((check.run(100, 0).cases, check.run(2, 0).cases, check.run(0, 0).cases), (5, 2, 1));
        assert_eq!(fixed("x.y", "p", 1.0, |_| Ok(0.0)).run(100, 0).cases, 1);
    }

    #[test]
    fn a_fixed_check_gets_the_seed() {
        let check = fixed("x.y", "p", 1.0, |seed| if seed == 7 { Ok(0.5) } else { Err("other".into()) });
        assert!(check.run(1, 7).passed);
        assert_eq!(check.run(1, 8).failure.as_deref(), Some("other"));
    }

    #[test]
    fn an_outcome_serialises_to_the_fields_of_the_report() {
        let json = serde_json::to_value(fixed("x.y", "p", 1.0, |_| Ok(0.5)).run(1, 0)).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["cases", "id", "max_error", "passed", "property", "seconds", "tolerance"]);
    }
}

//! The kernels against `rederive-math`: run on the CPU, thread by thread, and compiled for a GPU where NVRTC is found.
//!
//! What this machine can't do is listed as ignored, with the reason in the test's name; it never counts as passed.

mod nvrtc;

use libtest_mimic::{Arguments, Failed, Trial};
use ndarray::{Array2, ArrayView2};
use rederive_kernels::cpu::{self, Launch, Rollout};
use rederive_kernels::{GAE, SOURCES, fingerprint};
use rederive_math::{End, Stream};

fn main() {
    let mut trials = vec![Trial::test("sources", sources)];
    let no_compiler = (!cpu::AVAILABLE).then(|| "no C++ compiler".to_owned());
    trials.push(or_ignored("gae_serial::definition", no_compiler.clone(), gae_definition));
    trials.push(or_ignored("gae_serial::launch", no_compiler, gae_launch));
    let nvrtc = nvrtc::Nvrtc::find();
    let no_nvrtc = nvrtc.as_ref().err().cloned();
    trials.push(or_ignored("gae_serial::compiles_for_a_gpu", no_nvrtc, move || {
        let nvrtc = nvrtc.as_ref().map_err(|reason| Failed::from(reason.clone()))?;
        for architecture in ["sm_80", "sm_90"] {
            let registers = nvrtc.registers(&GAE, architecture)?;
            if registers > 64 {
                return Err(
                    format!("{registers} registers on {architecture} would halve the occupancy").into()
                );
            }
        }
        Ok(())
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A test, or an ignored one that fails with `reason` when it is run all the same.
fn or_ignored(
    name: &str,
    reason: Option<String>,
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match reason {
        None => Trial::test(name, test),
        Some(reason) => {
            let failure = format!("can't run here: {reason}");
            Trial::test(format!("{name} (skipped: {reason})"), move || Err(failure.into()))
                .with_ignored_flag(true)
        }
    }
}

/// Every source stands alone, has the kernels that it lists, and is known by its own fingerprint.
fn sources() -> Result<(), Failed> {
    // The published value for this text.
    assert_eq!(fingerprint("foobar"), 0x85944171f73967e8);
    for source in SOURCES {
        assert!(!source.text.contains("\n#include"), "{} includes something", source.name);
        assert_eq!(source.fingerprint, fingerprint(source.text));
        let kernels = source.text.matches("extern \"C\" __global__ void ").count();
        assert_eq!(kernels, source.entry_points.len(), "{} lists its kernels", source.name);
        for entry in source.entry_points {
            let head = format!("extern \"C\" __global__ void {entry}(");
            assert!(source.text.contains(&head), "{} has no kernel {entry}", source.name);
        }
    }
    Ok(())
}

/// A random rollout, with NaN where nothing may look: behind a terminal state.
struct Case {
    reward: Array2<f32>,
    value: Array2<f32>,
    next_value: Array2<f32>,
    end: Array2<End>,
    gamma: f32,
    gae_lambda: f32,
}

impl Case {
    fn draw(rng: &mut Stream) -> Self {
        let shape = (1 + rng.below(40) as usize, 1 + rng.below(70) as usize);
        let (terminates, truncates) = (rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.3));
        let end = Array2::from_shape_simple_fn(shape, || {
            let chance = rng.unit();
            End::from_flags(chance < terminates, chance < terminates + truncates)
        });
        let mut array = || Array2::from_shape_simple_fn(shape, || rng.uniform(-5.0, 5.0) as f32);
        let (reward, value, mut next_value) = (array(), array(), array());
        next_value.zip_mut_with(&end, |v, end| {
            if end.terminated() {
                *v = f32::NAN;
            }
        });
        // The ends of both ranges are cases of their own.
        let mut rate = || if rng.below(8) == 0 { f64::from(rng.below(2)) } else { rng.unit() };
        Case { reward, value, next_value, end, gamma: rate() as f32, gae_lambda: rate() as f32 }
    }

    /// The advantages and returns in f64, by the function that the book's equation is.
    fn reference(&self) -> (Array2<f64>, Array2<f64>) {
        let wide = |array: &Array2<f32>| array.mapv(f64::from);
        let (mut advantage, mut return_) = (Array2::zeros(self.end.dim()), Array2::zeros(self.end.dim()));
        rederive_math::gae::gae(
            &wide(&self.reward),
            &wide(&self.value),
            &wide(&self.next_value),
            &self.end,
            f64::from(self.gamma),
            f64::from(self.gae_lambda),
            &mut advantage,
            &mut return_,
        );
        (advantage, return_)
    }

    /// What the kernel writes into outputs full of NaN.
    fn kernel(&self, launch: Launch) -> (Array2<f32>, Array2<f32>) {
        let mut advantage = Array2::from_elem(self.end.dim(), f32::NAN);
        let mut return_ = advantage.clone();
        let end = self.end.mapv(|end| end as u8);
        let rollout = Rollout {
            reward: self.reward.as_slice().expect("standard layout"),
            value: self.value.as_slice().expect("standard layout"),
            next_value: self.next_value.as_slice().expect("standard layout"),
            end: end.as_slice().expect("standard layout"),
            num_envs: end.ncols(),
        };
        let outputs = (advantage.as_slice_mut(), return_.as_slice_mut());
        let (a, r) = (outputs.0.expect("standard layout"), outputs.1.expect("standard layout"));
        cpu::gae_serial(launch, rollout, self.gamma, self.gae_lambda, a, r);
        (advantage, return_)
    }
}

/// The largest difference, relative to the largest number around (an advantage is a sum of numbers of either sign).
fn error(kernel: ArrayView2<'_, f32>, reference: ArrayView2<'_, f64>) -> f64 {
    let scale = reference.iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
    let differences = kernel.iter().zip(reference).map(|(&k, &r)| (f64::from(k) - r).abs() / scale);
    // A NaN must not be lost to `max`.
    differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

fn gae_definition() -> Result<(), Failed> {
    let mut rng = Stream::new(0, "kernels", 0);
    for case_number in 0..256 {
        let case = Case::draw(&mut rng);
        let launch = Launch::cover(case.end.ncols(), [1, 7, 32, 64, 256][rng.below(5) as usize]);
        let (advantage, return_) = case.kernel(launch);
        let (expected_advantage, expected_return) = case.reference();
        for (name, kernel, expected) in
            [("advantage", advantage, expected_advantage), ("return", return_, expected_return)]
        {
            let error = error(kernel.view(), expected.view());
            // Not `error > tolerance`: NaN must fail.
            if !matches!(error.partial_cmp(&2e-6), Some(std::cmp::Ordering::Less)) {
                let (gamma, gae_lambda, shape) = (case.gamma, case.gae_lambda, case.end.dim());
                let message = format!(
                    "case {case_number}: {name} is off by {error:e}; shape {shape:?}, gamma {gamma}, \
                     gae_lambda {gae_lambda}, {launch:?}"
                );
                return Err(message.into());
            }
        }
    }
    Ok(())
}

/// A thread writes its own environment and nothing else, and the shape of the launch changes no bit.
fn gae_launch() -> Result<(), Failed> {
    let mut rng = Stream::new(0, "kernels", 1);
    for _ in 0..64 {
        let case = Case::draw(&mut rng);
        let num_envs = case.end.ncols();
        let (advantage, return_) = case.kernel(Launch::cover(num_envs, 1));
        let much_too_large = Launch { grid: num_envs as u32 + 3, block: 33 };
        assert_eq!(case.kernel(much_too_large), (advantage.clone(), return_.clone()));

        let reached = 1 + rng.below(num_envs as u32) as usize;
        let (a, r) = case.kernel(Launch { grid: reached as u32, block: 1 });
        for (partial, whole) in [(&a, &advantage), (&r, &return_)] {
            for ((t, n), &x) in partial.indexed_iter() {
                assert!(
                    if n < reached { x == whole[[t, n]] } else { x.is_nan() },
                    "step {t}, environment {n}"
                );
            }
        }
    }
    Ok(())
}

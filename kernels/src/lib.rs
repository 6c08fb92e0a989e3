//! The CUDA kernels as text, one [`Source`] per family of equations, and a way to run them without a GPU.
//!
//! Who has a GPU compiles [`Source::text`] with NVRTC; the texts include nothing, so that no CUDA toolkit is needed. With the
//! feature `cpu`, the module `cpu` runs the same text compiled as C++17, which is how the kernels are tested everywhere.

#[cfg(feature = "cpu")]
pub mod cpu;

/// One file of CUDA code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The family of equations: `"gae"`.
    pub name: &'static str,
    /// The code.
    pub text: &'static str,
    /// The kernels in it (`extern "C"`); the comment on each says what its arguments are and how it is launched.
    pub entry_points: &'static [&'static str],
    /// [`fingerprint`] of the text: the key under which compiled code is kept, and the proof that it is of this text.
    pub fingerprint: u64,
}

impl Source {
    const fn new(name: &'static str, text: &'static str, entry_points: &'static [&'static str]) -> Self {
        Source { name, text, entry_points, fingerprint: fingerprint(text) }
    }
}

/// Generalised advantage estimation.
pub const GAE: Source = Source::new("gae", include_str!("../cuda/gae.cu"), &["gae_serial"]);

/// All sources.
pub const SOURCES: &[Source] = &[GAE];

/// The 64-bit FNV-1a hash of a text: tells versions apart, and is no protection against forgery.
pub const fn fingerprint(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}

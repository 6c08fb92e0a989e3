use rand::{RngCore, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// An independent, named stream of random numbers (xoshiro256++), whose state can be saved.
///
/// One seed feeds a whole run; every purpose (`"reset"`, `"action"`, `"shuffle"`, ...) and every environment has a stream
/// of its own, so that neither the number of threads nor the order of calls changes a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream number `index` for `purpose` under `seed`.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        // FNV-1a over the name, then three rounds of the SplitMix64 finaliser: a different bit anywhere in
        // (seed, purpose, index) gives an unrelated starting point.
        let name = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mixed = mix(mix(mix(seed).wrapping_add(name)).wrapping_add(index));
        Stream(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// A uniform number in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform number in `[low, high)`.
    #[inline]
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A uniform integer in `0..n`.
    ///
    /// # Panics
    /// If `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "below(0): there is no integer to draw");
        // Lemire's multiply-and-reject, without bias.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// A standard normal number.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl RngCore for Stream {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    #[inline]
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    #[inline]
    fn fill_bytes(&mut self, dst: &mut [u8]) {
        self.0.fill_bytes(dst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_argument_and_repeat() {
        let first = |s: u64, p: &str, i: u64| Stream::new(s, p, i).next_u64();
        assert_eq!(first(1, "reset", 0), first(1, "reset", 0));
        for (s, p, i) in [(2, "reset", 0), (1, "action", 0), (1, "reset", 1)] {
            assert_ne!(first(1, "reset", 0), first(s, p, i));
        }
    }

    #[test]
    fn a_saved_stream_goes_on_where_it_was() {
        let mut a = Stream::new(7, "action", 3);
        a.normal();
        let mut b = a.clone();
        assert_eq!((a.unit(), a.below(10), a.normal()), (b.unit(), b.below(10), b.normal()));
    }
}

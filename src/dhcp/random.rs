//! Transaction numbers and jitter from one seed, so that a run can be repeated.

/// The SplitMix64 generator; it only has to spread the seed's entropy.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// `seed` must not be guessable from outside nor used twice.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A transaction number.
    pub(super) fn xid(&mut self) -> u32 {
        (self.step() >> 32) as u32
    }

    /// Any number from zero to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.step() % most.saturating_add(1)
    }

    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

//! The sectors that pins reach, as a Bloom filter, so that the memory of a sweep does not grow with the store.
//!
//! It may report an unreached sector as reached. Such a sector stays until the next sweep, whose filter has other
//! salts. It never misses a sector that was added.

use skynet_formats::sector::SectorRoot;

/// Bits for each expected sector: with four hashes, one of 400 unreached sectors stays.
const BITS_PER_SECTOR: u64 = 16;
/// 64 MiB of memory, enough for 33 million sectors. With more sectors, a larger share stays each time.
const MAX_BITS: u64 = 1 << 29;
const MIN_BITS: u64 = 1 << 16;
const HASHES: usize = 4;

/// A set of roots.
#[derive(Debug)]
pub(super) struct Reached {
    bits: Vec<u64>,
    /// 64 minus the binary logarithm of the number of bits.
    shift: u32,
    salts: [u64; HASHES],
}

impl Reached {
    /// An empty set for about `sectors` sectors.
    pub(super) fn new(sectors: u64, salts: [u64; HASHES]) -> Self {
        let bits = sectors.saturating_mul(BITS_PER_SECTOR).clamp(MIN_BITS, MAX_BITS).next_power_of_two();
        Reached { bits: vec![0; (bits / 64) as usize], shift: 64 - bits.ilog2(), salts }
    }

    pub(super) fn add(&mut self, root: &SectorRoot) {
        for bit in self.positions(root) {
            self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    pub(super) fn contains(&self, root: &SectorRoot) -> bool {
        self.positions(root).iter().all(|bit| self.bits[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }

    /// A root serves as four numbers that are random already.
    fn positions(&self, root: &SectorRoot) -> [u64; HASHES] {
        let (parts, _) = root.as_bytes().as_chunks();
        std::array::from_fn(|index| {
            let salted = (u64::from_le_bytes(parts[index]) ^ self.salts[index]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            salted >> self.shift
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skynet_formats::profile::SectorSize;
    use skynet_formats::sector::sector_root;

    #[test]
    fn what_was_added_is_there_and_little_else() {
        let size = SectorSize::new(4096).unwrap();
        let roots: Vec<_> = (0..4000_u32).map(|n| sector_root(size, &n.to_le_bytes())).collect();
        let mut reached = Reached::new(2000, [1, 2, 3, 4]);
        roots[..2000].iter().for_each(|root| reached.add(root));
        assert!(roots[..2000].iter().all(|root| reached.contains(root)));
        let wrong = roots[2000..].iter().filter(|root| reached.contains(root)).count();
        assert!(wrong < 40, "{wrong} of 2000");
    }
}

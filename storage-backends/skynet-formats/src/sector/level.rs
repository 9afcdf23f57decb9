//! One level of the tree: BLAKE2b-256 of blocks of 64 bytes behind a prefix, as many at once as the processor supports.

use blake2b_simd::Params;
use blake2b_simd::many::{HashManyJob, hash_many};

/// Bytes of a block: a leaf, or the hashes of two nodes.
pub(super) const BLOCK: usize = 64;

/// A leaf, or two adjacent hashes.
pub(super) type Block = [u8; BLOCK];

/// Blocks that are hashed together: a multiple of every SIMD width.
const WIDTH: usize = 8;

/// Hashes blocks; two adjacent hashes are one block of the level above.
pub(super) fn hash_level(prefix: u8, blocks: &[Block], above: &mut [Block]) {
    debug_assert_eq!(above.len(), blocks.len().div_ceil(2), "a block for each two");
    #[cfg(target_arch = "x86_64")]
    if wide::is_available() {
        return wide::hash_level(prefix, blocks, above);
    }
    hash_level_anywhere(prefix, blocks, above);
}

/// Hashes blocks on any processor.
fn hash_level_anywhere(prefix: u8, blocks: &[Block], above: &mut [Block]) {
    let params = params();
    for (blocks, above) in blocks.chunks(WIDTH).zip(above.chunks_mut(WIDTH / 2)) {
        let mut inputs = [[prefix; 1 + BLOCK]; WIDTH];
        for (input, block) in inputs.iter_mut().zip(blocks) {
            input[1..].copy_from_slice(block);
        }
        let mut jobs: [_; WIDTH] = std::array::from_fn(|index| HashManyJob::new(&params, &inputs[index]));
        let jobs = &mut jobs[..blocks.len()];
        hash_many(jobs.iter_mut());
        for (hash, job) in above.as_flattened_mut().chunks_mut(32).zip(jobs) {
            hash.copy_from_slice(job.to_hash().as_bytes());
        }
    }
}

/// Hashes one block.
pub(super) fn hash_one(prefix: u8, block: &Block) -> [u8; 32] {
    let mut input = [prefix; 1 + BLOCK];
    input[1..].copy_from_slice(block);
    let mut hash = [0; 32];
    hash.copy_from_slice(params().hash(&input).as_bytes());
    hash
}

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

#[cfg(target_arch = "x86_64")]
mod wide {
    //! Hashes eight blocks at once with AVX-512, one in each lane of 64 bits. `blake2b_simd` goes up to AVX2, hence
    //! four, and hashes inputs of any length. The inputs here have 65 bytes, so seven of sixteen message words are
    //! always zero.

    use std::arch::x86_64::{
        __m512i, _mm512_add_epi64, _mm512_loadu_si512, _mm512_or_si512, _mm512_ror_epi64, _mm512_set1_epi64,
        _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_si512,
        _mm512_unpackhi_epi64, _mm512_unpacklo_epi64, _mm512_xor_si512,
    };

    use super::{BLOCK, Block, WIDTH};

    const IV: [u64; 8] = [
        0x6a09_e667_f3bc_c908,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
        0x510e_527f_ade6_82d1,
        0x9b05_688c_2b3e_6c1f,
        0x1f83_d9ab_fb41_bd6b,
        0x5be0_cd19_137e_2179,
    ];

    /// The parameters: 32 bytes of hash, no key, no tree.
    const PARAMETERS: u64 = 0x0101_0020;

    /// Bytes of the one message block: prefix and content.
    const LENGTH: u64 = 1 + BLOCK as u64;

    pub(super) fn is_available() -> bool {
        std::arch::is_x86_feature_detected!("avx512f")
    }

    /// Call it only if [`is_available`] returns true.
    pub(super) fn hash_level(prefix: u8, blocks: &[Block], above: &mut [Block]) {
        debug_assert!(is_available(), "the caller has asked");
        for (blocks, above) in blocks.chunks(WIDTH).zip(above.chunks_mut(WIDTH / 2)) {
            let (mut eight, mut hashes) = ([[0; BLOCK]; WIDTH], [[0; BLOCK]; WIDTH / 2]);
            let blocks = blocks.as_array().unwrap_or_else(|| {
                eight[..blocks.len()].copy_from_slice(blocks);
                &eight
            });
            #[expect(
                unsafe_code,
                reason = "a function for some processors only is called behind a look at the processor"
            )]
            // SAFETY: the caller has checked that the processor has AVX-512F.
            unsafe {
                hash_eight(prefix, blocks, &mut hashes);
            }
            above.copy_from_slice(&hashes[..above.len()]);
        }
    }

    /// Hashes eight blocks to four blocks of two hashes.
    #[target_feature(enable = "avx512f")]
    fn hash_eight(prefix: u8, blocks: &[Block; WIDTH], hashes: &mut [Block; WIDTH / 2]) {
        let rows = std::array::from_fn(|lane| load(&blocks[lane]));
        let m = message(prefix, &transposed(&rows));
        let iv = IV.map(|word| _mm512_set1_epi64(word as i64));
        let mut h = iv;
        h[0] = _mm512_set1_epi64((IV[0] ^ PARAMETERS) as i64);
        let mut v =
            [h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], iv[0], iv[1], iv[2], iv[3], iv[4], iv[5], iv[6], iv[7]];
        v[12] = _mm512_set1_epi64((IV[4] ^ LENGTH) as i64);
        // It is the last message block.
        v[14] = _mm512_set1_epi64(!IV[6] as i64);

        macro_rules! mix {
            ($a:literal $b:literal $c:literal $d:literal, $x:literal $y:literal) => {
                v[$a] = _mm512_add_epi64(_mm512_add_epi64(v[$a], m[$x]), v[$b]);
                v[$d] = _mm512_ror_epi64::<32>(_mm512_xor_si512(v[$d], v[$a]));
                v[$c] = _mm512_add_epi64(v[$c], v[$d]);
                v[$b] = _mm512_ror_epi64::<24>(_mm512_xor_si512(v[$b], v[$c]));
                v[$a] = _mm512_add_epi64(_mm512_add_epi64(v[$a], m[$y]), v[$b]);
                v[$d] = _mm512_ror_epi64::<16>(_mm512_xor_si512(v[$d], v[$a]));
                v[$c] = _mm512_add_epi64(v[$c], v[$d]);
                v[$b] = _mm512_ror_epi64::<63>(_mm512_xor_si512(v[$b], v[$c]));
            };
        }
        // Unrolled instead of looped over a table, so the zeros of the message cost nothing.
        macro_rules! round {
            ($($s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal
               $s8:literal $s9:literal $s10:literal $s11:literal $s12:literal $s13:literal $s14:literal $s15:literal;)*)
            => { $(
                mix!(0 4 8 12, $s0 $s1);
                mix!(1 5 9 13, $s2 $s3);
                mix!(2 6 10 14, $s4 $s5);
                mix!(3 7 11 15, $s6 $s7);
                mix!(0 5 10 15, $s8 $s9);
                mix!(1 6 11 12, $s10 $s11);
                mix!(2 7 8 13, $s12 $s13);
                mix!(3 4 9 14, $s14 $s15);
            )* };
        }
        // RFC 7693 section 2.7, and its first two lines once more.
        round! {
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15;
            14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3;
            11 8 12 0 5 2 15 13 10 14 3 6 7 1 9 4;
            7 9 3 1 13 12 11 14 2 6 5 10 4 0 15 8;
            9 0 5 7 2 4 10 15 14 1 11 12 6 8 3 13;
            2 12 6 10 0 11 8 3 4 13 7 5 15 14 1 9;
            12 5 1 15 14 13 4 10 0 7 6 3 9 2 8 11;
            13 11 7 14 12 1 3 9 5 0 15 4 8 6 2 10;
            6 15 14 9 11 3 0 8 12 2 13 7 1 4 10 5;
            10 2 8 4 7 6 1 5 15 11 9 14 3 12 13 0;
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15;
            14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3;
        }
        let words = std::array::from_fn(|i| _mm512_xor_si512(h[i], _mm512_xor_si512(v[i], v[i + 8])));
        for (block, pair) in hashes.iter_mut().zip(pairs(words)) {
            store(block, pair);
        }
    }

    /// The message words of prefix and content: all of it moves by one byte.
    #[target_feature(enable = "avx512f")]
    fn message(prefix: u8, words: &[__m512i; 8]) -> [__m512i; 16] {
        let mut message = [_mm512_setzero_si512(); 16];
        let mut carried = _mm512_set1_epi64(i64::from(prefix));
        for (to, &word) in message.iter_mut().zip(words) {
            *to = _mm512_or_si512(_mm512_slli_epi64::<8>(word), carried);
            carried = _mm512_srli_epi64::<56>(word);
        }
        message[8] = carried;
        message
    }

    /// Transposes a block per vector to a word of each block per vector.
    #[target_feature(enable = "avx512f")]
    fn transposed(r: &[__m512i; 8]) -> [__m512i; 8] {
        let even: [_; 4] = std::array::from_fn(|i| _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]));
        let odd: [_; 4] = std::array::from_fn(|i| _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]));
        let [w0, w2, w4, w6] = quarters(even);
        let [w1, w3, w5, w7] = quarters(odd);
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    /// Transposes four words of a hash per vector to two adjacent hashes per vector.
    #[target_feature(enable = "avx512f")]
    fn pairs(words: [__m512i; 4]) -> [__m512i; 4] {
        let [a, b, c, d] = words;
        let even = [_mm512_unpacklo_epi64(a, b), _mm512_unpacklo_epi64(c, d)];
        let odd = [_mm512_unpackhi_epi64(a, b), _mm512_unpackhi_epi64(c, d)];
        quarters([even[0], even[1], odd[0], odd[1]])
    }

    /// Transposes four vectors of four 128-bit parts: first the first parts of all, then the second parts, and so on.
    #[target_feature(enable = "avx512f")]
    fn quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        let (ab_even, cd_even) = (_mm512_shuffle_i64x2::<EVEN>(a, b), _mm512_shuffle_i64x2::<EVEN>(c, d));
        let (ab_odd, cd_odd) = (_mm512_shuffle_i64x2::<ODD>(a, b), _mm512_shuffle_i64x2::<ODD>(c, d));
        [
            _mm512_shuffle_i64x2::<EVEN>(ab_even, cd_even),
            _mm512_shuffle_i64x2::<EVEN>(ab_odd, cd_odd),
            _mm512_shuffle_i64x2::<ODD>(ab_even, cd_even),
            _mm512_shuffle_i64x2::<ODD>(ab_odd, cd_odd),
        ]
    }

    #[target_feature(enable = "avx512f")]
    fn load(block: &Block) -> __m512i {
        #[expect(unsafe_code, reason = "std has no load from an array")]
        // SAFETY: the block has the 64 bytes that are read, at any alignment.
        unsafe {
            _mm512_loadu_si512(block.as_ptr().cast())
        }
    }

    #[target_feature(enable = "avx512f")]
    fn store(block: &mut Block, value: __m512i) {
        #[expect(unsafe_code, reason = "std has no store to an array")]
        // SAFETY: the block has room for the 64 bytes that are written, at any alignment.
        unsafe {
            _mm512_storeu_si512(block.as_mut_ptr().cast(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_by_one_and_together_give_the_same(
            prefix in any::<u8>(), blocks in prop::collection::vec(prop::array::uniform32(any::<u16>()), 1..40),
        ) {
            let blocks: Vec<Block> =
                blocks.iter().map(|words| std::array::from_fn(|i| words[i / 2].to_le_bytes()[i % 2])).collect();
            let mut expected: Vec<u8> = blocks.iter().flat_map(|block| hash_one(prefix, block)).collect();
            let mut above = vec![[0; BLOCK]; blocks.len().div_ceil(2)];
            for hash in [hash_level, hash_level_anywhere] {
                above.fill([0; BLOCK]);
                hash(prefix, &blocks, &mut above);
                prop_assert_eq!(&above.as_flattened()[..expected.len()], &expected[..]);
            }
            expected.clear();
        }
    }
}

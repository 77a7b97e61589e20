//! SHA-512(R ‖ A ‖ message), the challenge of a signature, eight at a time if the CPU has AVX-512, or four if it has AVX2.

use sha2::{Digest, Sha512};

use crate::signature::Signed;
use crate::vector::{Longs, Step, each};

/// A message up to this length fits one block with R and A, the end of the message and its length.
const ONE_BLOCK: usize = 128 - 32 - 32 - 1 - 16;

/// Returns the challenge of one signature.
pub(crate) fn challenge(signed: &Signed<'_>) -> [u8; 64] {
    let mut hasher = Sha512::new();
    hasher.update(&signed.signature[..32]);
    hasher.update(signed.key.as_bytes());
    hasher.update(signed.message);
    hasher.finalize().into()
}

/// Returns the challenge of every signature, in order.
pub(crate) fn challenges(batch: &[Signed<'_>]) -> Vec<[u8; 64]> {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = crate::vector::ifma::Cpu::detect() {
        return in_lanes::<crate::vector::ifma::Zmm, 8>(cpu, batch);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = crate::vector::avx2::Cpu::detect() {
        return in_lanes::<crate::vector::avx2::YmmLongs, 4>(cpu, batch);
    }
    batch.iter().map(challenge).collect()
}

/// Like [`challenges`], by vectors.
fn in_lanes<L: Longs<N>, const N: usize>(cpu: L::Cpu, batch: &[Signed<'_>]) -> Vec<[u8; 64]> {
    let mut challenges = Vec::with_capacity(batch.len());
    let (groups, rest) = batch.as_chunks::<N>();
    for group in groups {
        if group.iter().all(|signed| signed.message.len() <= ONE_BLOCK) {
            let blocks = group.map(|signed| only_block(&signed));
            challenges.extend(L::run(cpu, Blocks::<L, N> { cpu, blocks: &blocks }));
        } else {
            challenges.extend(group.iter().map(challenge));
        }
    }
    challenges.extend(rest.iter().map(challenge));
    challenges
}

/// Returns the only block of a short message.
fn only_block(signed: &Signed<'_>) -> [u8; 128] {
    let mut block = [0; 128];
    let end = 64 + signed.message.len();
    block[..32].copy_from_slice(&signed.signature[..32]);
    block[32..64].copy_from_slice(signed.key.as_bytes());
    block[64..end].copy_from_slice(signed.message);
    block[end] = 0x80;
    block[120..].copy_from_slice(&(8 * end as u64).to_be_bytes());
    block
}

/// SHA-512 of messages of one block (FIPS 180-4, 6.4).
struct Blocks<'a, L: Longs<N>, const N: usize> {
    cpu: L::Cpu,
    blocks: &'a [[u8; 128]; N],
}

impl<L: Longs<N>, const N: usize> Step for Blocks<'_, L, N> {
    type Output = [[u8; 64]; N];

    #[inline(always)]
    fn compute(self) -> Self::Output {
        let Self { cpu, blocks } = self;
        let zero = L::load(cpu, &[0; N]);
        let mut w = [zero; 16];
        for (part, words) in w.as_chunks_mut::<N>().0.iter_mut().enumerate() {
            let mut rows = [zero; N];
            for (row, block) in rows.iter_mut().zip(blocks) {
                let mut lanes = [0; N];
                for (lane, bytes) in lanes.iter_mut().zip(&block.as_chunks().0[N * part..]) {
                    *lane = u64::from_be_bytes(*bytes);
                }
                *row = L::load(cpu, &lanes);
            }
            *words = L::transpose(rows);
        }
        let initial = each!(8, i => L::load(cpu, &[INITIAL[i]; N]));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = initial;
        for (sixteen, constants) in ROUND.as_chunks::<16>().0.iter().enumerate() {
            each!(16, at => {
                if sixteen > 0 {
                    let (w1, w14) = (w[(at + 1) % 16], w[(at + 14) % 16]);
                    let s0 = w1.rotate::<1>().xor(w1.rotate::<8>(), w1.shift::<7>());
                    let s1 = w14.rotate::<19>().xor(w14.rotate::<61>(), w14.shift::<6>());
                    w[at] = w[at].add(s0).add(w[(at + 9) % 16]).add(s1);
                }
                let s1 = e.rotate::<14>().xor(e.rotate::<18>(), e.rotate::<41>());
                let constant = L::load(cpu, &[constants[at]; N]);
                let first = h.add(s1).add(e.choose(f, g)).add(constant).add(w[at]);
                let s0 = a.rotate::<28>().xor(a.rotate::<34>(), a.rotate::<39>());
                let second = s0.add(a.majority(b, c));
                (h, g, f, e) = (g, f, e, d.add(first));
                (d, c, b, a) = (c, b, a, first.add(second));
            });
        }
        let state = [a, b, c, d, e, f, g, h];
        let mut digests = [[0; 64]; N];
        for (i, (word, initial)) in state.into_iter().zip(initial).enumerate() {
            for (digest, lane) in digests.iter_mut().zip(word.add(initial).lanes()) {
                digest[8 * i..][..8].copy_from_slice(&lane.to_be_bytes());
            }
        }
        digests
    }
}

/// The initial state: the fractions of the square roots of the first eight primes.
const INITIAL: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

/// The constants of the rounds: the fractions of the cube roots of the first eighty primes.
const ROUND: [u64; 80] = [
    0x428a2f98d728ae22,
    0x7137449123ef65cd,
    0xb5c0fbcfec4d3b2f,
    0xe9b5dba58189dbbc,
    0x3956c25bf348b538,
    0x59f111f1b605d019,
    0x923f82a4af194f9b,
    0xab1c5ed5da6d8118,
    0xd807aa98a3030242,
    0x12835b0145706fbe,
    0x243185be4ee4b28c,
    0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f,
    0x80deb1fe3b1696b1,
    0x9bdc06a725c71235,
    0xc19bf174cf692694,
    0xe49b69c19ef14ad2,
    0xefbe4786384f25e3,
    0x0fc19dc68b8cd5b5,
    0x240ca1cc77ac9c65,
    0x2de92c6f592b0275,
    0x4a7484aa6ea6e483,
    0x5cb0a9dcbd41fbd4,
    0x76f988da831153b5,
    0x983e5152ee66dfab,
    0xa831c66d2db43210,
    0xb00327c898fb213f,
    0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2,
    0xd5a79147930aa725,
    0x06ca6351e003826f,
    0x142929670a0e6e70,
    0x27b70a8546d22ffc,
    0x2e1b21385c26c926,
    0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df,
    0x650a73548baf63de,
    0x766a0abb3c77b2a8,
    0x81c2c92e47edaee6,
    0x92722c851482353b,
    0xa2bfe8a14cf10364,
    0xa81a664bbc423001,
    0xc24b8b70d0f89791,
    0xc76c51a30654be30,
    0xd192e819d6ef5218,
    0xd69906245565a910,
    0xf40e35855771202a,
    0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8,
    0x1e376c085141ab53,
    0x2748774cdf8eeb99,
    0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63,
    0x4ed8aa4ae3418acb,
    0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc,
    0x78a5636f43172f60,
    0x84c87814a1f0ab72,
    0x8cc702081a6439ec,
    0x90befffa23631e28,
    0xa4506cebde82bde9,
    0xbef9a3f7b2c67915,
    0xc67178f2e372532b,
    0xca273eceea26619c,
    0xd186b8c721c0c207,
    0xeada7dd6cde0eb1e,
    0xf57d4f7fee6ed178,
    0x06f067aa72176fba,
    0x0a637dc5a2c898a6,
    0x113f9804bef90dae,
    0x1b710b35131c471b,
    0x28db77f523047d84,
    0x32caab7b40c72493,
    0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6,
    0x597f299cfc657e2a,
    0x5fcb6fab3ad6faec,
    0x6c44198c4a475817,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::key::Scheme;
    use crate::vector::plain_lanes::PlainLanes;

    /// Checks both ways for messages of these lengths.
    fn check(lengths: &[usize]) {
        let key = Device::from_seed("lift-01", [7; 32], Scheme::Record).public_key().unwrap();
        let made: Vec<(Vec<u8>, [u8; 64])> = lengths
            .iter()
            .enumerate()
            .map(|(i, length)| ((0..*length).map(|at| (at * 31 + i) as u8).collect(), [i as u8 ^ 0x5a; 64]))
            .collect();
        let batch: Vec<Signed<'_>> =
            made.iter().map(|(message, signature)| Signed { key: &key, message, signature }).collect();
        let expected: Vec<[u8; 64]> = batch.iter().map(challenge).collect();
        assert_eq!(in_lanes::<PlainLanes<u64, 8>, 8>((), &batch), expected);
        assert_eq!(in_lanes::<PlainLanes<u64, 4>, 4>((), &batch), expected);
        assert_eq!(challenges(&batch), expected);
        #[cfg(target_arch = "x86_64")]
        {
            use crate::vector::{avx2, ifma};
            let eight = ifma::Cpu::detect().map(|cpu| in_lanes::<ifma::Zmm, 8>(cpu, &batch));
            let four = avx2::Cpu::detect().map(|cpu| in_lanes::<avx2::YmmLongs, 4>(cpu, &batch));
            assert!([eight, four].iter().flatten().all(|challenges| *challenges == expected));
        }
    }

    #[test]
    fn challenges_are_those_of_the_library() {
        check(&[]);
        check(&[32; 7]);
        check(&[32; 35]);
        check(&(0..=ONE_BLOCK + 9).collect::<Vec<_>>());
        check(&[ONE_BLOCK, ONE_BLOCK, 0, 1, ONE_BLOCK, 32, 5, 7]);
        check(&[32, 32, 32, ONE_BLOCK + 1, 32, 32, 1000, 32, 32]);
    }
}

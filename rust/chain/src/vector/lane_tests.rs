//! Tests the instructions for hashes against the models, with lanes of every kind.
#![cfg(target_arch = "x86_64")]

use super::plain_lanes::PlainLanes;
use super::tests::samples;
use super::{Longs, Words, avx2, ifma};

/// Checks lanes of 32 bits.
fn check_words<W: Words<N>, const N: usize>(cpu: W::Cpu) {
    let words =
        |lanes: &[u64; 8]| -> [u32; N] { std::array::from_fn(|i| (lanes[i / 2] >> (32 * (i % 2))) as u32) };
    let samples: Vec<[u32; N]> = samples().iter().map(words).collect();
    for a in &samples {
        for b in &samples {
            let (x, y) = (W::load(cpu, a), W::load(cpu, b));
            let (u, v) = (PlainLanes::<u32, N>::load((), a), PlainLanes::<u32, N>::load((), b));
            assert_eq!(x.add(y).lanes(), u.add(v).lanes());
            assert_eq!(x.xor(y).lanes(), u.xor(v).lanes());
            assert_eq!(x.rotate::<7>().lanes(), u.rotate::<7>().lanes());
            assert_eq!(x.rotate::<8>().lanes(), u.rotate::<8>().lanes());
            assert_eq!(x.rotate::<12>().lanes(), u.rotate::<12>().lanes());
            assert_eq!(x.rotate::<16>().lanes(), u.rotate::<16>().lanes());
        }
        let bytes = a.map(u32::to_be_bytes);
        let modelled = PlainLanes::<u32, N>::load_bytes((), &bytes).lanes();
        assert_eq!(W::load_bytes(cpu, &bytes).lanes(), modelled);
    }
    for rows in samples.as_chunks::<N>().0 {
        let real = W::transpose(rows.map(|row| W::load(cpu, &row)));
        let model = PlainLanes::<u32, N>::transpose(rows.map(|row| Words::load((), &row)));
        assert_eq!(real.map(W::lanes), model.map(Words::lanes));
    }
}

/// Checks lanes of 64 bits.
fn check_longs<L: Longs<N>, const N: usize>(cpu: L::Cpu) {
    let samples: Vec<[u64; N]> = samples().iter().map(|lanes| std::array::from_fn(|i| lanes[i])).collect();
    for (i, a) in samples.iter().enumerate() {
        for (j, b) in samples.iter().enumerate() {
            let c = &samples[(i * 7 + j * 3) % samples.len()];
            let (x, y, z) = (L::load(cpu, a), L::load(cpu, b), L::load(cpu, c));
            let [u, v, w] = [a, b, c].map(|lanes| PlainLanes::<u64, N>::load((), lanes));
            assert_eq!(x.add(y).lanes(), u.add(v).lanes());
            assert_eq!(x.shift::<7>().lanes(), u.shift::<7>().lanes());
            assert_eq!(x.rotate::<1>().lanes(), u.rotate::<1>().lanes());
            assert_eq!(x.rotate::<8>().lanes(), u.rotate::<8>().lanes());
            assert_eq!(x.rotate::<61>().lanes(), u.rotate::<61>().lanes());
            assert_eq!(x.xor(y, z).lanes(), u.xor(v, w).lanes());
            assert_eq!(x.choose(y, z).lanes(), u.choose(v, w).lanes());
            assert_eq!(x.majority(y, z).lanes(), u.majority(v, w).lanes());
        }
    }
    for rows in samples.as_chunks::<N>().0 {
        let real = L::transpose(rows.map(|row| L::load(cpu, &row)));
        let model = PlainLanes::<u64, N>::transpose(rows.map(|row| Longs::load((), &row)));
        assert_eq!(real.map(L::lanes), model.map(Longs::lanes));
    }
}

#[test]
fn instructions_of_avx_512_are_those_of_the_model() {
    let Some(cpu) = ifma::Cpu::detect() else { return };
    check_words::<ifma::ZmmWords, 16>(cpu);
    check_longs::<ifma::Zmm, 8>(cpu);
}

#[test]
fn instructions_of_avx2_are_those_of_the_model() {
    let Some(cpu) = avx2::Cpu::detect() else { return };
    check_words::<avx2::YmmWords, 8>(cpu);
    check_longs::<avx2::YmmLongs, 4>(cpu);
}

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
pub(crate) struct RSum { pub(crate) sum: EdwardsPoint, pub(crate) undecodable: Vec<u32> }
pub(crate) fn r_sum(encodings: &[[u8; 32]], coefficients: &[u128]) -> RSum {
    let mut undecodable = vec![]; let mut points = vec![]; let mut scalars = vec![];
    for (i, (e, z)) in encodings.iter().zip(coefficients).enumerate() {
        match crate::signature::decode_canonical(e) { Some(p) => { points.push(p); scalars.push(Scalar::from(*z)); } None => undecodable.push(i as u32) }
    }
    RSum { sum: EdwardsPoint::vartime_multiscalar_mul(&scalars, &points), undecodable }
}

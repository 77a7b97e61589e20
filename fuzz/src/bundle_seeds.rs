//! Seeds of evidence bundles: those of the tests, each after the byte that selects its part.

/// The policy of the bundles.
pub const BUNDLE_POLICY: &str = include_str!("../../tests/vectors/bundle/policy");

/// Returns bundles, manifests, leaves and heads.
pub fn bundles() -> Vec<Vec<u8>> {
    let bundles: [&[u8]; 4] = [
        include_bytes!("../../tests/vectors/bundle/claims.tar"),
        include_bytes!("../../tests/vectors/bundle/devices-absent.tar"),
        include_bytes!("../../tests/vectors/bundle/devices-payloads.tar"),
        include_bytes!("../../tests/vectors/bundle/records.tar"),
    ];
    let mut seeds = Vec::new();
    for bundle in bundles {
        seeds.push([&[0], bundle].concat());
        let mut rest = bundle;
        while let Some((name, content, next)) = member(rest) {
            let kind = match name {
                b'm' => 1,
                b'l' => 2,
                b'h' => 3,
                b'k' => 4,
                _ => 0,
            };
            if kind > 0 {
                seeds.push([&[kind], content].concat());
            }
            rest = next;
        }
    }
    seeds
}

/// Returns the first letter and the content of the first member, and the members after it.
fn member(bundle: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let name = *bundle.first().filter(|letter| **letter != 0)?;
    let size = std::str::from_utf8(bundle.get(124..135)?).ok()?;
    let size = usize::from_str_radix(size, 8).ok()?;
    let content = bundle.get(512..512 + size)?;
    Some((name, content, bundle.get(512 + size.next_multiple_of(512)..)?))
}

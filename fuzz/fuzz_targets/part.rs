//! Parts of a run: rows that another process may have made never panic, and what they give is written and read again.

#![no_main]

use edgesentry_formats::fuzzing::{part_of, rows_of};
use edgesentry_formats::{Contested, Ends, Part};
use edgesentry_fuzz::{bounded, parts, plant, split_rows};
use libfuzzer_sys::fuzz_target;

fn restored(part: &Part) -> Option<Part> {
    let rows = rows_of(part);
    part_of(rows.iter().map(|(device_id, state)| (device_id.as_deref(), state.as_slice())))
}

fuzz_target!(init: plant(parts()), |input: &[u8]| {
    bounded(|| {
        let Some(part) = part_of(split_rows(input)) else { return };
        let back = restored(&part).expect("what was written can be read");
        assert_eq!(back.contested(), part.contested());
        assert_eq!(back.heads(), part.heads());
        let report = part.clone().report(&Ends::default(), None);
        if let Ok(report) = &report {
            assert_eq!(part.contested(), Contested::new());
            assert_eq!(back.report(&Ends::default(), None).as_ref(), Ok(report));
        }
        // An input is in both, unless there is none.
        let twice = part.clone().merge(part.clone());
        assert!(part.inputs().is_empty() || twice.is_err());
    });
});

//! `eds drill`: rehearsed failures.

use crate::Folder;

#[test]
fn the_drills_are_listed_with_what_they_need() {
    let folder = Folder::new();
    let run = folder.eds("drill list");
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("alert-fire\n"), "{}", run.stdout);
    let listed = folder.eds("--json drill list").envelope()["drills"].clone();
    assert_eq!(listed[0]["name"], "alert-fire");
    assert_eq!(listed[0]["needs"][0]["program"], "prometheus");
}

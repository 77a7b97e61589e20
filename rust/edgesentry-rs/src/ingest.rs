//! Taking records in: [`verify`] decides, [`storage`] keeps.

mod group;
pub mod storage;
pub mod verify;

//! Taking records in: [`verify`] decides, [`storage`] keeps.

mod commit;
mod group;
mod keys;
pub mod storage;
pub mod verify;

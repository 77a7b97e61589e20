//! Taking records in: [`verify`] decides, [`storage`] keeps.

mod chains;
mod commit;
mod group;
mod keys;
mod puts;
pub mod retention;
pub mod storage;
pub mod verify;

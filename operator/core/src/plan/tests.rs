//! The plan against a small world: instances that obey orders, or crash in the middle of them.

mod storage;
mod switchover;
mod table;
mod tampering;
mod walks;
mod world;

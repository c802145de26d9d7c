//! The plan against a small world: instances that obey orders, or crash in the middle of them.

mod switchover;
mod table;
mod walks;
mod world;

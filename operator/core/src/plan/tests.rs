//! The plan against a small world: instances that obey orders, or crash in the middle of them.

mod advice;
mod agents;
mod aside;
mod bench;
mod clones;
mod deletion;
mod divergence;
mod evidence;
mod last_copy;
mod life;
mod lost;
mod nodes;
mod paused;
mod pending;
mod retention;
mod returning;
mod set_back;
mod storage;
mod switchover;
mod table;
mod tampering;
mod threads;
mod volumes;
mod walks;
mod well;
mod world;

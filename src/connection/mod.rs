//! Connections: how they are made, and the protocol spoken on them.

pub mod establish;
mod happy_eyeballs;
pub mod http1;

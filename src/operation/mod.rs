//! The contract between an operation of the engine and its driver.
//!
//! An operation is a future that moves bytes by itself. What only Python can do, it requests as an [`Effect`]; its driver has the
//! effect carried out and stores the [`Reply`]. Nothing here knows a protocol, a socket or an interpreter.
//!
//! A driver is a thread that polls and sleeps, or a task of an event loop. Dropping an operation cancels it; an effect that was
//! requested and not taken is then never carried out.

mod budget;
mod effect;
mod event;
mod external;
mod pool_wait;
mod span;
mod traffic;

pub use self::budget::{YIELD_AFTER, YieldBudget};
pub use self::effect::{
    Backend, Background, Callback, Effect, EffectChannel, Fields, Opaque, PartTimeout, PolicyQuery, PolicyRefusal,
    ProxyChallenge, ReadyChunks, Reply, SocketPatches,
};
pub use self::event::{Endpoints, Event, ExchangeKind, Hop, Outcome, SocksRequest, SpanStage, TraceEvent};
pub use self::external::{DeferredWork, Dropped, ExternalHandle, ExternalStream, OwnerLoop, StreamOwner};
pub use self::pool_wait::{PoolWait, UserCallback};
pub use self::span::{Phase, PhaseTracer};
pub use self::traffic::Traffic;

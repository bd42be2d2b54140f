//! Running an exchange on the calling thread.
//!
//! The interpreter is released for the whole of it and taken back only for what needs Python: the next chunk of the caller's
//! body, a name to be resolved, a signal to be handled. In between the thread polls its own connection and sleeps in `poll(2)`.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;

use super::backend::{self, Called};
use super::errors::{Fault, raised};
use super::listener::Listener;
use super::request::Sources;
use crate::ask::{Answer, Ask, Asker, mismatch};
use crate::error::{Error, Kind, Result};
use crate::fork::Generation;
use crate::io::bell::Bell;
use crate::io::park::{self, Park};
use crate::io::sleep::{Woken, sleep};
use crate::lock::lock;

/// Runs `future` to its end. `caller` is what it may ask for.
pub fn block_on<T: Send>(
    py: Python<'_>,
    future: Pin<&mut (dyn Future<Output = Result<T>> + Send)>,
    asker: &Asker,
    caller: &mut Caller,
) -> std::result::Result<T, Fault> {
    let signals = is_main_thread(py)?;
    py.detach(|| {
        let result = run(future, asker, caller, signals);
        // What the last poll waited for is none of the next exchange's business.
        park::clear();
        result
    })
}

fn run<T>(
    mut future: Pin<&mut (dyn Future<Output = Result<T>> + Send)>,
    asker: &Asker,
    caller: &mut Caller,
    signals: bool,
) -> std::result::Result<T, Fault> {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    let mut cx = Context::from_waker(&waker);
    let mut interrupted = false;
    let mut lookout = signals.then(Lookout::new);
    loop {
        park::clear();
        alarm.reset();
        if let Poll::Ready(result) = poll_caught(future.as_mut(), &mut cx) {
            return result.map_err(Fault::Engine);
        }
        if let Some(interruption) = asker.take_interruption() {
            // Nobody listened at that point.
            return Err(Fault::Engine(interruption));
        }
        if let Some(ask) = asker.take() {
            match Python::attach(|py| perform(py, ask, caller)) {
                Ok(answer) => asker.answer(answer),
                Err(exception) => interrupt(asker, exception, &mut interrupted)?,
            }
            continue;
        }
        // Taken before any handler runs: a handler may send requests of its own.
        wait(park::take(), &alarm, lookout.as_mut())?;
        if let Some(lookout) = &mut lookout
            && lookout.is_due()
            // Ctrl-C raises here; any other signal's handler has run, and the wait goes on with the time that is left.
            && let Err(exception) = handle_signals()
        {
            interrupt(asker, exception, &mut interrupted)?;
        }
    }
}

/// When the main thread looks for signals.
///
/// One that arrives while it sleeps ends that sleep. One that arrives just before, or that another thread received, does not: there
/// is no call that looks and sleeps in one, and looking before each sleep would take the interpreter for nothing. So it looks up
/// from time to time.
struct Lookout {
    next: Instant,
    was_disturbed: bool,
}

impl Lookout {
    /// Too short to be noticed by whoever presses Ctrl-C, too long to be noticed by the machine.
    const INTERVAL: Duration = Duration::from_millis(50);

    fn new() -> Self {
        Self { next: Instant::now() + Self::INTERVAL, was_disturbed: false }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = std::mem::take(&mut self.was_disturbed) || now >= self.next;
        if is_due {
            self.next = now + Self::INTERVAL;
        }
        is_due
    }
}

/// Ends the exchange with an exception. If somebody listens to it, the engine tells him first.
fn interrupt(asker: &Asker, exception: PyErr, interrupted: &mut bool) -> PyResult<()> {
    if !asker.is_traced() || std::mem::replace(interrupted, true) {
        return Err(exception);
    }
    asker.interrupt(raised(Kind::Raised, exception));
    Ok(())
}

#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general over the lifetime")]
fn handle_signals() -> PyResult<()> {
    Python::attach(|py| py.check_signals())
}

/// Whether signal handlers run on this thread. Only then it has to look for them: that takes the interpreter.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    thread_local! {
        static IS_MAIN: Cell<Option<(Generation, bool)>> = const { Cell::new(None) };
    }
    // In a forked child the thread that forked is the main one.
    let generation = Generation::current();
    if let Some((known, is_main)) = IS_MAIN.get()
        && known == generation
    {
        return Ok(is_main);
    }
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    let is_main = main.eq(threading.call_method0(intern!(py, "get_ident"))?)?;
    IS_MAIN.set(Some((generation, is_main)));
    Ok(is_main)
}

/// Polls; a panic becomes an error like any other, so that dropping the future frees what it held.
pub fn poll_caught<T>(
    future: Pin<&mut (dyn Future<Output = Result<T>> + Send)>,
    cx: &mut Context<'_>,
) -> Poll<Result<T>> {
    catch_unwind(AssertUnwindSafe(|| future.poll(cx))).unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
}

pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let why = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Error::new(Kind::Internal, format!("httpcore_rs has a bug, please report it: {why}"))
}

/// Sleeps until a socket is ready, the alarm rings, a deadline has passed, or a signal arrives.
fn wait(mut park: Park, alarm: &Alarm, lookout: Option<&mut Lookout>) -> Result<()> {
    /// How often a thread looks again when there is no descriptor left to wake it by.
    const BLIND: Duration = Duration::from_millis(5);

    if let Some(lookout) = &lookout {
        park.wake_at(lookout.next);
    } else if park.interests.is_empty() {
        alarm.park(park.deadline);
        return Ok(());
    }
    // Sockets wake their own thread. Another thread wakes this one where it waits for the pool, or for a connection that is
    // shared or that the pool may close.
    let bell = if park.needs_alarm || park.interests.is_empty() {
        let bell = park.bell.take().map_or_else(|| Bell::new().map(Arc::new), Ok);
        if bell.is_err() {
            park.wake_at(Instant::now() + BLIND);
        }
        bell.ok()
    } else {
        None
    };
    if let Some(bell) = &bell {
        alarm.set(Sleeper::AtBell(Arc::clone(bell)));
    }
    if alarm.has_rung() {
        return Ok(());
    }
    let woken = sleep(&park, bell.as_deref())
        .map_err(|error| Error::new(Kind::Internal, format!("poll(2) failed: {error}")).with_source(error))?;
    if let Some(lookout) = lookout {
        lookout.was_disturbed |= woken == Woken::BySignal;
    }
    Ok(())
}

/// Wakes a thread that sleeps for something else than its sockets, too.
#[derive(Default)]
struct Alarm {
    has_rung: AtomicBool,
    sleeper: Mutex<Option<Sleeper>>,
}

/// How the thread sleeps.
enum Sleeper {
    Parked(Thread),
    AtBell(Arc<Bell>),
}

impl Alarm {
    /// To be called before the poll whose wakers count. What was done before it rang is seen by that poll.
    fn reset(&self) {
        self.has_rung.swap(false, Ordering::AcqRel);
    }

    fn has_rung(&self) -> bool {
        self.has_rung.load(Ordering::Acquire)
    }

    fn set(&self, sleeper: Sleeper) {
        *lock(&self.sleeper) = Some(sleeper);
    }

    /// Sleeps without a descriptor until the alarm rings or the deadline has passed. May return early: whoever rings takes the
    /// sleeper first, so the next one has to set it again.
    fn park(&self, deadline: Option<Instant>) {
        self.set(Sleeper::Parked(thread::current()));
        if self.has_rung() {
            return;
        }
        match deadline {
            Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        match lock(&self.sleeper).take() {
            Some(Sleeper::Parked(thread)) => thread.unpark(),
            Some(Sleeper::AtBell(bell)) => bell.ring(),
            None => {}
        }
    }
}

/// What the caller brought: what is still to be asked for, and a listener.
#[derive(Default)]
pub struct Caller {
    sources: Option<Sources>,
    pub listener: Option<Listener>,
}

impl Caller {
    /// Without sources nothing will be asked for.
    pub fn new(sources: Option<Sources>, listener: Option<Listener>) -> Self {
        Self { sources, listener }
    }

    /// Whether there is something to ask for.
    pub fn has_sources(&self) -> bool {
        self.sources.is_some()
    }
}

fn perform(py: Python<'_>, ask: Ask, caller: &mut Caller) -> PyResult<Answer> {
    match ask {
        Ask::Chunk => match &mut caller.sources {
            Some(sources) => sources.next(py).map(Answer::Chunk),
            None => Ok(Answer::Chunk(None)),
        },
        Ask::Trailers => match &caller.sources {
            Some(sources) => sources.trailers(py),
            None => Ok(Answer::Trailers(Vec::new())),
        },
        // Threads are switched without being asked.
        Ask::Yield => py.check_signals().map(|()| Answer::Done),
        Ask::Trace(moment) => match &caller.listener {
            Some(listener) => Ok(Answer::Traced(listener.report(py, *moment)?.1)),
            None => Ok(Answer::Traced(None)),
        },
        Ask::Resolve { host, port } => {
            let socket = py.import(intern!(py, "socket"))?;
            let kind = socket.getattr(intern!(py, "SOCK_STREAM"))?;
            let found = socket.call_method1(intern!(py, "getaddrinfo"), (host.as_str(), port, 0, kind));
            addresses(py, &host, found)
        }
        other => Ok(match backend::call(py, other) {
            Ok(Called::Answer(answer)) => answer,
            Ok(Called::Returned(value, call)) => call.answer(&value, false),
            Err(_) => Answer::Failed(mismatch()),
        }),
    }
}

/// What `getaddrinfo` found, or why it found nothing.
pub fn addresses(py: Python<'_>, host: &str, found: PyResult<Bound<'_, PyAny>>) -> PyResult<Answer> {
    let failed = |error: PyErr| {
        let message = format!("resolving {host} failed: {}", error.value(py));
        Answer::Failed(Error::new(Kind::ConnectError, message).with_source(error))
    };
    match found {
        Ok(found) => Ok(Answer::Addresses(socket_addresses(&found)?)),
        // UnicodeError: a label that is empty or too long.
        Err(error)
            if error.is_instance_of::<PyOSError>(py)
                || error.is_instance_of::<pyo3::exceptions::PyUnicodeError>(py) =>
        {
            Ok(failed(error))
        }
        Err(error) => Err(error),
    }
}

fn socket_addresses(found: &Bound<'_, PyAny>) -> PyResult<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for entry in found.try_iter()? {
        let sockaddr = entry?.get_item(4)?;
        let host = sockaddr.get_item(0)?;
        // Families other than the two of IP have no string here.
        let Ok(host) = host.extract::<String>() else { continue };
        let port: u16 = sockaddr.get_item(1)?.extract()?;
        let (host, scope) = host.split_once('%').unwrap_or((&host, ""));
        let Ok(mut address) = format!("{}:{port}", bracketed(host)).parse::<SocketAddr>() else { continue };
        if let SocketAddr::V6(address) = &mut address {
            let scope_id = sockaddr.get_item(3).and_then(|id| id.extract()).unwrap_or(0);
            address.set_scope_id(if scope_id == 0 { scope.parse().unwrap_or(0) } else { scope_id });
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[test]
    fn a_panic_becomes_an_error() {
        let future = async { panic!("at the disco") };
        let mut future = pin!(future);
        let future: Pin<&mut (dyn Future<Output = Result<()>> + Send)> = future.as_mut();
        match poll_caught(future, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), Kind::Internal);
                assert!(error.message().contains("at the disco"));
            }
            other => panic!("{other:?}"),
        }
    }
}

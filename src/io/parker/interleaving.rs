//! All interleavings of a thread that sleeps and of threads that wake it: no wake-up is lost.
//!
//! The parker and the notifier are the real ones; a step is one of their atomic operations. The scheduler tries every order.

use std::collections::HashSet;

use std::time::Duration;

use super::*;
use crate::io::sys::PollSet;

/// Threads that wake the sleeper once each, after something has happened.
const WAKERS: usize = 2;

/// The next step of the thread that sleeps, as in [`Parker::sleep`] between two polls of its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SleeperStep {
    Reset,
    /// Looks for what has happened: its future's poll.
    Look,
    SetSleeper,
    AskWhetherWoken,
    /// In `poll(2)`.
    Sleep,
    ReadNotifier,
    UnmarkNotifier,
    Done,
}

/// The next step of a thread that wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum WakerStep {
    Happen,
    MarkWoken,
    TakeSleeper,
    MarkNotifier,
    WriteNotifier,
    Done,
}

struct SleepSimulation {
    parker: Parker,
    notifier: Arc<Notifier>,
    sleeper: SleeperStep,
    wakers: [WakerStep; WAKERS],
    happened: usize,
    /// Wakers end the sleep first and mark the parker as woken last, which is wrong.
    marks_last: bool,
}

impl SleepSimulation {
    fn after(path: &[usize], marks_last: bool) -> Self {
        let mut simulation = Self {
            parker: Parker::default(),
            notifier: Arc::new(Notifier::new().expect("a pipe")),
            sleeper: SleeperStep::Reset,
            wakers: [WakerStep::Happen; WAKERS],
            happened: 0,
            marks_last,
        };
        for &thread in path {
            simulation.step(thread);
        }
        simulation
    }

    /// Returns whether `poll(2)` would return.
    fn is_notified(&self) -> bool {
        let mut set = PollSet::with_capacity(1);
        set.add_wake_pair(self.notifier.wake_pair());
        set.wait(Some(Duration::ZERO)).is_ok_and(|is_polled| is_polled && set.readiness(0).readable)
    }

    /// The threads that can run; the last one is the sleeper.
    fn runnable(&self) -> Vec<usize> {
        let can_run = |&thread: &usize| match self.wakers.get(thread) {
            Some(step) => *step != WakerStep::Done,
            None => match self.sleeper {
                SleeperStep::Done => false,
                SleeperStep::Sleep => self.is_notified(),
                _ => true,
            },
        };
        (0..=WAKERS).filter(can_run).collect()
    }

    fn step(&mut self, thread: usize) {
        match self.wakers.get(thread) {
            Some(&step) => self.wakers[thread] = self.step_of_waker(step),
            None => self.sleeper = self.step_of_sleeper(),
        }
    }

    fn step_of_sleeper(&self) -> SleeperStep {
        match self.sleeper {
            SleeperStep::Reset => {
                self.parker.reset();
                SleeperStep::Look
            }
            SleeperStep::Look if self.happened == WAKERS => SleeperStep::Done,
            SleeperStep::Look => SleeperStep::SetSleeper,
            SleeperStep::SetSleeper => {
                self.parker.wake_through(Arc::clone(&self.notifier));
                SleeperStep::AskWhetherWoken
            }
            SleeperStep::AskWhetherWoken if self.parker.is_woken() => SleeperStep::Reset,
            SleeperStep::AskWhetherWoken => SleeperStep::Sleep,
            SleeperStep::Sleep => SleeperStep::ReadNotifier,
            SleeperStep::ReadNotifier => {
                self.notifier.read(&mut [0; 64]);
                SleeperStep::UnmarkNotifier
            }
            SleeperStep::UnmarkNotifier => {
                self.notifier.unmark();
                SleeperStep::Reset
            }
            SleeperStep::Done => SleeperStep::Done,
        }
    }

    fn step_of_waker(&mut self, step: WakerStep) -> WakerStep {
        match step {
            WakerStep::Happen => {
                self.happened += 1;
                if self.marks_last { WakerStep::TakeSleeper } else { WakerStep::MarkWoken }
            }
            WakerStep::MarkWoken => {
                self.parker.mark_woken();
                if self.marks_last { WakerStep::Done } else { WakerStep::TakeSleeper }
            }
            WakerStep::TakeSleeper if self.parker.take_sleeper().is_some() => WakerStep::MarkNotifier,
            WakerStep::MarkNotifier if self.notifier.mark() => WakerStep::WriteNotifier,
            WakerStep::WriteNotifier => {
                self.notifier.write();
                self.after_notification()
            }
            WakerStep::TakeSleeper | WakerStep::MarkNotifier => self.after_notification(),
            WakerStep::Done => WakerStep::Done,
        }
    }

    fn after_notification(&self) -> WakerStep {
        if self.marks_last { WakerStep::MarkWoken } else { WakerStep::Done }
    }

    /// All that decides what can happen from here on. Taking it apart changes it: the simulation is not used any more.
    fn state(self) -> String {
        let (is_notified, is_woken) = (self.is_notified(), self.parker.is_woken());
        let is_sleeper_set = self.parker.take_sleeper().is_some();
        let is_marked = !self.notifier.mark();
        let Self { sleeper, wakers, happened, .. } = self;
        format!("{sleeper:?} {wakers:?} {happened} {is_notified} {is_woken} {is_sleeper_set} {is_marked}")
    }
}

/// Tries every order. Returns the number of states, or the first order that leaves the thread asleep.
fn explore(marks_last: bool) -> std::result::Result<usize, String> {
    let mut seen = HashSet::new();
    let mut paths: Vec<Vec<usize>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let simulation = SleepSimulation::after(&path, marks_last);
        let (runnable, is_over) = (simulation.runnable(), simulation.sleeper == SleeperStep::Done);
        let state = simulation.state();
        if !is_over && runnable.is_empty() {
            return Err(format!("the thread sleeps for ever after {path:?}: {state}"));
        }
        if seen.insert(state) {
            paths.extend(runnable.into_iter().map(|thread| [path.as_slice(), &[thread]].concat()));
        }
    }
    Ok(seen.len())
}

#[test]
fn no_wake_up_is_lost_whatever_the_order() {
    assert!(explore(false).expect("no order loses a wake-up") > 100);
}

#[test]
fn a_parker_that_is_marked_too_late_loses_wake_ups() {
    assert!(explore(true).is_err(), "the simulation finds what is wrong");
}

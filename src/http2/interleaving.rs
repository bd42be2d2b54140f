//! All interleavings of threads that share a connection, step by step: no response lies unread while its thread sleeps.
//!
//! Each thread is an exchange as [`super::access`] runs it. Its steps are what a lock makes atomic: poll (read what has arrived,
//! look for the own response), register for the sleep, sleep, leave, wake the successor. The scheduler tries every order of the
//! steps of all threads and of the arrivals from the server.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::leader_followers::{LeaderFollowers, WaitRegistration};
use crate::io::strand::set_strand;

/// A waker that remembers a wake-up until the thread begins its next poll, as a `Parker` does.
#[derive(Default)]
struct ExchangeFlag(AtomicBool);

impl Wake for ExchangeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The position of a thread in its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ThreadStep {
    Poll,
    Register,
    /// Asleep on the socket and its waker, or on its waker alone.
    Asleep {
        leads: bool,
    },
    Leave,
    /// The successor that was chosen is not woken yet.
    WakeSuccessor,
    Done,
}

struct SimulatedThread {
    step: ThreadStep,
    registration: WaitRegistration,
    wake_flag: Arc<ExchangeFlag>,
    successor: Option<Waker>,
    /// Its response was read, by whichever thread.
    has_response: bool,
    /// Its stream's waker, which h2 calls when the response was read.
    is_listening: bool,
    gives_up: bool,
}

/// The threads, the connection and the server.
struct Simulation {
    shared: LeaderFollowers,
    threads: Vec<SimulatedThread>,
    /// Responses that have not been sent yet, in their order.
    to_arrive: Vec<usize>,
    /// Responses in the socket.
    unread: Vec<usize>,
    /// The successor of a leader is not woken, which is wrong.
    forgets_successors: bool,
}

/// One step of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextMove {
    Thread(usize),
    Arrive,
    /// A thread that is asleep gives up (a timeout): it is polled again and leaves.
    GiveUp(usize),
}

impl Simulation {
    fn new(order: &[usize], may_give_up: bool) -> Self {
        let thread = |_| SimulatedThread {
            step: ThreadStep::Poll,
            registration: WaitRegistration::default(),
            wake_flag: Arc::default(),
            successor: None,
            has_response: false,
            is_listening: false,
            gives_up: may_give_up,
        };
        Self {
            shared: LeaderFollowers::default(),
            threads: (0..order.len()).map(thread).collect(),
            to_arrive: order.to_vec(),
            unread: Vec::new(),
            forgets_successors: false,
        }
    }

    /// The moves that are possible now.
    fn moves(&self) -> Vec<NextMove> {
        let mut moves = Vec::new();
        for (number, thread) in self.threads.iter().enumerate() {
            let is_woken = thread.wake_flag.0.load(Ordering::Relaxed);
            let can_run = match thread.step {
                ThreadStep::Asleep { leads } => is_woken || (leads && !self.unread.is_empty()),
                ThreadStep::Done => false,
                _ => true,
            };
            if can_run {
                moves.push(NextMove::Thread(number));
            }
            if thread.gives_up && matches!(thread.step, ThreadStep::Asleep { .. }) && number == 0 {
                moves.push(NextMove::GiveUp(number));
            }
        }
        if !self.to_arrive.is_empty() {
            moves.push(NextMove::Arrive);
        }
        moves
    }

    fn apply(&mut self, next: NextMove) {
        match next {
            NextMove::Arrive => self.unread.push(self.to_arrive.remove(0)),
            NextMove::GiveUp(number) => self.threads[number].step = ThreadStep::Leave,
            NextMove::Thread(number) => self.run(number),
        }
    }

    fn run(&mut self, number: usize) {
        set_strand(number as u64 + 1);
        match self.threads[number].step {
            ThreadStep::Poll => self.poll(number),
            ThreadStep::Register => {
                let thread = &mut self.threads[number];
                let waker = Waker::from(Arc::clone(&thread.wake_flag));
                let leads = self.shared.sleep(&mut thread.registration, &waker);
                thread.step = ThreadStep::Asleep { leads };
            }
            ThreadStep::Asleep { .. } => self.threads[number].step = ThreadStep::Poll,
            ThreadStep::Leave => {
                let thread = &mut self.threads[number];
                thread.successor = self.shared.leave(&mut thread.registration);
                thread.step = ThreadStep::WakeSuccessor;
            }
            ThreadStep::WakeSuccessor => {
                if let Some(successor) = self.threads[number].successor.take()
                    && !self.forgets_successors
                {
                    successor.wake();
                }
                self.threads[number].step = ThreadStep::Done;
            }
            ThreadStep::Done => {}
        }
        set_strand(0);
    }

    /// Reads what has arrived, wakes the threads whose responses that were, and looks for the own one.
    fn poll(&mut self, number: usize) {
        self.threads[number].wake_flag.0.store(false, Ordering::Relaxed);
        for response in std::mem::take(&mut self.unread) {
            let owner = &mut self.threads[response];
            owner.has_response = true;
            if std::mem::take(&mut owner.is_listening) {
                Waker::from(Arc::clone(&owner.wake_flag)).wake();
            }
        }
        let thread = &mut self.threads[number];
        thread.is_listening = !thread.has_response;
        thread.step = if thread.has_response { ThreadStep::Leave } else { ThreadStep::Register };
    }

    /// All that decides what can happen from here on.
    fn state(&self) -> String {
        let threads: Vec<_> = self
            .threads
            .iter()
            .map(|thread| {
                (
                    thread.step,
                    thread.wake_flag.0.load(Ordering::Relaxed),
                    thread.has_response,
                    thread.is_listening,
                    thread.successor.as_ref().map(|waker| self.owner(waker)),
                )
            })
            .collect();
        let leader = self.shared.leader().map(|waker| self.owner(&waker));
        let followers: Vec<_> = self.shared.followers().map(|waker| self.owner(waker)).collect();
        format!("{threads:?} {leader:?} {followers:?} {:?} {:?}", self.to_arrive, self.unread)
    }

    fn owner(&self, waker: &Waker) -> Option<usize> {
        self.threads.iter().position(|thread| waker.will_wake(&Waker::from(Arc::clone(&thread.wake_flag))))
    }
}

/// Tries every order. Returns the number of states, or the first order that leaves all threads asleep.
fn explore(order: &[usize], may_give_up: bool, forgets_successors: bool) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut paths: Vec<Vec<NextMove>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let mut simulation = Simulation::new(order, may_give_up);
        simulation.forgets_successors = forgets_successors;
        for &next in &path {
            simulation.apply(next);
        }
        if !seen.insert(simulation.state()) {
            continue;
        }
        let moves = simulation.moves();
        let is_over = simulation.threads.iter().all(|thread| thread.step == ThreadStep::Done);
        // A timeout is no way out: it may come late.
        let can_go_on = moves.iter().any(|next| !matches!(next, NextMove::GiveUp(_)));
        if !is_over && !can_go_on {
            return Err(format!("all threads sleep after {path:?}: {}", simulation.state()));
        }
        paths.extend(moves.into_iter().map(|next| [path.as_slice(), &[next]].concat()));
    }
    Ok(seen.len())
}

#[test]
fn every_response_is_read_whatever_the_order() {
    for order in [&[0, 1][..], &[1, 0], &[0, 1, 2], &[2, 1, 0], &[1, 2, 0], &[1, 0, 2]] {
        assert!(explore(order, false, false).expect("each thread gets its response") > 50);
    }
}

#[test]
fn a_thread_that_gives_up_leaves_the_others_a_leader() {
    for order in [&[0, 1][..], &[1, 0], &[2, 1, 0], &[1, 2, 0]] {
        assert!(explore(order, true, false).expect("the other threads get their responses") > 50);
    }
}

#[test]
fn a_successor_that_is_not_woken_sleeps_for_ever() {
    assert!(explore(&[0, 1], false, true).is_err(), "the simulation finds what is wrong");
}

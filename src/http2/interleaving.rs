//! All interleavings of threads that share a connection, step by step: no request lies unsent and no response unread while its thread
//! sleeps.
//!
//! Each thread is an exchange as [`super::access`] runs it, with one request and one response. Its steps are what a lock or an atomic
//! variable makes atomic. The scheduler tries every order of the steps of all threads, of the answers of the server, and of the moment
//! from which the socket can be written to. The order of memory accesses is not simulated.

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

/// The next step of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Gives h2 its request.
    Request,
    /// Takes the protocol's lock, or leaves the poll to its owner.
    TryLock,
    Lock,
    /// Marks h2's waker as not dirty, and polls h2.
    MarkPolled,
    Poll,
    Unlock,
    /// Looks for the response.
    Look,
    /// Looks whether there is more to do, and otherwise registers for the sleep.
    LookForMore,
    Register,
    /// Looks again, as the leader.
    LookAgain,
    Sleep,
    /// Polls once more if there is something to send.
    SendRest,
    Leave,
    WakeSuccessor,
    /// Looks whether there is something that the leader has to do.
    LookForLeader,
    WakeLeader,
    /// Drops h2's handles on a stream that is complete: h2 calls its waker, with nothing to do.
    DropHandles,
    /// Drops those on a stream that is not.
    Reset,
    Done,
}

/// The part of the rules that is left out, which is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Omission {
    Nothing,
    SuccessorIsNotWoken,
    /// The owner of the lock does not look for what was left to it.
    OwnerLooksForNothing,
    LeaderLooksOnce,
    /// A thread that has locked the protocol without a poll passes nothing on.
    OnlookerPassesNothingOn,
    /// The leader does not wait for the socket to become writable.
    LeaderOnlyReads,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a variable of its own in the code that is simulated")]
struct SimulatedThread {
    step: Step,
    /// The step after h2 was polled, or the poll was left to another thread.
    after_poll: Step,
    /// The step after the leader was woken, or was found to need nothing.
    after_wake_leader: Step,
    registration: WaitRegistration,
    wake_flag: Arc<ExchangeFlag>,
    successor: Option<Waker>,
    is_delegated: bool,
    /// It is polled because it was woken: the response is looked for before h2 is polled.
    steps_first: bool,
    leads: bool,
    waits_to_write: bool,
    has_response: bool,
    /// Its stream's waker, which h2 calls when the response was read.
    is_listening: bool,
    /// It locks the protocol once, without a poll, and has no exchange.
    is_onlooker: bool,
}

impl SimulatedThread {
    /// The step that begins a poll of h2.
    fn begin_poll(&self) -> Step {
        if self.registration.is_leader() { Step::Lock } else { Step::TryLock }
    }
}

/// The threads, the connection and the server.
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of its own in the code that is simulated")]
struct Simulation {
    scenario: Scenario,
    omission: Omission,
    leader_followers: LeaderFollowers,
    threads: Vec<SimulatedThread>,
    is_locked: bool,
    is_dirty: bool,
    /// h2 has the connection's waker, which it calls once.
    is_armed: bool,
    /// Frames that h2 has not written yet, those that the socket has not accepted yet, and requests that the server has.
    queued: Vec<usize>,
    unsent: Vec<usize>,
    unanswered: Vec<usize>,
    is_writable: bool,
    is_write_blocked: bool,
    /// Responses in the socket, and those that TLS holds back: a poll takes one of them.
    unread: Vec<usize>,
    held_back: Vec<usize>,
}

/// One step of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextMove {
    Thread(usize),
    Answer(usize),
    MakeWritable,
    /// A thread that is asleep gives up (a timeout).
    GiveUp(usize),
}

/// The frame by which an exchange is reset.
const RESET: usize = usize::MAX;

/// The state before the first step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Nothing,
    /// The first exchange is about to sleep. Its response comes when all others have ended.
    FirstWaits,
    /// The same, and the response of the second one has arrived.
    SecondIsAnswered,
}

#[derive(Clone, Copy)]
struct Scenario {
    exchanges: usize,
    onlookers: usize,
    is_writable: bool,
    may_give_up: bool,
    begins: Beginning,
}

impl Simulation {
    fn new(scenario: Scenario, omission: Omission) -> Self {
        let thread = |number| SimulatedThread {
            step: if number < scenario.exchanges { Step::Request } else { Step::Lock },
            after_poll: Step::Look,
            after_wake_leader: Step::Done,
            registration: WaitRegistration::default(),
            wake_flag: Arc::default(),
            successor: None,
            is_delegated: false,
            steps_first: false,
            leads: false,
            waits_to_write: false,
            has_response: false,
            is_listening: false,
            is_onlooker: number >= scenario.exchanges,
        };
        let mut threads: Vec<_> = (0..scenario.exchanges + scenario.onlookers).map(thread).collect();
        let (mut unanswered, mut unread) = (Vec::new(), Vec::new());
        if scenario.begins != Beginning::Nothing {
            threads[0].step = Step::LookForMore;
            threads[0].is_listening = true;
            unanswered.push(0);
        }
        if scenario.begins == Beginning::SecondIsAnswered {
            threads[1].step = Step::TryLock;
            unread.push(1);
        }
        Self {
            scenario,
            omission,
            leader_followers: LeaderFollowers::default(),
            threads,
            is_locked: false,
            is_dirty: false,
            is_armed: true,
            queued: Vec::new(),
            unsent: Vec::new(),
            unanswered,
            is_writable: scenario.is_writable,
            is_write_blocked: false,
            unread,
            held_back: Vec::new(),
        }
    }

    /// The moves that are possible now.
    fn moves(&self) -> Vec<NextMove> {
        let mut moves = Vec::new();
        for (number, thread) in self.threads.iter().enumerate() {
            let can_run = match thread.step {
                Step::Sleep => {
                    thread.wake_flag.0.load(Ordering::Relaxed)
                        || (thread.leads && !self.unread.is_empty())
                        || (thread.waits_to_write && self.is_writable)
                }
                Step::Lock => !self.is_locked,
                Step::Done => false,
                _ => true,
            };
            if can_run {
                moves.push(NextMove::Thread(number));
            }
            if self.scenario.may_give_up && thread.step == Step::Sleep && number == 0 {
                moves.push(NextMove::GiveUp(number));
            }
        }
        let others = &self.threads[1..];
        let is_first_due =
            self.scenario.begins == Beginning::Nothing || others.iter().all(|thread| thread.step == Step::Done);
        let answered = self.unanswered.iter().filter(|&&request| request > 0 || is_first_due);
        moves.extend(answered.map(|&request| NextMove::Answer(request)));
        if !self.is_writable {
            moves.push(NextMove::MakeWritable);
        }
        moves
    }

    fn apply(&mut self, next: NextMove) {
        match next {
            NextMove::Answer(request) => {
                self.unanswered.retain(|&other| other != request);
                self.unread.push(request);
            }
            NextMove::MakeWritable => self.is_writable = true,
            NextMove::GiveUp(number) => self.threads[number].step = Step::Reset,
            NextMove::Thread(number) => {
                set_strand(number as u64 + 1);
                let next = self.run(number);
                self.threads[number].step = next;
                set_strand(0);
            }
        }
    }

    fn has_more(&self) -> bool {
        self.is_dirty || !self.held_back.is_empty()
    }

    /// Gives h2 a frame to send, or only something to note.
    fn tell_h2(&mut self, frame: Option<usize>) {
        self.queued.extend(frame);
        self.is_dirty |= std::mem::take(&mut self.is_armed);
    }

    /// Runs one step of a thread and returns the next one.
    fn run(&mut self, number: usize) -> Step {
        match self.threads[number].step {
            step @ (Step::TryLock | Step::Lock | Step::MarkPolled | Step::Poll | Step::Unlock) => {
                self.run_poll(number, step)
            }
            step @ (Step::Look | Step::LookForMore | Step::Register | Step::LookAgain | Step::Sleep) => {
                self.run_wait(number, step)
            }
            step => self.run_begin_or_end(number, step),
        }
    }

    fn run_poll(&mut self, number: usize, step: Step) -> Step {
        let thread = &mut self.threads[number];
        match step {
            Step::TryLock if self.is_locked => {
                thread.is_delegated = true;
                thread.after_poll
            }
            Step::TryLock | Step::Lock => {
                thread.is_delegated = false;
                self.is_locked = true;
                if thread.is_onlooker { Step::Unlock } else { Step::MarkPolled }
            }
            Step::MarkPolled => {
                self.is_dirty = false;
                Step::Poll
            }
            Step::Poll => {
                self.poll(number);
                if self.is_dirty && self.held_back.is_empty() { Step::MarkPolled } else { Step::Unlock }
            }
            _ => {
                self.is_locked = false;
                match thread.is_onlooker {
                    true if self.omission == Omission::OnlookerPassesNothingOn => Step::Done,
                    true => Step::LookForLeader,
                    false => thread.after_poll,
                }
            }
        }
    }

    fn run_wait(&mut self, number: usize, step: Step) -> Step {
        let (has_more, omission) = (self.has_more(), self.omission);
        let thread = &mut self.threads[number];
        match step {
            Step::Look => {
                thread.is_listening = !thread.has_response;
                match (thread.has_response, std::mem::take(&mut thread.steps_first)) {
                    (true, _) => Step::SendRest,
                    (false, true) => thread.begin_poll(),
                    (false, false) => Step::LookForMore,
                }
            }
            Step::LookForMore => {
                let looks = !thread.is_delegated && omission != Omission::OwnerLooksForNothing;
                if looks && has_more { thread.begin_poll() } else { Step::Register }
            }
            Step::Register => {
                let waker = Waker::from(Arc::clone(&thread.wake_flag));
                thread.leads = self.leader_followers.sleep(&mut thread.registration, &waker);
                thread.waits_to_write |= thread.leads && self.is_write_blocked && omission != Omission::LeaderOnlyReads;
                Step::LookAgain
            }
            Step::LookAgain => {
                let looks = thread.leads && omission != Omission::LeaderLooksOnce;
                if looks && (thread.is_delegated || has_more) { Step::Lock } else { Step::Sleep }
            }
            _ => {
                thread.wake_flag.0.store(false, Ordering::Relaxed);
                thread.waits_to_write = false;
                thread.steps_first = thread.registration.is_follower();
                if thread.steps_first { Step::Look } else { thread.begin_poll() }
            }
        }
    }

    fn run_begin_or_end(&mut self, number: usize, step: Step) -> Step {
        let (has_more, omission) = (self.has_more() && self.omission != Omission::OwnerLooksForNothing, self.omission);
        let thread = &mut self.threads[number];
        match step {
            Step::Request => {
                self.tell_h2(Some(number));
                Step::TryLock
            }
            Step::SendRest => {
                thread.after_poll = Step::Leave;
                thread.after_wake_leader = Step::DropHandles;
                if self.is_dirty { Step::TryLock } else { Step::Leave }
            }
            Step::Leave => {
                thread.successor = self.leader_followers.leave(&mut thread.registration);
                Step::WakeSuccessor
            }
            Step::WakeSuccessor => {
                let successor = thread.successor.take().filter(|_| omission != Omission::SuccessorIsNotWoken);
                successor.into_iter().for_each(Waker::wake);
                if thread.after_wake_leader == Step::DropHandles { Step::LookForLeader } else { Step::Done }
            }
            Step::LookForLeader if has_more || self.is_write_blocked => Step::WakeLeader,
            Step::LookForLeader => thread.after_wake_leader,
            Step::WakeLeader => {
                self.leader_followers.leader().into_iter().for_each(Waker::wake);
                thread.after_wake_leader
            }
            Step::DropHandles => {
                self.tell_h2(None);
                Step::Done
            }
            Step::Reset => {
                thread.after_poll = Step::LookForLeader;
                thread.after_wake_leader = Step::Leave;
                self.tell_h2(Some(RESET));
                Step::Lock
            }
            _ => Step::Done,
        }
    }

    /// Writes what is queued, reads a response, and wakes the thread whose response that is.
    fn poll(&mut self, number: usize) {
        self.held_back.append(&mut self.unread);
        if !self.held_back.is_empty() {
            let owner = &mut self.threads[self.held_back.remove(0)];
            owner.has_response = true;
            if std::mem::take(&mut owner.is_listening) {
                Waker::from(Arc::clone(&owner.wake_flag)).wake();
            }
        }
        self.unsent.append(&mut self.queued);
        self.is_write_blocked = !self.unsent.is_empty() && !self.is_writable;
        self.threads[number].waits_to_write |= self.is_write_blocked;
        if !self.is_write_blocked {
            self.unanswered.extend(self.unsent.drain(..).filter(|&frame| frame != RESET));
        }
        self.is_armed = true;
    }

    /// All that decides what can happen from here on.
    fn state(&self) -> String {
        let threads: Vec<_> = self
            .threads
            .iter()
            .map(|thread| {
                let flags = [
                    thread.wake_flag.0.load(Ordering::Relaxed),
                    thread.is_delegated,
                    thread.steps_first,
                    thread.leads,
                    thread.waits_to_write,
                    thread.has_response,
                    thread.is_listening,
                    thread.registration.is_leader(),
                    thread.registration.is_follower(),
                ];
                let successor = thread.successor.as_ref().map(|waker| self.owner(waker));
                (thread.step, thread.after_poll, thread.after_wake_leader, flags.map(u8::from), successor)
            })
            .collect();
        let leader = self.leader_followers.leader().map(|waker| self.owner(&waker));
        let followers: Vec<_> = self.leader_followers.followers().map(|waker| self.owner(waker)).collect();
        let flags = [self.is_locked, self.is_dirty, self.is_armed, self.is_writable, self.is_write_blocked];
        let frames = (&self.queued, &self.unsent, &self.unanswered, &self.unread, &self.held_back);
        format!("{threads:?} {leader:?} {followers:?} {flags:?} {frames:?}")
    }

    fn owner(&self, waker: &Waker) -> Option<usize> {
        self.threads.iter().position(|thread| waker.will_wake(&Waker::from(Arc::clone(&thread.wake_flag))))
    }
}

/// Tries every order. Returns the number of states, or the first order that leaves all threads asleep.
fn explore(scenario: Scenario, omission: Omission) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut paths: Vec<Vec<NextMove>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let mut simulation = Simulation::new(scenario, omission);
        for &next in &path {
            simulation.apply(next);
        }
        if !seen.insert(simulation.state()) {
            continue;
        }
        let moves = simulation.moves();
        let is_over = simulation.threads.iter().all(|thread| thread.step == Step::Done);
        // A timeout is no way out: it may come late.
        let can_go_on = moves.iter().any(|next| !matches!(next, NextMove::GiveUp(_)));
        if (!is_over && !can_go_on) || (is_over && !simulation.queued.is_empty()) {
            return Err(format!("nothing can happen after {path:?}: {}", simulation.state()));
        }
        paths.extend(moves.into_iter().map(|next| [path.as_slice(), &[next]].concat()));
    }
    Ok(seen.len())
}

const TWO: Scenario =
    Scenario { exchanges: 2, onlookers: 0, is_writable: true, may_give_up: false, begins: Beginning::Nothing };
const BLOCKED: Scenario = Scenario { is_writable: false, ..TWO };
const LOOKED_AT: Scenario = Scenario { onlookers: 1, begins: Beginning::FirstWaits, ..TWO };
const THREE: Scenario = Scenario { exchanges: 3, begins: Beginning::SecondIsAnswered, ..TWO };

#[test]
fn every_response_is_read_whatever_the_order() {
    for scenario in [TWO, BLOCKED, LOOKED_AT, Scenario { onlookers: 1, ..TWO }, THREE] {
        let states = explore(scenario, Omission::Nothing).expect("each thread gets its response");
        assert!(states > 1000, "{states}");
    }
}

#[test]
fn a_thread_that_gives_up_leaves_the_others_a_leader() {
    for scenario in [TWO, BLOCKED, LOOKED_AT] {
        let scenario = Scenario { may_give_up: true, ..scenario };
        let states = explore(scenario, Omission::Nothing).expect("the other thread gets its response");
        assert!(states > 1000, "{states}");
    }
}

#[test]
fn the_simulation_finds_what_is_wrong() {
    for (scenario, omission) in [
        (TWO, Omission::SuccessorIsNotWoken),
        (TWO, Omission::OwnerLooksForNothing),
        (TWO, Omission::LeaderLooksOnce),
        (LOOKED_AT, Omission::OnlookerPassesNothingOn),
        (Scenario { is_writable: false, ..THREE }, Omission::LeaderOnlyReads),
    ] {
        assert!(explore(scenario, omission).is_err(), "{omission:?}");
    }
}

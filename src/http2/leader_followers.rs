//! Who sleeps on the socket of a connection that threads share.
//!
//! The leader does. The others wait for what somebody reads for them, and when the leader has what it came for, the lead falls to
//! one of them: nobody waits for somebody else's long poll, and nobody's response lies unread.
//!
//! A thread never follows itself: an exchange that a signal handler begins in the middle of another one leads in its stead.

use crate::io::external::PendingIo;
use crate::io::strand::strand;
use std::collections::VecDeque;
use std::task::Waker;

#[derive(Default)]
pub struct LeaderFollowers {
    leader: Option<Leader>,
    followers: VecDeque<(u64, Waker)>,
    next_id: u64,
}

struct Leader {
    id: u64,
    /// The thread, or greenlet, that it runs on.
    strand: u64,
    waker: Waker,
}

/// One exchange's part in it.
#[derive(Default)]
pub struct WaitRegistration {
    id: u64,
    role: Role,
    /// What it has asked of a stream of the caller's.
    pub asked: PendingIo,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Awake,
    Leader,
    Follower,
}

impl LeaderFollowers {
    /// The exchange is going to sleep; whether it is the one that sleeps on the socket.
    pub fn sleep(&mut self, registration: &mut WaitRegistration, waker: &Waker) -> bool {
        self.number(registration);
        let here = strand();
        if self.leader.as_ref().is_none_or(|leader| leader.id == registration.id || leader.strand == here) {
            self.forget(registration);
            self.leader = Some(Leader { id: registration.id, strand: here, waker: waker.clone() });
            registration.role = Role::Leader;
            return true;
        }
        self.follow(registration, waker);
        false
    }

    /// Whoever sleeps on the socket.
    pub fn leader(&self) -> Option<Waker> {
        self.leader.as_ref().map(|leader| leader.waker.clone())
    }

    /// The exchange waits for what others do.
    pub fn follow(&mut self, registration: &mut WaitRegistration, waker: &Waker) {
        self.number(registration);
        match self.followers.iter_mut().find(|(id, _)| registration.role == Role::Follower && *id == registration.id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.followers.push_back((registration.id, waker.clone())),
        }
        registration.role = Role::Follower;
    }

    /// Whether anybody could be woken to do something.
    pub fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// The exchange does something for all, and cannot be woken before that is done.
    pub fn set_busy(&mut self, registration: &mut WaitRegistration) {
        self.forget(registration);
        registration.role = Role::Awake;
    }

    /// The exchange has what it came for, or has given up. If nobody leads now, whoever is to must be woken: also when it was this
    /// one that was woken to lead and had no need to.
    pub fn leave(&mut self, registration: &mut WaitRegistration) -> Option<Waker> {
        if self.leader.as_ref().is_some_and(|leader| leader.id == registration.id) {
            self.leader = None;
        }
        self.forget(registration);
        registration.role = Role::Awake;
        if self.leader.is_none() { self.pass_on() } else { None }
    }

    /// Somebody must be woken to do what the exchange does not do any more.
    pub fn pass_on(&mut self) -> Option<Waker> {
        self.followers.pop_front().map(|(_, waker)| waker)
    }

    fn number(&mut self, registration: &mut WaitRegistration) {
        if registration.id == 0 {
            self.next_id += 1;
            registration.id = self.next_id;
        }
    }

    fn forget(&mut self, registration: &WaitRegistration) {
        if registration.role == Role::Follower {
            self.followers.retain(|(id, _)| *id != registration.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_falls_to_the_one_who_has_waited_longest() {
        let (mut leader_followers, waker) = (LeaderFollowers::default(), Waker::noop());
        let [mut first, mut second, mut third] =
            [WaitRegistration::default(), WaitRegistration::default(), WaitRegistration::default()];
        assert!(leader_followers.sleep(&mut first, waker));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!leader_followers.sleep(&mut second, waker));
                assert!(!leader_followers.sleep(&mut third, waker));
            });
        });
        assert!(leader_followers.sleep(&mut first, waker), "a leader that was woken in vain leads on");
        assert!(leader_followers.leave(&mut first).is_some(), "the second is woken");
        assert!(leader_followers.leave(&mut second).is_some(), "which has what it came for, and so the third is");
        assert!(leader_followers.sleep(&mut third, waker));
        assert!(leader_followers.leave(&mut third).is_none());
    }

    #[test]
    fn nobody_who_is_busy_is_woken() {
        let (mut leader_followers, waker) = (LeaderFollowers::default(), Waker::noop());
        let [mut first, mut second] = [WaitRegistration::default(), WaitRegistration::default()];
        leader_followers.follow(&mut first, waker);
        leader_followers.follow(&mut second, waker);
        leader_followers.set_busy(&mut first);
        assert!(leader_followers.pass_on().is_some(), "the second");
        assert!(leader_followers.pass_on().is_none());
    }

    #[test]
    fn a_thread_does_not_follow_itself() {
        let (mut leader_followers, waker) = (LeaderFollowers::default(), Waker::noop());
        let [mut outer, mut inner] = [WaitRegistration::default(), WaitRegistration::default()];
        assert!(leader_followers.sleep(&mut outer, waker));
        assert!(leader_followers.sleep(&mut inner, waker));
        assert!(leader_followers.leave(&mut inner).is_none());
        assert!(leader_followers.sleep(&mut outer, waker));
    }
}

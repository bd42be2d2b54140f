//! Which thread sleeps on the socket of a connection that threads share: the leader/followers pattern (Schmidt et al., POSA 2).
//!
//! 1. The leader sleeps on the socket, and reads for all. The followers sleep on their wakers until what they wait for has been read.
//! 2. When the leader's exchange ends, the follower that has waited longest is woken, and leads from then on. So no exchange waits for
//!    the response of another one, and no response stays unread.
//! 3. An exchange does not follow a leader on its own strand: it was begun by a signal handler in the middle of that leader's wait, and
//!    leads in its place.
//!
//! Over an external stream there is no leader. An exchange that reads or writes such a stream is busy: it cannot be woken before that
//! has ended. The others are followers.

use std::collections::VecDeque;
use std::task::Waker;

use crate::io::external::PendingIo;
use crate::io::strand::strand;

#[derive(Default)]
pub struct LeaderFollowers {
    leader: Option<Leader>,
    /// In the order in which they began to wait.
    followers: VecDeque<(u64, Waker)>,
    last_id: u64,
}

struct Leader {
    id: u64,
    strand: u64,
    waker: Waker,
}

/// One exchange's part in the pattern.
#[derive(Default)]
pub struct WaitRegistration {
    /// 0 before the exchange waits for the first time.
    id: u64,
    role: Role,
    /// The read or write that the exchange has requested of the external stream.
    pub pending_io: PendingIo,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Awake,
    Leader,
    Follower,
}

impl WaitRegistration {
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// Returns whether the exchange slept as a follower.
    pub fn is_follower(&self) -> bool {
        self.role == Role::Follower
    }
}

impl LeaderFollowers {
    /// Registers an exchange that is going to sleep. Returns whether it is the leader.
    pub fn sleep(&mut self, registration: &mut WaitRegistration, waker: &Waker) -> bool {
        self.identify(registration);
        let here = strand();
        if self.leader.as_ref().is_none_or(|leader| leader.id == registration.id || leader.strand == here) {
            self.remove_follower(registration);
            self.leader = Some(Leader { id: registration.id, strand: here, waker: waker.clone() });
            registration.role = Role::Leader;
            return true;
        }
        self.follow(registration, waker);
        false
    }

    /// Returns the waker of the leader.
    pub fn leader(&self) -> Option<Waker> {
        self.leader.as_ref().map(|leader| leader.waker.clone())
    }

    /// Registers an exchange as a follower.
    pub fn follow(&mut self, registration: &mut WaitRegistration, waker: &Waker) {
        self.identify(registration);
        match self.followers.iter_mut().find(|(id, _)| registration.role == Role::Follower && *id == registration.id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.followers.push_back((registration.id, waker.clone())),
        }
        registration.role = Role::Follower;
    }

    #[cfg(test)]
    pub fn followers(&self) -> impl Iterator<Item = &Waker> {
        self.followers.iter().map(|(_, waker)| waker)
    }

    /// Returns whether there is a follower that could be woken.
    pub fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Registers an exchange that reads or writes the external stream, and cannot be woken meanwhile.
    pub fn set_busy(&mut self, registration: &mut WaitRegistration) {
        self.remove_follower(registration);
        registration.role = Role::Awake;
    }

    /// Removes an exchange that has ended or was cancelled. Returns the waker of the next leader if there is none now, also if this
    /// exchange was itself woken to lead and no longer needs to.
    pub fn leave(&mut self, registration: &mut WaitRegistration) -> Option<Waker> {
        if self.leader.as_ref().is_some_and(|leader| leader.id == registration.id) {
            self.leader = None;
        }
        self.remove_follower(registration);
        registration.role = Role::Awake;
        if self.leader.is_none() { self.take_follower() } else { None }
    }

    /// Removes the follower that has waited longest and returns its waker: it takes over from the calling exchange.
    pub fn take_follower(&mut self) -> Option<Waker> {
        self.followers.pop_front().map(|(_, waker)| waker)
    }

    fn identify(&mut self, registration: &mut WaitRegistration) {
        if registration.id == 0 {
            self.last_id += 1;
            registration.id = self.last_id;
        }
    }

    fn remove_follower(&mut self, registration: &WaitRegistration) {
        if registration.role == Role::Follower {
            self.followers.retain(|(id, _)| *id != registration.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_follower_that_has_waited_longest_leads_next() {
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
        assert!(leader_followers.sleep(&mut first, waker), "a leader that was woken for nothing still leads");
        assert!(leader_followers.leave(&mut first).is_some(), "the second is woken");
        assert!(leader_followers.leave(&mut second).is_some(), "the second ends as well, so that the third is woken");
        assert!(leader_followers.sleep(&mut third, waker));
        assert!(leader_followers.leave(&mut third).is_none());
    }

    #[test]
    fn an_exchange_that_is_busy_is_not_woken() {
        let (mut leader_followers, waker) = (LeaderFollowers::default(), Waker::noop());
        let [mut first, mut second] = [WaitRegistration::default(), WaitRegistration::default()];
        leader_followers.follow(&mut first, waker);
        leader_followers.follow(&mut second, waker);
        leader_followers.set_busy(&mut first);
        assert!(leader_followers.take_follower().is_some(), "the second");
        assert!(leader_followers.take_follower().is_none());
    }

    #[test]
    fn an_exchange_does_not_follow_its_own_strand() {
        let (mut leader_followers, waker) = (LeaderFollowers::default(), Waker::noop());
        let [mut outer, mut inner] = [WaitRegistration::default(), WaitRegistration::default()];
        assert!(leader_followers.sleep(&mut outer, waker));
        assert!(leader_followers.sleep(&mut inner, waker));
        assert!(leader_followers.leave(&mut inner).is_none());
        assert!(leader_followers.sleep(&mut outer, waker));
    }
}

//! Which other replicas there are, and whether every one of them tells us what it learns and hears it from us.
//!
//! That is asked before anything is said of a session's labels, either way: who may have missed one does not know which
//! there are, and what cannot be told to all is not passed on. Of two replicas the one that came later sees to the link:
//! it knows nothing before it has one to each that it is told of.
//!
//! A link is believed for [`REPLICA_LEASE`] only, counted from when that was sent which the other answered last: a process that
//! stood still may have been given up meanwhile, and finds a link that looks as it did.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::limits::{REPLICA_DOUBT, REPLICA_LEASE};

/// A process, as it calls itself.
pub(super) type Name = Box<str>;
/// Marks of one link that are not answered yet; of those that follow the time is not kept, which is to know less.
const MAX_MARKS: usize = 1_024;
/// Replicas that took their leave and are remembered.
const MAX_LEFT: usize = 64;

/// Who is there.
#[derive(Debug)]
pub(in crate::proxy) struct Roll {
    table: Mutex<Table>,
    /// Whether we take our leave.
    leaving: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Table {
    listed: Listed,
    /// What came of the last look at each place.
    places: HashMap<SocketAddr, Seen>,
    /// Who answered there last.
    answered: HashMap<SocketAddr, Name>,
    /// Who told us everything and took everything from us, once, or may have taken it.
    peers: HashMap<Name, Peer>,
    left: VecDeque<Name>,
}

/// Who is to be there.
#[derive(Debug, Default)]
enum Listed {
    /// That is not known, or not wholly.
    #[default]
    Unknown,
    /// Nobody whom we would look for.
    Nobody,
    Places(BTreeSet<SocketAddr>),
}

/// Who is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// We.
    Ourselves,
    /// Nobody: connections are refused.
    Nobody,
    /// It did not answer, or not as a replica does.
    Silent,
    /// Another replica.
    Peer(Name),
    /// One that took its leave.
    Left,
}

#[derive(Debug)]
struct Peer {
    /// Links by which either knows everything of the other.
    links: usize,
    /// When the last of them ended.
    lost: Instant,
    /// When that was sent which it answered last.
    confirmed: Instant,
}

impl Roll {
    pub(super) fn new() -> Self {
        Self { table: Mutex::default(), leaving: watch::Sender::new(false) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is nobody to look for.
    pub(super) fn alone(&self) {
        self.table().listed = Listed::Nobody;
    }

    /// Those are to be there; none where it is not known who.
    pub(super) fn list(&self, places: Option<&BTreeSet<SocketAddr>>) {
        let mut table = self.table();
        table.listed = places.map_or(Listed::Unknown, |places| Listed::Places(places.clone()));
        if let Some(places) = places {
            table.places.retain(|place, _| places.contains(place));
            table.answered.retain(|place, _| places.contains(place));
        }
    }

    /// Somebody, or nobody, was found at a place.
    pub(super) fn saw(&self, place: SocketAddr, seen: Seen) {
        let mut table = self.table();
        // Where another process answers, the one before it is gone. Where nobody does it may serve all the same, as it drains.
        if let Seen::Peer(now) = &seen
            && let Some(before) = table.answered.insert(place, now.clone()).filter(|before| before != now)
        {
            table.peers.remove(&before);
        }
        table.places.insert(place, seen);
    }

    /// A replica told us everything, and took everything from us, by one more link.
    fn joined(&self, name: &Name, confirmed: Instant) {
        let mut table = self.table();
        if !table.left.contains(name) {
            let peer = table.peers.entry(name.clone()).or_insert(Peer { links: 0, lost: confirmed, confirmed });
            peer.links += 1;
            peer.confirmed = peer.confirmed.max(confirmed);
        }
    }

    /// It answered what was sent then.
    fn confirmed(&self, name: &Name, sent: Instant) {
        if let Some(peer) = self.table().peers.get_mut(name) {
            peer.confirmed = peer.confirmed.max(sent);
        }
    }

    /// One such link ended.
    fn parted(&self, name: &Name) {
        if let Some(peer) = self.table().peers.get_mut(name) {
            peer.links = peer.links.saturating_sub(1);
            peer.lost = Instant::now();
        }
    }

    /// A link ended before it was known whether the other end took everything: it may serve with that, and believe that it
    /// is told on.
    fn doubted(&self, name: &Name) {
        let mut table = self.table();
        if !table.left.contains(name) {
            let lost = Instant::now();
            table.peers.entry(name.clone()).or_insert(Peer { links: 0, lost, confirmed: lost }).lost = lost;
        }
    }

    /// A replica took its leave: it serves nobody any more.
    fn left(&self, name: &Name) {
        let mut table = self.table();
        table.peers.remove(name);
        table
            .places
            .values_mut()
            .filter(|seen| matches!(seen, Seen::Peer(at) if at == name))
            .for_each(|seen| *seen = Seen::Left);
        if table.left.len() >= MAX_LEFT {
            table.left.pop_front();
        }
        table.left.push_back(name.clone());
    }

    /// Takes for gone who has been missing for so long.
    pub(super) fn give_up(&self) {
        self.table().peers.retain(|_, peer| peer.links > 0 || peer.lost.elapsed() < REPLICA_DOUBT);
    }

    /// Whether every replica that there is or may be tells us what it learns.
    pub(super) fn is_whole(&self) -> bool {
        self.table().is_whole()
    }

    /// Whether a link is there of which nothing was heard for too long: it is asked, and may answer in a moment.
    pub(super) fn is_stale(&self) -> bool {
        self.table().peers.values().any(|peer| peer.links > 0 && peer.is_stale())
    }

    /// For how long somebody is missing who was here and took no leave.
    pub(super) fn lost_for(&self) -> Duration {
        let table = self.table();
        let lost = table.peers.values().filter(|peer| peer.links == 0).map(|peer| peer.lost.elapsed());
        lost.max().unwrap_or_default()
    }

    /// Has every link say that we serve nobody any more.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Whether we take our leave.
    pub(super) fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }
}

impl Peer {
    fn is_stale(&self) -> bool {
        self.confirmed.elapsed() >= REPLICA_LEASE
    }
}

impl Table {
    fn is_whole(&self) -> bool {
        if self.peers.values().any(|peer| peer.links == 0 || peer.is_stale()) {
            return false;
        }
        let found = |place: &SocketAddr| match self.places.get(place) {
            None | Some(Seen::Silent) => false,
            Some(Seen::Ourselves | Seen::Nobody | Seen::Left) => true,
            Some(Seen::Peer(name)) => self.peers.get(name).is_some_and(|peer| peer.links > 0),
        };
        match &self.listed {
            Listed::Unknown => false,
            Listed::Nobody => true,
            Listed::Places(places) => places.iter().all(found),
        }
    }
}

/// One link to another replica.
#[derive(Debug)]
pub(super) struct Meeting<'r> {
    roll: &'r Roll,
    name: Name,
    /// Whether we said everything, as far as we know.
    said: AtomicBool,
    told: AtomicBool,
    joined: AtomicBool,
    marks: Mutex<Marks>,
}

/// What was sent and is not answered yet, by number and time, oldest first; and when that was sent which was answered last.
#[derive(Debug, Default)]
struct Marks {
    sent: VecDeque<(u64, Instant)>,
    answered: Option<Instant>,
}

impl Marks {
    /// Of equal marks only the first is surely the one that is answered.
    fn heard(&mut self, mark: u64) {
        while let Some((number, sent)) = self.sent.pop_front_if(|(number, _)| *number <= mark) {
            self.answered = Some(sent);
            if number == mark {
                return;
            }
        }
    }
}

impl<'r> Meeting<'r> {
    pub(super) fn new(roll: &'r Roll, name: Name) -> Self {
        let [said, told, joined] = [const { AtomicBool::new(false) }; 3];
        Self { roll, name, said, told, joined, marks: Mutex::default() }
    }

    /// The other told everything that it knew.
    pub(super) fn told(&self) {
        self.told.store(true, Ordering::Relaxed);
        self.meet();
    }

    /// We are about to have told the other everything up to `mark`.
    pub(super) fn said(&self, mark: u64) {
        self.said.store(true, Ordering::Relaxed);
        let mut marks = self.marks();
        if marks.sent.len() < MAX_MARKS {
            marks.sent.push_back((mark, Instant::now()));
        }
    }

    /// It has taken that.
    pub(super) fn heard(&self, mark: u64) {
        self.marks().heard(mark);
        self.meet();
    }

    /// Who has not taken everything may miss a label that was told while there was no link.
    fn meet(&self) {
        let Some(sent) = self.marks().answered.filter(|_| self.told.load(Ordering::Relaxed)) else { return };
        if self.joined.swap(true, Ordering::Relaxed) {
            self.roll.confirmed(&self.name, sent);
        } else {
            self.roll.joined(&self.name, sent);
        }
    }

    /// Whether either end knows everything of the other.
    pub(super) fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It took its leave.
    pub(super) fn left(&self) {
        self.roll.left(&self.name);
    }

    /// Whoever asks while this is dropped hears that the link has ended before anything else of it has.
    pub(super) fn parting(&self) -> Parting<'_> {
        Parting(self)
    }
}

/// Ends the link in the roll when dropped.
#[derive(Debug)]
pub(super) struct Parting<'m>(&'m Meeting<'m>);

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        let Self(Meeting { roll, name, said, joined, .. }) = self;
        if joined.load(Ordering::Relaxed) {
            roll.parted(name);
        } else if said.load(Ordering::Relaxed) {
            roll.doubted(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn places(ports: &[u16]) -> BTreeSet<SocketAddr> {
        ports.iter().map(|port| at(*port)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_is_there_once_all_that_are_named_told_everything() {
        let roll = Roll::new();
        assert!(!roll.is_whole(), "nobody said who the others are");
        roll.alone();
        assert!(roll.is_whole());
        roll.list(Some(&places(&[1, 2, 3])));
        assert!(!roll.is_whole());
        roll.saw(at(1), Seen::Ourselves);
        roll.saw(at(2), Seen::Nobody);
        roll.saw(at(3), Seen::Silent);
        assert!(!roll.is_whole(), "whoever does not answer may be there");
        roll.saw(at(3), Seen::Peer("c".into()));
        assert!(!roll.is_whole(), "it has not told everything");
        let link = Meeting::new(&roll, "c".into());
        link.said(7);
        link.told();
        assert!(!roll.is_whole(), "it has not taken what was told while there was no link");
        link.heard(7);
        assert!(roll.is_whole());
        roll.list(None);
        assert!(!roll.is_whole());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_lost_is_doubted_until_it_is_surely_gone() {
        let roll = Roll::new();
        roll.list(Some(&places(&[3])));
        roll.saw(at(3), Seen::Peer("c".into()));
        let meet = |name: &str| {
            let link = Meeting::new(&roll, name.into());
            link.said(0);
            link.told();
            link.heard(0);
            link
        };
        let (one, other) = (meet("c"), meet("c"));
        drop(one.parting());
        assert!(roll.is_whole(), "another link stands");
        assert_eq!(roll.lost_for(), Duration::ZERO);
        drop(other.parting());
        assert!(!roll.is_whole());
        // Nobody is found there any more, nor named: it may serve all the same.
        roll.saw(at(3), Seen::Nobody);
        assert!(!roll.is_whole());
        roll.list(Some(&places(&[])));
        assert!(!roll.is_whole());
        tokio::time::advance(REPLICA_DOUBT - Duration::from_secs(1)).await;
        assert!(!roll.is_whole());
        assert_eq!(roll.lost_for(), REPLICA_DOUBT - Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!roll.is_whole(), "what is known of labels is to be forgotten first");
        roll.give_up();
        assert!(roll.is_whole());
        // Back again, then lost for another process at its place.
        roll.list(Some(&places(&[3])));
        roll.saw(at(3), Seen::Peer("d".into()));
        let third = meet("d");
        assert!(roll.is_whole());
        drop(third.parting());
        roll.saw(at(3), Seen::Nobody);
        assert!(!roll.is_whole());
        roll.saw(at(3), Seen::Peer("e".into()));
        let _fourth = meet("e");
        assert!(roll.is_whole(), "its place is another's");
        // One that takes its leave is gone at once.
        let guest = meet("f");
        guest.left();
        drop(guest.parting());
        assert!(roll.is_whole());
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_is_believed_for_as_long_as_its_other_end_has_answered_lately() {
        let roll = Roll::new();
        roll.list(Some(&places(&[3])));
        roll.saw(at(3), Seen::Peer("c".into()));
        let link = Meeting::new(&roll, "c".into());
        link.said(4);
        link.told();
        tokio::time::advance(REPLICA_LEASE - Duration::from_secs(1)).await;
        link.heard(4);
        assert!(roll.is_whole());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!roll.is_whole() && roll.is_stale(), "from when it was asked, not from when the answer was read");
        // Asked again under the same number, and then for news: an answer is to the first that it can be to.
        link.said(4);
        tokio::time::advance(REPLICA_LEASE / 2).await;
        link.said(4);
        link.heard(4);
        assert!(roll.is_whole());
        tokio::time::advance(REPLICA_LEASE / 2).await;
        assert!(roll.is_stale());
        link.said(6);
        link.heard(6);
        assert!(roll.is_whole());
        // What nobody asked for confirms nothing.
        tokio::time::advance(REPLICA_LEASE).await;
        link.heard(6);
        link.heard(9);
        assert!(!roll.is_whole());
        // A second link to it is as good.
        let other = Meeting::new(&roll, "c".into());
        other.said(0);
        other.told();
        other.heard(0);
        assert!(roll.is_whole() && !roll.is_stale());
    }
}

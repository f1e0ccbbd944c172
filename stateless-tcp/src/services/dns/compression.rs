//! Where names stand in a message under construction, for others to point at (RFC 1035 section 4.1.4).

use super::catalog::ZoneView;
use super::zone::NameId;

/// What a compression pointer can reach.
pub(super) const REACH: usize = 0x4000;
/// Names whose places are remembered. Beyond that names are written out: right, only longer.
const PLACES: usize = 96;
/// No zone has written a name yet, or several have.
const NO_ZONE: u32 = u32::MAX;
const MIXED: u32 = u32::MAX - 1;

/// Names written, and where.
pub(super) struct CompressionTable {
    /// By [`ZoneView::number`].
    names: [u32; PLACES],
    at: [u16; PLACES],
    count: usize,
    /// The zone whose names these are.
    zone: u32,
    /// How often names of several zones may still be compared.
    comparisons: u16,
}

/// Most comparisons of names of different zones for one message. Beyond that such names are written out.
const COMPARISONS: u16 = 2_000;

/// A state to return to.
#[derive(Clone, Copy)]
pub(super) struct CompressionMark {
    count: usize,
    zone: u32,
}

impl CompressionTable {
    pub(super) const fn new() -> Self {
        // All zero: cleared by a few wide stores.
        Self { names: [0; PLACES], at: [0; PLACES], count: 0, zone: NO_ZONE, comparisons: COMPARISONS }
    }

    /// Remembers that `name` can be read at `at`, written in full, and so its ancestors behind it.
    pub(super) fn note(&mut self, view: ZoneView<'_>, name: NameId, at: usize) {
        let names = &view.zone.names;
        let (mut name, mut at) = (name, at);
        while name != NameId::ROOT {
            self.place(view, name, at);
            at += names.label(name).len();
            name = names.parent(name);
        }
    }

    /// Remembers that `name` can be read at `at`.
    pub(super) fn place(&mut self, view: ZoneView<'_>, name: NameId, at: usize) {
        if self.count < PLACES
            && let Ok(place) = u16::try_from(at)
            && at < REACH
        {
            self.names[self.count] = view.number(name);
            self.at[self.count] = place;
            self.count += 1;
            match self.zone {
                NO_ZONE => self.zone = view.index(),
                zone if zone == view.index() => {}
                _ => self.zone = MIXED,
            }
        }
    }

    /// Where `name` has been written in `message`, of which what stands before `end` is whole.
    pub(super) fn find(
        &mut self,
        message: &[u8],
        view: ZoneView<'_>,
        name: NameId,
        end: usize,
    ) -> Option<u16> {
        let number = view.number(name);
        if let Some(index) = self.names[..self.count].iter().position(|&placed| placed == number) {
            return Some(self.at[index]);
        }
        if self.zone == view.index() || self.zone == NO_ZONE {
            return None;
        }
        // What another zone calls otherwise can be the same name. One that is still being written cannot be read.
        let mut written = self.at[..self.count].iter().copied().filter(|&at| usize::from(at) < end);
        let comparisons = &mut self.comparisons;
        written.find(|&at| {
            let allowed = comparisons.checked_sub(1);
            *comparisons = allowed.unwrap_or(0);
            allowed.is_some() && reads(message, at.into(), view, name)
        })
    }

    /// What is remembered now.
    pub(super) const fn mark(&self) -> CompressionMark {
        CompressionMark { count: self.count, zone: self.zone }
    }

    /// Forgets what has been written since.
    pub(super) const fn return_to(&mut self, mark: CompressionMark) {
        (self.count, self.zone) = (mark.count, mark.zone);
    }
}

/// Whether `name` is what can be read at `at`.
fn reads(message: &[u8], at: usize, view: ZoneView<'_>, name: NameId) -> bool {
    let names = &view.zone.names;
    let (mut at, mut name) = (at, name);
    loop {
        match message[at] {
            high @ 0xc0.. => at = usize::from(u16::from_be_bytes([high & 0x3f, message[at + 1]])),
            length => {
                let written = &message[at..][..=usize::from(length)];
                if !written.eq_ignore_ascii_case(names.label(name)) {
                    return false;
                }
                if name == NameId::ROOT {
                    return true;
                }
                at += written.len();
                name = names.parent(name);
            }
        }
    }
}

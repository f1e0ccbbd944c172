//! Name compression (RFC 1035 section 4.1.4): the offsets of names in a message under construction.

use super::catalog::ZoneView;
use super::zone::NameId;

/// Offsets below this fit a compression pointer.
pub(super) const REACH: usize = 0x4000;
/// Limit on the names in the table. Further names are written uncompressed.
const PLACES: usize = 96;
/// Values of `zone`: no names yet, or names of several zones.
const NO_ZONE: u32 = u32::MAX;
const MIXED: u32 = u32::MAX - 1;

/// The names written so far and their offsets.
pub(super) struct CompressionTable {
    /// By [`ZoneView::number`].
    names: [u32; PLACES],
    at: [u16; PLACES],
    count: usize,
    /// The zone of these names.
    zone: u32,
    /// The remaining comparisons of names of different zones.
    comparisons: u16,
}

/// Limit on comparisons of names of different zones for one message. Beyond it, such names are written uncompressed.
const COMPARISONS: u16 = 2_000;

/// A state of the table to return to.
#[derive(Clone, Copy)]
pub(super) struct CompressionMark {
    count: usize,
    zone: u32,
}

impl CompressionTable {
    pub(super) const fn new() -> Self {
        // All zero, so a few wide stores initialize it.
        Self { names: [0; PLACES], at: [0; PLACES], count: 0, zone: NO_ZONE, comparisons: COMPARISONS }
    }

    /// Records that `name` is written in full at `at`, followed by its ancestors.
    pub(super) fn note(&mut self, view: ZoneView<'_>, name: NameId, at: usize) {
        let names = &view.zone.names;
        let (mut name, mut at) = (name, at);
        while name != NameId::ROOT {
            self.place(view, name, at);
            at += names.label(name).len();
            name = names.parent(name);
        }
    }

    /// Records that `name` is at `at`.
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

    /// The offset of `name` in `message`, which is complete before `end`.
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
        // A name of another zone has another number, so it is compared label by label. An incomplete name is skipped.
        let mut written = self.at[..self.count].iter().copied().filter(|&at| usize::from(at) < end);
        let comparisons = &mut self.comparisons;
        written.find(|&at| {
            let allowed = comparisons.checked_sub(1);
            *comparisons = allowed.unwrap_or(0);
            allowed.is_some() && reads(message, at.into(), view, name)
        })
    }

    /// The current state.
    pub(super) const fn mark(&self) -> CompressionMark {
        CompressionMark { count: self.count, zone: self.zone }
    }

    /// Forgets the names recorded since.
    pub(super) const fn return_to(&mut self, mark: CompressionMark) {
        (self.count, self.zone) = (mark.count, mark.zone);
    }
}

/// Whether the name at `at` is `name`.
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

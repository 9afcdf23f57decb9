//! One file on disk and in the page cache: the durable content, and the changes since.

use std::rc::Rc;

use super::fate::Fate;

/// Bytes that a disk writes completely or not at all.
pub const SECTOR: usize = 512;

/// One change of a file's bytes or length.
#[derive(Clone, Debug)]
pub enum Change {
    Write(usize, Rc<[u8]>),
    /// A new length, by `ftruncate` or by growth in `fallocate`.
    Length(usize),
    /// A punched hole or zeroed range: start and end.
    Zero(usize, usize),
}

/// A file's durable bytes, and the changes that were not synced yet.
#[derive(Clone, Debug, Default)]
pub struct FileData {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Number of durable changes, which is the number of the first pending one.
    settled: usize,
    length: usize,
}

impl FileData {
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of changes so far. A sync that begins now makes these durable.
    pub fn changes(&self) -> usize {
        self.settled + self.pending.len()
    }

    pub fn change(&mut self, change: Change) {
        self.length = length_after(self.length, &change);
        self.pending.push(change);
    }

    /// Records the end of a sync that began after `count` changes.
    pub fn settle(&mut self, count: usize) {
        let ready = count.saturating_sub(self.settled).min(self.pending.len());
        for change in self.pending.drain(..ready) {
            apply(&mut self.durable, &change, &|_| true);
            let length = length_after(self.durable.len(), &change);
            self.durable.resize(length, 0);
        }
        self.settled += ready;
    }

    /// The file as the program sees it.
    pub fn cached(&self) -> Vec<u8> {
        self.after(&mut |_, count| count, self.pending.len())
    }

    /// The file as a power cut may leave it: each sector has some of its changes, in order, and the length is one that
    /// it had.
    pub fn survivor(&self, fate: &Fate, inode: usize) -> Vec<u8> {
        let count = self.pending.len();
        let length = fate.length(inode, count);
        self.after(&mut |sector, changes| fate.sector(inode, sector, changes), length)
    }

    fn after(&self, kept: &mut dyn FnMut(usize, usize) -> usize, lengths: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut length = bytes.len();
        let mut longest = length;
        for change in &self.pending {
            longest = longest.max(length_after(longest, change));
        }
        bytes.resize(longest, 0);
        let mut cuts = std::collections::HashMap::new();
        for (number, change) in self.pending.iter().enumerate() {
            for sector in touched(change, longest) {
                cuts.entry(sector).or_insert_with(|| kept(sector, self.pending.len()));
            }
            apply(&mut bytes, change, &|sector| number < cuts.get(&sector).copied().unwrap_or(0));
            if number < lengths {
                length = length_after(length, change);
            }
        }
        bytes.truncate(length);
        bytes
    }
}

fn length_after(length: usize, change: &Change) -> usize {
    match change {
        Change::Write(at, bytes) => length.max(at + bytes.len()),
        Change::Length(new) => *new,
        Change::Zero(..) => length,
    }
}

/// The range of bytes that a change sets, in a file of at most `longest` bytes.
fn span(change: &Change, longest: usize) -> (usize, usize) {
    match change {
        Change::Write(at, bytes) => (*at, at + bytes.len()),
        // Truncated bytes read as zeros if the file grows again.
        Change::Length(length) => (*length, longest.max(*length)),
        Change::Zero(from, to) => (*from, (*to).min(longest)),
    }
}

fn touched(change: &Change, longest: usize) -> std::ops::Range<usize> {
    let (from, to) = span(change, longest);
    if from >= to { 0..0 } else { from / SECTOR..to.div_ceil(SECTOR) }
}

/// Applies a change to the kept sectors. The length never shrinks.
fn apply(bytes: &mut Vec<u8>, change: &Change, kept: &dyn Fn(usize) -> bool) {
    let (from, to) = span(change, bytes.len());
    if let Change::Write(..) = change {
        bytes.resize(bytes.len().max(to), 0);
    }
    for sector in touched(change, bytes.len()) {
        if !kept(sector) {
            continue;
        }
        let (start, end) = ((sector * SECTOR).max(from), ((sector + 1) * SECTOR).min(to));
        match change {
            Change::Write(at, data) => bytes[start..end].copy_from_slice(&data[start - at..end - at]),
            Change::Length(_) | Change::Zero(..) => bytes[start..end].fill(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fate::Style;
    use super::*;

    fn write(file: &mut FileData, at: usize, byte: u8, length: usize) {
        file.change(Change::Write(at, vec![byte; length].into()));
    }

    #[test]
    fn what_was_synced_survives_the_worst() {
        let mut file = FileData::default();
        write(&mut file, 0, 1, 1000);
        let begun = file.changes();
        write(&mut file, 1000, 2, 1000);
        file.settle(begun);
        assert_eq!(file.survivor(&Fate::new(1, Style::Nothing), 1), [1; 1000]);
        assert_eq!(file.survivor(&Fate::new(1, Style::Everything), 1).len(), 2000);
        assert_eq!(file.cached(), [vec![1; 1000], vec![2; 1000]].concat());
    }

    #[test]
    fn an_unsynced_write_tears_at_sectors() {
        let mut file = FileData::default();
        write(&mut file, 0, 1, 8 * SECTOR);
        file.settle(file.changes());
        write(&mut file, 0, 2, 8 * SECTOR);
        let mut torn = 0;
        for seed in 0..50 {
            let bytes = file.survivor(&Fate::new(seed, Style::Mixed(50)), 1);
            assert_eq!(bytes.len(), 8 * SECTOR);
            for sector in bytes.chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is old or new");
            }
            torn += usize::from(bytes[0] != bytes[8 * SECTOR - 1]);
        }
        assert!(torn > 5, "{torn} of 50 were torn");
    }

    #[test]
    fn a_length_may_survive_without_its_bytes() {
        let mut file = FileData::default();
        write(&mut file, 0, 7, 4 * SECTOR);
        let found: Vec<Vec<u8>> = (0..60).map(|seed| file.survivor(&Fate::new(seed, Style::Mixed(50)), 1)).collect();
        assert!(found.iter().any(Vec::is_empty), "the old length");
        assert!(
            found.iter().any(|bytes| bytes.len() == 4 * SECTOR && bytes.contains(&0)),
            "unwritten sectors are zeros"
        );
    }

    #[test]
    fn what_is_cut_off_does_not_come_back() {
        let mut file = FileData::default();
        write(&mut file, 0, 3, 700);
        file.change(Change::Length(100));
        file.change(Change::Length(700));
        file.change(Change::Zero(0, 10));
        let expected = [vec![0; 10], vec![3; 90], vec![0; 600]].concat();
        assert_eq!(file.cached(), expected);
        file.settle(file.changes());
        assert_eq!(file.survivor(&Fate::new(0, Style::Nothing), 1), expected);
    }
}

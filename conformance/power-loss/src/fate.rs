//! Decides by a seed what a power cut does to everything that was not synced.

use harness::random::{Random, mix};

/// The style of a power cut: how much survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Only what is durable.
    Nothing,
    /// Everything done before the cut.
    Everything,
    /// Each change with this chance in percent, and each sector of a write separately.
    Mixed(u64),
    /// Names survive but not bytes, or the reverse.
    NamesOnly,
    BytesOnly,
    /// Each file or directory completely, or not at all.
    Whole,
}

/// The outcome of one power cut.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    seed: u64,
    style: Style,
}

const SECTORS: u64 = 1;
const LENGTHS: u64 = 2;
const NAMES: u64 = 3;
const FILES: u64 = 4;

impl Fate {
    pub fn new(seed: u64, style: Style) -> Self {
        Fate { seed, style }
    }

    pub fn random(random: &mut Random) -> Self {
        let style = match random.below(9) {
            0 | 1 => Style::Nothing,
            2 => Style::Everything,
            3 => Style::NamesOnly,
            4 => Style::BytesOnly,
            5 => Style::Whole,
            _ => Style::Mixed(10 * (1 + random.below(9) as u64)),
        };
        Fate::new(random.next(), style)
    }

    pub fn style(&self) -> Style {
        self.style
    }

    fn draw(&self, kind: u64, a: usize, b: usize) -> u64 {
        mix(mix(mix(self.seed ^ kind) ^ a as u64) ^ b as u64)
    }

    /// The number of changes, from the first on, that have reached this sector, out of `count`.
    pub fn sector(&self, inode: usize, sector: usize, count: usize) -> usize {
        self.some(self.draw(SECTORS, inode, sector), inode, count)
    }

    /// The number of changes, from the first on, that have reached the file's length, out of `count`.
    pub fn length(&self, inode: usize, count: usize) -> usize {
        self.some(self.draw(LENGTHS, inode, 0), inode, count)
    }

    fn some(&self, draw: u64, inode: usize, count: usize) -> usize {
        match self.style {
            Style::Nothing | Style::NamesOnly => 0,
            Style::Everything | Style::BytesOnly => count,
            Style::Whole => count * (self.draw(FILES, inode, 0) % 2) as usize,
            Style::Mixed(percent) if draw % 100 < percent => count,
            Style::Mixed(_) => (draw / 100) as usize % (count + 1),
        }
    }

    /// Whether a change of names survives. `folder` is the directory whose sync would make it durable.
    pub fn name(&self, folder: usize, number: usize) -> bool {
        match self.style {
            Style::Nothing | Style::BytesOnly => false,
            Style::Everything | Style::NamesOnly => true,
            Style::Whole => self.draw(FILES, folder, 0).is_multiple_of(2),
            Style::Mixed(percent) => self.draw(NAMES, folder, number) % 100 < percent,
        }
    }
}

//! What a power cut does to each thing that no sync has made durable: decided by a seed.

use harness::random::{Random, mix};

/// How much survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Only what is durable.
    Nothing,
    /// All that was done before the cut.
    Everything,
    /// Each thing with this chance in percent; sectors of a write each for itself.
    Mixed(u64),
    /// Names survive and bytes do not, or the other way round.
    NamesOnly,
    BytesOnly,
    /// Each file or folder wholly or not at all.
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

    /// Of `count` changes of a file, so many from the first on are in this sector.
    pub fn sector(&self, inode: usize, sector: usize, count: usize) -> usize {
        self.some(self.draw(SECTORS, inode, sector), inode, count)
    }

    /// Of `count` changes of a file, so many from the first on count for its length.
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

    /// Whether a change of names survives; `folder` is where it is to be synced.
    pub fn name(&self, folder: usize, number: usize) -> bool {
        match self.style {
            Style::Nothing | Style::BytesOnly => false,
            Style::Everything | Style::NamesOnly => true,
            Style::Whole => self.draw(FILES, folder, 0).is_multiple_of(2),
            Style::Mixed(percent) => self.draw(NAMES, folder, number) % 100 < percent,
        }
    }
}

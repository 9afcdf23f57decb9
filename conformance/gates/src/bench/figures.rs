//! The measurements: one value per figure, server and round.

use serde::Serialize;

/// Whether higher values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Less,
    More,
}

/// A figure's name and meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Meaning {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) better: Better,
}

/// The values of one server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Samples {
    pub(super) server: &'static str,
    pub(super) values: Vec<f64>,
    pub(super) median: f64,
}

/// One figure, of all servers on which it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    #[serde(flatten)]
    pub(super) meaning: Meaning,
    pub(super) samples: Vec<Samples>,
}

/// All figures, in the order they were first measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures(pub(super) Vec<Figure>);

impl Meaning {
    pub(super) fn less(name: impl Into<String>, unit: &'static str) -> Self {
        Meaning { name: name.into(), unit, better: Better::Less }
    }

    pub(super) fn more(name: impl Into<String>, unit: &'static str) -> Self {
        Meaning { name: name.into(), unit, better: Better::More }
    }
}

impl Figures {
    pub(super) fn record(&mut self, meaning: Meaning, server: &'static str, value: f64) {
        let index = self.0.iter().position(|figure| figure.meaning == meaning).unwrap_or_else(|| {
            self.0.push(Figure { meaning, samples: Vec::new() });
            self.0.len() - 1
        });
        let samples = &mut self.0[index].samples;
        match samples.iter_mut().find(|samples| samples.server == server) {
            Some(known) => {
                known.values.push(value);
                known.median = median(&known.values);
            }
            None => samples.push(Samples { server, values: vec![value], median: value }),
        }
    }

    /// The figures whose name and unit satisfy `wanted`.
    pub(super) fn select(&self, wanted: impl Fn(&Meaning) -> bool) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(move |figure| wanted(&figure.meaning))
    }
}

impl Figure {
    pub(super) fn median(&self, server: &str) -> Option<f64> {
        self.samples.iter().find(|samples| samples.server == server).map(|samples| samples.median)
    }

    /// How many times the value of `other` the value of `server` is: the median of the ratios within each round, since
    /// a disturbance of a round affects both.
    pub(super) fn ratio(&self, server: &str, other: &str) -> Option<f64> {
        let ratios = self.ratios(server, other);
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// The 95 % confidence interval of the ratio, from the order of the rounds' ratios alone. Six rounds are the fewest
    /// that have one.
    pub(super) fn interval(&self, server: &str, other: &str) -> Option<(f64, f64)> {
        let mut ratios = self.ratios(server, other);
        ratios.sort_by(f64::total_cmp);
        let skipped = outside(ratios.len())?;
        Some((ratios[skipped], ratios[ratios.len() - 1 - skipped]))
    }

    /// How many times worse this server is than the other, at the end of the interval that is best for it.
    pub(super) fn surely_worse(&self, server: &str, other: &str) -> Option<f64> {
        let (low, high) = self.interval(server, other)?;
        Some(match self.meaning.better {
            Better::Less => low,
            Better::More => 1.0 / high,
        })
    }

    fn ratios(&self, server: &str, other: &str) -> Vec<f64> {
        let values = |name: &str| self.samples.iter().find(|samples| samples.server == name).map(|s| &s.values[..]);
        let (ours, theirs) = (values(server).unwrap_or_default(), values(other).unwrap_or_default());
        ours.iter().zip(theirs).filter(|(_, b)| **b > 0.0).map(|(a, b)| a / b).collect()
    }
}

/// How many of `count` sorted values lie outside the interval that has the median with 95 %, at each end. `None` if
/// there are too few. At most k of them lie below the median with the probability of at most k heads in `count` throws
/// of a coin.
fn outside(count: usize) -> Option<usize> {
    let mut exactly = 0.5_f64.powi(i32::try_from(count).ok()?);
    let (mut at_most, mut skipped) = (0.0, None);
    for heads in 0..count / 2 {
        at_most += exactly;
        if at_most > 0.025 {
            break;
        }
        skipped = Some(heads);
        exactly *= (count - heads) as f64 / (heads + 1) as f64;
    }
    skipped
}

/// The middle value, or the mean of the two middle ones. There must be at least one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut figures = Figures::default();
        // The second round was disturbed for both servers, the third for one.
        for (ours, theirs) in [(1.0, 2.0), (10.0, 20.0), (5.0, 4.0)] {
            figures.record(Meaning::less("push", "s"), "a", ours);
            figures.record(Meaning::less("push", "s"), "b", theirs);
        }
        let figure = &figures.0[0];
        assert_eq!(figures.0.len(), 1);
        assert_eq!(figure.median("a"), Some(5.0));
        assert_eq!(figure.ratio("a", "b"), Some(0.5));
        assert_eq!(figure.ratio("a", "c"), None);
    }

    #[test]
    fn an_interval_leaves_out_the_outermost_rounds() {
        // The known table of the sign test.
        for (rounds, skipped) in
            [(0, None), (5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (11, Some(1)), (20, Some(5))]
        {
            assert_eq!(outside(rounds), skipped, "{rounds}");
        }
        let mut figures = Figures::default();
        for round in 0..11 {
            let ratio = 1.06 + 0.01 * f64::from((round * 4) % 11);
            figures.record(Meaning::less("push", "s"), "a", ratio);
            figures.record(Meaning::less("push", "s"), "b", 1.0);
            figures.record(Meaning::more("pull", "req/s"), "a", 1.0 / ratio);
            figures.record(Meaning::more("pull", "req/s"), "b", 1.0);
        }
        for figure in &figures.0 {
            assert!((figure.surely_worse("a", "b").unwrap() - 1.07).abs() < 1e-9, "{figure:?}");
        }
    }

    #[test]
    fn an_even_number_has_its_median_between() {
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}

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
        let values = |name: &str| self.samples.iter().find(|samples| samples.server == name).map(|s| &s.values);
        let (ours, theirs) = (values(server)?, values(other)?);
        let ratios: Vec<f64> = ours.iter().zip(theirs).filter(|(_, b)| **b > 0.0).map(|(a, b)| a / b).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }
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
    fn an_even_number_has_its_median_between() {
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}

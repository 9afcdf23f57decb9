//! Many equal requests over a few kept-alive connections. Each connection waits for an answer before its next request.

use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use harness::client::Target;

use super::wire::{Encoded, Wire};

/// Connections of one load.
pub(super) const CONNECTIONS: usize = 8;

/// The result of a load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) requests: usize,
    pub(super) wall: Duration,
    /// In ascending order.
    latencies: Vec<Duration>,
}

impl Load {
    /// Sends the same request `requests` times. Each answer must be 200 with the same number of bytes.
    pub(super) fn run(target: &Target, request: &Encoded, requests: usize, body: u64) -> anyhow::Result<Load> {
        let wires = (0..CONNECTIONS).map(|_| Wire::open(target)).collect::<anyhow::Result<Vec<_>>>()?;
        let each = requests.div_ceil(CONNECTIONS);
        let started = Instant::now();
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                wires.into_iter().map(|wire| scope.spawn(move || repeat(wire, request, each, body))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a load thread panicked"))).collect()
        });
        let wall = started.elapsed();
        let mut latencies = Vec::with_capacity(each * CONNECTIONS);
        for result in results {
            latencies.extend(result??);
        }
        latencies.sort_unstable();
        Ok(Load { requests: latencies.len(), wall, latencies })
    }

    /// The latency within which this many per mille of the requests stay, in milliseconds.
    pub(super) fn latency(&self, per_mille: usize) -> f64 {
        let index = (self.latencies.len() * per_mille / 1000).min(self.latencies.len() - 1);
        self.latencies[index].as_secs_f64() * 1000.0
    }

    /// Requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }
}

fn repeat(mut wire: Wire, request: &Encoded, times: usize, body: u64) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(times);
    for _ in 0..times {
        let started = Instant::now();
        let answer = wire.exchange(request, |_| ())?;
        latencies.push(started.elapsed());
        ensure!(answer.status == 200 && answer.body == body, "{answer:?} where 200 with {body} bytes was due");
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_stay_within_what_was_measured() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let load = Load { requests: 100, wall: Duration::from_secs(2), latencies };
        assert!((load.latency(500) - 51.0).abs() < 1e-9 && (load.latency(990) - 100.0).abs() < 1e-9);
        assert!((load.latency(1000) - 100.0).abs() < 1e-9 && (load.rate() - 50.0).abs() < 1e-9);
    }
}

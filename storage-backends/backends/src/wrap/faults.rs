//! For tests: a backend that fails on request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::layer::{Call, Layer, Layered, Read};
use crate::{Answer, Backend, BackendError, ByteStream};

/// A kind of fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Answers this error instead of doing anything.
    Fail(fn() -> BackendError),
    /// Does it, and answers this error: the answer got lost on its way.
    FailAfterwards(fn() -> BackendError),
    /// Never answers.
    Stall,
    /// Answers rightly after this time.
    Late(Duration),
    /// For a stream: changes the byte at this offset in it.
    WrongByte(u64),
    /// For a stream: ends cleanly after this many bytes.
    EndAfter(u64),
    /// For a stream: gives these bytes after the right ones.
    Superfluous(&'static [u8]),
    /// For a stream: gives an error after this many bytes.
    BreakAfter(u64, fn() -> BackendError),
    /// For a stream: stalls after this many bytes.
    StallAfter(u64),
}

/// Does wrong around another backend. Clones share the plan.
pub type Faults = Layered<Faulty>;

/// The layer of [`Faults`].
#[derive(Clone, Debug, Default)]
pub struct Faulty(Arc<Mutex<Plan>>);

/// What goes wrong, and when.
#[derive(Debug, Default)]
struct Plan {
    calls: HashMap<Call, u64>,
    once: HashMap<(Call, u64), Fault>,
    always: HashMap<Call, Fault>,
}

impl Faults {
    /// Wraps a backend; nothing goes wrong yet.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Layered { inner, layer: Faulty::default() }
    }

    /// At the nth call of this kind from now on; 0 is the next one.
    pub fn at(&self, call: Call, nth: u64, fault: Fault) {
        self.layer.with_plan(|plan| {
            let number = plan.calls.get(&call).copied().unwrap_or_default() + nth;
            plan.once.insert((call, number), fault);
        });
    }

    /// At every call of this kind.
    pub fn always(&self, call: Call, fault: Fault) {
        self.layer.with_plan(|plan| plan.always.insert(call, fault));
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.layer.with_plan(|plan| {
            plan.once.clear();
            plan.always.clear();
        });
    }

    /// How many calls of this kind there have been.
    pub fn calls(&self, call: Call) -> u64 {
        self.layer.with_plan(|plan| plan.calls.get(&call).copied().unwrap_or_default())
    }
}

impl Faulty {
    fn next(&self, call: Call) -> Option<Fault> {
        self.with_plan(|plan| {
            let count = plan.calls.entry(call).or_default();
            let number = *count;
            *count += 1;
            plan.once.remove(&(call, number)).or_else(|| plan.always.get(&call).copied())
        })
    }

    fn with_plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Does the call with its fault.
async fn call<T>(fault: Option<Fault>, right: Answer<'_, T>) -> Result<T, BackendError> {
    match fault {
        Some(Fault::Fail(error)) => Err(error()),
        Some(Fault::FailAfterwards(error)) => {
            right.await?;
            Err(error())
        }
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Late(time)) => {
            tokio::time::sleep(time).await;
            right.await
        }
        _ => right.await,
    }
}

impl Layer for Faulty {
    fn around<'a, T: Send + 'a>(
        &'a self,
        kind: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T> {
        Box::pin(call(self.next(kind), attempt()))
    }

    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        let fault = self.next(Call::Get);
        Box::pin(async move {
            let open = call(fault, read.at(&**inner)).await?;
            Ok(match fault {
                Some(fault) => distorted(open, fault),
                None => open,
            })
        })
    }

    /// Bytes that pass here may be changed.
    fn verifies(&self, _: bool) -> bool {
        false
    }
}

/// The stream with its fault; unchanged if the fault is not one of streams.
fn distorted(open: ByteStream, fault: Fault) -> ByteStream {
    match fault {
        Fault::WrongByte(at) => stream::unfold((open, 0_u64), move |(mut open, begin)| async move {
            let item = open.next().await?.map(|bytes| flip(bytes, at.checked_sub(begin)));
            let length = item.as_ref().map_or(0, Bytes::len) as u64;
            Some((item, (open, begin + length)))
        })
        .boxed(),
        Fault::EndAfter(bytes) => cut(open, bytes),
        Fault::BreakAfter(bytes, error) => cut(open, bytes).chain(stream::once(async move { Err(error()) })).boxed(),
        Fault::Superfluous(bytes) => open.chain(stream::once(async move { Ok(Bytes::from_static(bytes)) })).boxed(),
        Fault::StallAfter(bytes) => cut(open, bytes).chain(stream::pending()).boxed(),
        Fault::Fail(_) | Fault::FailAfterwards(_) | Fault::Stall | Fault::Late(_) => open,
    }
}

fn flip(bytes: Bytes, at: Option<u64>) -> Bytes {
    match at {
        Some(at) if at < bytes.len() as u64 => {
            let mut changed = bytes.to_vec();
            changed[at as usize] ^= 1;
            changed.into()
        }
        _ => bytes,
    }
}

fn cut(open: ByteStream, bytes: u64) -> ByteStream {
    stream::unfold((open, bytes), |(mut open, left)| async move {
        if left == 0 {
            return None;
        }
        let item = open.next().await?.map(|bytes| bytes.slice(..bytes.len().min(left as usize)));
        let length = item.as_ref().map_or(0, Bytes::len) as u64;
        Some((item, (open, left - length)))
    })
    .boxed()
}

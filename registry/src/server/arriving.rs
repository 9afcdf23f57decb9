//! The body of a request, as the activity of its connection sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::activity::Activity;

/// The body of a request. It reports to the activity when its next bytes are awaited.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    activity: Arc<Activity>,
    awaited: bool,
}

impl<B> Arriving<B> {
    pub(super) fn new(body: B, activity: Arc<Activity>) -> Self {
        Arriving { body, activity, awaited: false }
    }

    fn set_awaited(&mut self, awaited: bool) {
        if self.awaited != awaited {
            self.activity.awaits_body(awaited);
            self.awaited = awaited;
        }
    }
}

impl<B: Body + Unpin> Body for Arriving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.set_awaited(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        self.set_awaited(false);
    }
}

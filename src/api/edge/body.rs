//! The bodies on both ways: requests that must not grow too large, replies whose end is still to be seen.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use jeton_contract::reason::Reason;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};

use super::{limits::Open, record::Record};
use crate::{
    api::{policy::Method, status},
    error::Error,
};

/// The body of a reply.
#[derive(Debug)]
pub struct Reply {
    pub(super) body: Body,
    /// Set for a stream until its end was seen.
    pub(super) stream: Option<Box<Stream>>,
    pub(super) _open: Open,
}

/// A stream of replies.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) record: Record,
    pub(super) drain: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// A request's body that ends in a failure when it is longer than allowed. Counts bytes, because nobody has to
/// announce a length.
#[derive(Debug)]
pub(super) struct Limited<B> {
    body: B,
    left: usize,
    max_message: usize,
}

/// The flag and the length before a message (gRPC over HTTP/2).
const PREFIX_LEN: usize = 5;

// === impl Reply ===

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // A drain ends streams; their callers go on elsewhere.
        if let Some(stream) = &mut self.stream
            && stream.drain.as_mut().poll(cx).is_ready()
        {
            let mut trailers = HeaderMap::new();
            let status = status::of(Error::new(Reason::NotServing, "the server is draining"));
            // Written to fresh headers, a status of ours cannot fail.
            let _ = status.add_header(&mut trailers);
            stream.record.close_stream(&mut trailers, Some(status));
            self.stream = None;
            self.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
            && let Some(mut stream) = self.stream.take()
        {
            stream.record.close_stream(trailers, None);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // Callers end most streams by going away.
        if let Some(mut stream) = self.stream.take() {
            stream.record.succeeded();
        }
    }
}

// === impl Limited ===

impl<B> Limited<B> {
    pub(super) fn new(body: B, method: &Method) -> Self {
        let max_message = method.max_message;
        // A stream is bounded message by message, by its service.
        let left = if method.flow.is_streaming() { usize::MAX } else { max_message.saturating_add(PREFIX_LEN) };
        Self { body, left, max_message }
    }
}

impl<B> http_body::Body for Limited<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            None => return Poll::Ready(None),
        };
        let len = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                let text = format!("the message is larger than {} bytes", self.max_message);
                Poll::Ready(Some(Err(status::of(Error::new(Reason::InvalidMessage, text)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

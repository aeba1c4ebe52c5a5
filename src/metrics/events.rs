//! What is counted.

use jeton_contract::reason::Reason;

use super::{
    labels::{Activity, Cache, Delivery, Grant, Lane, Operation, Revoked, Signal},
    place,
};

/// Something that happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An access token was issued; not one that was repeated for the same request id.
    Issued(Grant),
    /// A refresh token was exchanged.
    Renewed,
    /// A renewal was answered with the successor that the first one made.
    Replayed,
    /// A refresh token came back after its replay window: its family was revoked.
    ReuseDetected,
    /// An entry that revokes was appended to the log.
    Revoked(Revoked),
    /// A token was introspected.
    Introspected(Activity),
    /// A call was refused because its lane or its connection was full.
    Shed(Lane),
    /// A connection for gRPC was accepted …
    ConnectionOpened,
    /// … and has ended.
    ConnectionClosed,
    /// A call failed.
    Failed(Reason),
    CacheHit(Cache),
    CacheMissed(Cache),
    /// An operation of the store failed.
    StoreFailed(Operation),
    /// An attempt to deliver an event ended.
    Delivered(Delivery),
    /// A sampled span could not be kept for the receiver.
    SpanDropped,
    /// An export by OTLP failed.
    ExportFailed(Signal),
}

// === impl Event ===

impl Event {
    /// The cell that counts it.
    pub(super) fn cell(self) -> usize {
        match self {
            Self::Issued(grant) => place::ISSUED + grant.index(),
            Self::Renewed => place::RENEWED,
            Self::Replayed => place::REPLAYED,
            Self::ReuseDetected => place::REUSE_DETECTED,
            Self::Revoked(kind) => place::REVOKED + kind.index(),
            Self::Introspected(activity) => place::INTROSPECTED + activity.index(),
            Self::Shed(lane) => place::SHED + lane.index(),
            // A search, which is cheap beside the reply with details that a failure costs.
            Self::Failed(reason) => {
                place::FAILED + Reason::ALL.iter().position(|known| *known == reason).unwrap_or_default()
            }
            Self::CacheHit(cache) => place::CACHE_HIT + cache.index(),
            Self::CacheMissed(cache) => place::CACHE_MISSED + cache.index(),
            Self::StoreFailed(operation) => place::STORE_FAILED + operation.index(),
            Self::Delivered(delivery) => place::DELIVERED + delivery.index(),
            Self::SpanDropped => place::SPAN_DROPPED,
            Self::ConnectionOpened => place::CONNECTION_OPENED,
            Self::ConnectionClosed => place::CONNECTION_CLOSED,
            Self::ExportFailed(signal) => place::EXPORT_FAILED + signal.index(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_events_share_a_cell() {
        let mut cells = Vec::new();
        let mut add = |event: Event| cells.push(event.cell());
        Grant::ALL.iter().for_each(|label| add(Event::Issued(*label)));
        Revoked::ALL.iter().for_each(|label| add(Event::Revoked(*label)));
        Activity::ALL.iter().for_each(|label| add(Event::Introspected(*label)));
        Lane::ALL.iter().for_each(|label| add(Event::Shed(*label)));
        Reason::ALL.iter().for_each(|label| add(Event::Failed(*label)));
        Cache::ALL.iter().for_each(|label| add(Event::CacheHit(*label)));
        Cache::ALL.iter().for_each(|label| add(Event::CacheMissed(*label)));
        Operation::ALL.iter().for_each(|label| add(Event::StoreFailed(*label)));
        Delivery::ALL.iter().for_each(|label| add(Event::Delivered(*label)));
        Signal::ALL.iter().for_each(|label| add(Event::ExportFailed(*label)));
        [Event::Renewed, Event::Replayed, Event::ReuseDetected, Event::SpanDropped].into_iter().for_each(&mut add);
        [Event::ConnectionOpened, Event::ConnectionClosed].into_iter().for_each(&mut add);
        let count = cells.len();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!((cells.len(), cells.last()), (count, Some(&(place::STORE - 1))));
    }
}

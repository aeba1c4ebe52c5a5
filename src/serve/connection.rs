//! Serves one connection on its worker, from the handshake until it ends.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    error::Error,
    options::Options,
    protocol::{Connection, Protocol, Serving},
    stream::{Accepted, Opened},
};
use crate::ambient;

/// Longer times are cut down to this: their sum with the present may overflow.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often a connection that was asked to end is checked for open calls: a peer that does not react would hold it
/// otherwise.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Serves `accepted` until its peer closes it, it has been silent or open for too long, or `drain` is cancelled.
pub(super) async fn serve(
    accepted: Accepted,
    protocol: &dyn Protocol,
    options: &Options,
    drain: CancellationToken,
) -> Result<(), Error> {
    let mut age = pin!(sleep_until(Instant::now() + jittered(options.connection_age)));
    let finish = CancellationToken::new();
    let opened = tokio::select! {
        biased;
        opened = accepted.open(protocol.first_bytes(), protocol.alpn(), options.handshake_timeout) => opened?,
        () = drain.cancelled() => return Ok(()),
    };
    let Some(Opened { io, peer, valid_for }) = opened else { return Ok(()) };
    // An expired certificate proves nothing, so the connection takes no new calls from then on.
    if let Some(expiry) = valid_for.map(|left| Instant::now() + left.min(FAR)).filter(|at| *at < age.deadline()) {
        age.as_mut().reset(expiry);
    }
    let begun = io.begun();
    let connection = Connection { peer, finish: finish.clone(), drain: drain.clone() };
    let Serving { mut ended, calls } = protocol.serve(io, connection);

    // hyper's keepalive begins only after the first frame.
    tokio::select! {
        biased;
        outcome = &mut ended => return outcome,
        () = sleep(options.first_frame_timeout) => {}
        () = age.as_mut() => {}
        () = drain.cancelled() => {}
    }
    if !begun.yet() {
        return Ok(());
    }
    tokio::select! {
        biased;
        outcome = &mut ended => return outcome,
        () = age => {}
        () = drain.cancelled() => {}
    }
    finish.cancel();
    // A peer that does not answer would hold the connection until the keepalive finds it (hyper#4170). One that
    // is alive closes at once after its last call, so two checks in a row without a call are enough.
    let mut was_idle = false;
    loop {
        tokio::select! {
            biased;
            outcome = &mut ended => return outcome,
            () = sleep(IDLE_CHECK) => {}
        }
        let is_idle = calls.is_idle();
        if is_idle && was_idle {
            return Ok(());
        }
        was_idle = is_idle;
    }
}

/// `age` ± 20 %, so that connections that were opened together do not leave together.
fn jittered(age: Duration) -> Duration {
    let age = age.min(FAR);
    // Without randomness the jitter is missing, and nothing else.
    let random = u32::from(u16::from_be_bytes(ambient::random().unwrap_or([128, 0])));
    let fifth = age / 5;
    age - fifth + fifth * 2 / 65_536 * random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_connections_varies_by_a_fifth() {
        let age = Duration::from_secs(1800);
        let ages: Vec<Duration> = (0..1000).map(|_| jittered(age)).collect();
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(1440) && *most <= Duration::from_secs(2160));
        assert!(*most - *least > Duration::from_secs(500), "spread over {:?}", *most - *least);
    }
}

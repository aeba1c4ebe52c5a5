//! What a token costs over HTTP, against IssueToken over gRPC: the same store, client and token, and as many connections
//! with as many calls on each. Blocks of both take turns.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jeton::api::wire::TokenFormat;
use reqwest::{
    Client,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use tokio::task::JoinSet;

use super::{
    Plan, Result,
    calls::{Seen, Target},
    flat::Place,
    load::{Shape, Side, Work},
    message::Message,
    number,
    process::Extra,
    report::{Fact, Report, Wanted},
    world::{TENANT, World},
};

/// One kind of HTTP.
struct Case {
    name: &'static str,
    shape: Shape,
    /// Whether a connection has many calls in flight.
    multiplexed: bool,
}

/// A form that is posted again and again.
#[derive(Clone)]
struct Post {
    url: String,
    form: &'static str,
    authorization: String,
}

const CASES: [Case; 2] = [
    Case { name: "/oauth2/token on HTTP/2, in IssueTokens", shape: Shape::WIDE, multiplexed: true },
    Case {
        name: "/oauth2/token on HTTP/1.1, in IssueTokens",
        shape: Shape { connections: 64, in_flight: 1 },
        multiplexed: false,
    },
];
/// The most CPU time that a call over HTTP may take, in that of a call over gRPC.
const WANTED: f64 = 1.25;

/// Measures both on the embedded store or a Redis of their own.
pub(super) async fn run(plan: &Plan, redis: Option<&Path>, report: &mut Report) -> Result<()> {
    if !plan.wants("http") {
        return Ok(());
    }
    let place = Place::with(plan, redis, Extra::None).await?;
    let world = &place.world;
    let (form, authorization) = world.issue_own_over_http();
    let post = Post { url: format!("{}/t/{TENANT}/oauth2/token", world.service.http), form, authorization };
    let work = Work::cycle(None, vec![Message::Issue(world.issue_own(TokenFormat::Jwt).into())]);
    for case in CASES {
        let grpc = case.shape.connect(&world.service.address).await?;
        let http = case.clients()?;
        let (mut plain, mut framed) = (Cost::default(), Seen::new()?);
        // Once without measuring.
        case.block(world, &http, &post, plan.block / 4).await?;
        let target = Target { process: &world.service.process, clients: &grpc, side: Side::Service };
        target.block(case.shape.in_flight, &work, plan.block / 4).await?;
        for _ in 0..plan.rounds {
            framed.add(&target.block(case.shape.in_flight, &work, plan.block).await?)?;
            plain.add(case.block(world, &http, &post, plan.block).await?);
        }
        report.add_fact(Fact::new(case.name, plain.micros() / framed.micros(), "x CPU", Some(Wanted::AtMost(WANTED))));
    }
    Ok(())
}

/// Calls and what they cost the service.
#[derive(Clone, Copy, Default)]
struct Cost {
    calls: u64,
    cpu: Duration,
}

// === impl Cost ===

impl Cost {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.cpu += other.cpu;
    }

    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / number(self.calls.max(1))
    }
}

// === impl Case ===

impl Case {
    /// With a pool of as many connections as the shape has.
    fn clients(&self) -> Result<Vec<Client>> {
        let builder = || Client::builder().no_proxy();
        if self.multiplexed {
            (0..self.shape.connections).map(|_| Ok(builder().http2_prior_knowledge().build()?)).collect()
        } else {
            Ok(vec![builder().http1_only().build()?])
        }
    }

    /// Posts until the time is over.
    async fn block(&self, world: &World, clients: &[Client], post: &Post, time: Duration) -> Result<Cost> {
        let lanes_per_client = self.shape.connections * self.shape.in_flight / clients.len().max(1);
        let before = world.service.process.cpu()?;
        let started = Instant::now();
        let mut lanes = JoinSet::new();
        for client in clients {
            for _ in 0..lanes_per_client {
                let (client, post) = (client.clone(), post.clone());
                lanes.spawn(async move {
                    let mut calls = 0;
                    while started.elapsed() < time {
                        post.send(&client).await?;
                        calls += 1;
                    }
                    Ok::<u64, super::Failure>(calls)
                });
            }
        }
        let mut calls = 0;
        while let Some(lane) = lanes.join_next().await {
            calls += lane??;
        }
        Ok(Cost { calls, cpu: world.service.process.cpu()?.saturating_sub(before) })
    }
}

// === impl Post ===

impl Post {
    async fn send(&self, client: &Client) -> Result<()> {
        let request = client
            .post(&self.url)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form);
        request.send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }
}

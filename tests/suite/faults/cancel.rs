//! Calls that end before their work does: cancelled by their caller, or out of time.

use std::time::Duration;

use jeton::api::wire::{self, account_service_client::AccountServiceClient, token_service_client::TokenServiceClient};
use tonic::{Code, Request, Response, Status};

use super::{
    calls::{Client, FULL, Link, Wanted, assert_reason, bearing, issue_request, renew_request, request_id},
    history::Chance,
    process::{Jeton, Setup},
};
use crate::{
    edge::Patient,
    servers::{Aof, Server},
};

/// Rounds at least, and calls that must have ended early.
const ROUNDS: usize = 60;
const MAX_ROUNDS: usize = 1000;

/// How a call ends early.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The caller goes away after it has looked for the reply so many times: timers are too coarse for calls that take
    /// less than a millisecond.
    Cancelled(u32),
    /// The server's deadline passes.
    Deadline(Duration),
}

struct Scene {
    jeton: Jeton,
    link: Link,
    patient: Patient,
    admin: String,
    client: Client,
    chance: Chance,
    /// Calls that ended before their reply.
    ended_early: usize,
    _server: Option<Server>,
}

impl Scene {
    async fn on_redis() -> Self {
        let server = Server::start(Aof::Off);
        Self::of(Setup::redis(&server).start(), Some(server)).await
    }

    async fn embedded() -> Self {
        Self::of(Setup::embedded().start(), None).await
    }

    async fn of(jeton: Jeton, server: Option<Server>) -> Self {
        let link = jeton.link();
        let admin = link.admin().await;
        let client = link.new_client(&admin, Duration::from_secs(300)).await;
        let stream = tokio::net::TcpStream::connect(jeton.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let executor = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let patient = Patient(sender);
        Self { jeton, link, patient, admin, client, chance: Chance::new(7), ended_early: 0, _server: server }
    }

    fn origin(&self) -> http::Uri {
        format!("http://{}", self.jeton.address()).parse().unwrap()
    }

    fn tokens(&self) -> TokenServiceClient<Patient> {
        TokenServiceClient::with_origin(self.patient.clone(), self.origin())
    }

    fn accounts(&self) -> AccountServiceClient<Patient> {
        AccountServiceClient::with_origin(self.patient.clone(), self.origin())
    }

    fn next_end(&mut self, round: usize) -> End {
        let after = Duration::from_micros(50) + self.chance.micros(1200);
        if round.is_multiple_of(2) { End::Cancelled(after.subsec_micros()) } else { End::Deadline(after) }
    }

    /// Makes a call that ends early; `Some` if its reply was faster.
    async fn cut_short<M, T>(
        &mut self,
        end: End,
        mut request: Request<M>,
        call: impl AsyncFnOnce(Request<M>) -> Result<Response<T>, Status>,
    ) -> Option<T> {
        let reply = match end {
            // Dropping the call resets its stream.
            End::Cancelled(looks) => tokio::select! {
                biased;
                reply = call(request) => Some(reply),
                () = async { for _ in 0..looks { tokio::task::yield_now().await } } => None,
            },
            End::Deadline(after) => {
                let text = format!("{}u", after.as_micros());
                request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
                Some(call(request).await)
            }
        };
        match reply {
            Some(Ok(reply)) => return Some(reply.into_inner()),
            Some(Err(status)) => assert_reason(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            None => {}
        }
        self.ended_early += 1;
        None
    }

    async fn issue_and_repeat(&mut self, round: usize) {
        let wanted =
            Wanted { refresh: true, opaque: round.is_multiple_of(3), request_id: request_id(), ..Default::default() };
        let request = Request::new(issue_request(&self.client, &wanted));
        let (end, mut tokens) = (self.next_end(round), self.tokens());
        let early = self.cut_short(end, request, async |request| tokens.issue_token(request).await).await;
        let once = self.link.issue(&self.client, &wanted).await.unwrap();
        let twice = self.link.issue(&self.client, &wanted).await.unwrap();
        assert_eq!((&once.token_id, &once.refresh_token), (&twice.token_id, &twice.refresh_token));
        if let Some(early) = early {
            let early = early.token.unwrap();
            assert_eq!((&once.token_id, &once.refresh_token), (&early.token_id, &early.refresh_token));
        }
        let texts = [once.access_token, twice.access_token, once.refresh_token];
        assert_eq!(self.link.are_active(&self.client, &texts).await.unwrap(), [true; 3]);
    }

    async fn renew_and_repeat(&mut self, round: usize) {
        let wanted = Wanted { refresh: true, opaque: round.is_multiple_of(3), ..Default::default() };
        let first = self.link.issue(&self.client, &wanted).await.unwrap();
        let request = Request::new(renew_request(&self.client, &first.refresh_token));
        let (end, mut tokens) = (self.next_end(round), self.tokens());
        let early = self.cut_short(end, request, async |request| tokens.renew_token(request).await).await;
        let once = self.link.renew(&self.client, &first.refresh_token).await.unwrap();
        let twice = self.link.renew(&self.client, &first.refresh_token).await.unwrap();
        assert_eq!((&once.token_id, &once.refresh_token), (&twice.token_id, &twice.refresh_token));
        if let Some(early) = early {
            let early = early.token.unwrap();
            assert_eq!((&once.token_id, &once.refresh_token), (&early.token_id, &early.refresh_token));
        }
        let texts = [first.access_token, once.access_token, twice.access_token, once.refresh_token];
        assert_eq!(self.link.are_active(&self.client, &texts).await.unwrap(), [true; 4]);
    }

    async fn disable_and_repeat(&mut self, round: usize) {
        let account = self.link.new_account(&self.admin).await;
        let wanted =
            Wanted { account: account.clone(), refresh: true, opaque: round.is_multiple_of(3), ..Default::default() };
        let first = self.link.issue(&self.client, &wanted).await.unwrap();
        let message = || wire::DisableAccountRequest { tenant_id: "default".to_owned(), account_id: account.clone() };
        let (end, mut accounts) = (self.next_end(round), self.accounts());
        let request = bearing(&self.admin, message());
        let early = self.cut_short(end, request, async |request| accounts.disable_account(request).await).await;

        let read = wire::GetAccountRequest { tenant_id: "default".to_owned(), account_id: account.clone() };
        let read = self.link.accounts().get_account(bearing(&self.admin, read)).await.unwrap().into_inner();
        let disabled = read.account.unwrap().state() == wire::AccountState::Disabled;
        assert!(disabled || early.is_none(), "disabled and acknowledged");
        // Once it is seen disabled, its tokens are dead.
        if disabled {
            assert!(!self.link.is_active(&self.client, &first.access_token, FULL).await.unwrap());
        }
        self.link.accounts().disable_account(bearing(&self.admin, message())).await.unwrap();
        let texts = [first.access_token.clone(), first.refresh_token.clone()];
        assert_eq!(self.link.are_active(&self.client, &texts).await.unwrap(), [false; 2]);
        if early.is_none() {
            // The abandoned one may still be on its way, and come after whatever follows.
            return;
        }
        let enable = wire::EnableAccountRequest { tenant_id: "default".to_owned(), account_id: account.clone() };
        self.link.accounts().enable_account(bearing(&self.admin, enable)).await.unwrap();
        let after = self.link.issue(&self.client, &wanted).await.unwrap();
        let texts = [first.access_token, first.refresh_token, after.access_token];
        assert_eq!(self.link.are_active(&self.client, &texts).await.unwrap(), [false, false, true]);
    }

    async fn play(mut self) {
        // How many calls end early depends on how fast the machine is just now.
        for round in 0..MAX_ROUNDS {
            if round >= ROUNDS && self.ended_early >= ROUNDS {
                break;
            }
            self.issue_and_repeat(round).await;
            self.renew_and_repeat(round).await;
            self.disable_and_repeat(round).await;
        }
        assert!(self.ended_early >= ROUNDS, "{} calls ended early", self.ended_early);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_end_early_are_finished_or_repeated() {
    Scene::on_redis().await.play().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_end_early_are_finished_or_repeated_on_the_embedded_store() {
    Scene::embedded().await.play().await;
}

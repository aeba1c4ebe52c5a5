//! The edge on a real socket, with toys behind it: what a caller meets before and after a handler.

use std::{
    collections::BTreeSet,
    error::Error as _,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use jeton::{
    api::{
        edge,
        edge::{Admitted, Authenticate, Edge, Limits, Watch, run_to_end},
        health,
        health::Health,
        policy::Policy,
        protocol::Grpc,
        wire,
        wire::{
            account_service_client::AccountServiceClient,
            account_service_server::{AccountService, AccountServiceServer},
        },
    },
    error::{Error, Result as TokenResult},
    serve::{Options, Protocol, Shutdown, listen, listen::Address, serve},
};
use jeton_contract::reason::Reason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

/// Longer than anything here takes, unless it hangs.
const SOON: Duration = Duration::from_secs(20);

/// The preface of an HTTP/2 client with an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

// === toys ===

struct Bearers;

impl Authenticate for Bearers {
    type Caller = String;

    async fn authenticate(&self, bearer: &str) -> TokenResult<String> {
        match bearer {
            "all" | "none" => Ok(bearer.to_owned()),
            _ => Err(Error::new(Reason::TokenInvalid, "the token is not valid")),
        }
    }

    fn has_scope(caller: &String, _: &str) -> bool {
        caller == "all"
    }
}

/// Where a handler stands still until the test lets it go on.
#[derive(Clone)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Semaphore>,
    passed: Arc<Notify>,
}

impl Gate {
    fn new() -> Self {
        Self { entered: Arc::default(), open: Arc::new(Semaphore::new(0)), passed: Arc::default() }
    }

    async fn pass(&self) {
        self.entered.notify_one();
        self.open.acquire().await.unwrap().forget();
        self.passed.notify_one();
    }
}

/// Does what the account's id says.
struct Accounts(Gate);

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_account(
        &self,
        request: Request<wire::GetAccountRequest>,
    ) -> Result<Response<wire::GetAccountResponse>, Status> {
        let (admitted, message): (Admitted<String>, _) = edge::open(request)?;
        match message.account_id.as_str() {
            "never" => std::future::pending().await,
            "gate" => self.0.pass().await,
            "panic" => panic!("at the disco"),
            "internal" => return Err(Error::internal("open the drawer").with_source("it is jammed").into()),
            "unavailable" => {
                return Err(Error::new(Reason::StoreUnavailable, "no store").with_source("connection refused").into());
            }
            "missing" => return Err(Error::not_found("Account", "missing").into()),
            _ => {}
        }
        let account = wire::Account {
            account_id: message.account_id,
            display_name: format!("{:?}", admitted.caller),
            ..Default::default()
        };
        Ok(Response::new(wire::GetAccountResponse { account: Some(account) }))
    }

    async fn update_account(
        &self,
        request: Request<wire::UpdateAccountRequest>,
    ) -> Result<Response<wire::UpdateAccountResponse>, Status> {
        let (_, message): (Admitted<String>, wire::UpdateAccountRequest) = edge::open(request)?;
        let gate = self.0.clone();
        let mutation = async move {
            match message.account.unwrap().account_id.as_str() {
                "panic" => panic!("in the middle"),
                "gate" => gate.pass().await,
                _ => {}
            }
            Ok(wire::UpdateAccountResponse::default())
        };
        Ok(Response::new(run_to_end(mutation).await?))
    }

    async fn create_account(
        &self,
        _: Request<wire::CreateAccountRequest>,
    ) -> Result<Response<wire::CreateAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn delete_account(
        &self,
        _: Request<wire::DeleteAccountRequest>,
    ) -> Result<Response<wire::DeleteAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn undelete_account(
        &self,
        _: Request<wire::UndeleteAccountRequest>,
    ) -> Result<Response<wire::UndeleteAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_accounts(
        &self,
        _: Request<wire::ListAccountsRequest>,
    ) -> Result<Response<wire::ListAccountsResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn enable_account(
        &self,
        _: Request<wire::EnableAccountRequest>,
    ) -> Result<Response<wire::EnableAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn disable_account(
        &self,
        _: Request<wire::DisableAccountRequest>,
    ) -> Result<Response<wire::DisableAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }
}

// === a server with toys ===

struct Running {
    address: Address,
    health: Health,
    shutdown: Shutdown,
    gate: Gate,
    log: Log,
    end: JoinHandle<std::io::Result<()>>,
}

/// What the worker threads log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn start() -> Running {
    start_with(|_, _| {}).await
}

async fn start_with(configure: impl FnOnce(&mut Options, &mut Limits)) -> Running {
    start_on("127.0.0.1:0".parse().unwrap(), configure).await
}

async fn start_on(address: Address, configure: impl FnOnce(&mut Options, &mut Limits)) -> Running {
    let mut options =
        Options { workers: 1, drain_delay: Duration::ZERO, drain_timeout: SOON * 2, ..Options::default() };
    let mut limits = Limits { call_timeout: SOON * 2, ..Limits::default() };
    configure(&mut options, &mut limits);
    let listeners = listen::bind(&[address]).unwrap();
    let address = listeners[0].address();
    let policy = Policy::load().unwrap();
    let health = Health::new(&policy).await;
    let gate = Gate::new();
    let log = Log::default();
    let mut routes = health::routes(&health, true).unwrap();
    routes.add_service(AccountServiceServer::new(Accounts(gate.clone())));
    let routes = routes.routes();
    let written = log.clone();
    let make_routes = move || {
        let log = written.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
        // For the rest of the worker's life.
        std::mem::forget(tracing::subscriber::set_default(subscriber));
        routes.clone()
    };
    let edge = Arc::new(Edge::new(policy, Bearers, limits, options.workers, Watch::default()));
    let grpc: Arc<dyn Protocol> = Arc::new(Grpc::new(edge, make_routes, options.workers));
    let shutdown = Shutdown::new();
    let draining = health.clone();
    let protocols = listeners.into_iter().map(|listener| (listener, Arc::clone(&grpc))).collect();
    let asked = shutdown.clone();
    let end = tokio::spawn(async move { serve(options, protocols, asked, draining.not_ready()).await });
    Running { address, health, shutdown, gate, log, end }
}

impl Running {
    fn tcp(&self) -> SocketAddr {
        let Address::Tcp(address) = &self.address else { panic!("not TCP") };
        address.parse().unwrap()
    }

    async fn channel(&self) -> Channel {
        let uri = match &self.address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(path) => format!("unix://{}", path.display()),
        };
        tonic::transport::Endpoint::try_from(uri).unwrap().connect().await.unwrap()
    }

    async fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel().await)
    }

    /// A client that leaves `grpc-timeout` to the server: tonic's own one answers CANCELLED by itself.
    async fn patient(&self) -> AccountServiceClient<Patient> {
        let io = hyper_util::rt::TokioIo::new(self.raw().await);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let origin = format!("http://{}", self.tcp()).parse().unwrap();
        AccountServiceClient::with_origin(Patient(sender), origin)
    }

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.tcp()).await.unwrap()
    }

    /// Waits until no new connections are accepted.
    async fn closed(&self) {
        timeout(SOON, async {
            while TcpStream::connect(self.tcp()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    async fn ended(self) {
        timeout(SOON, self.end).await.expect("the server ends").unwrap().unwrap();
    }

    /// Stops without waiting for calls.
    async fn stop(self) {
        self.shutdown.request();
        self.shutdown.request();
        self.ended().await;
    }
}

#[derive(Clone)]
pub struct Patient(pub hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl tower::Service<http::Request<tonic::body::Body>> for Patient {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

fn get(account_id: &str) -> Request<wire::GetAccountRequest> {
    bearing("all", wire::GetAccountRequest { account_id: account_id.to_owned(), ..Default::default() })
}

fn update(account_id: &str) -> Request<wire::UpdateAccountRequest> {
    let account = wire::Account { account_id: account_id.to_owned(), ..Default::default() };
    bearing("all", wire::UpdateAccountRequest { account: Some(account), ..Default::default() })
}

fn bearing<T>(bearer: &str, message: T) -> Request<T> {
    with(Request::new(message), "authorization", &format!("Bearer {bearer}"))
}

fn with<T>(mut request: Request<T>, name: &'static str, value: &str) -> Request<T> {
    request.metadata_mut().append(name, value.parse().unwrap());
    request
}

#[track_caller]
fn assert_status(status: &Status, code: Code, reason: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "jeton"), "{status:?}");
}

async fn get_fails(server: &Running, request: Request<wire::GetAccountRequest>) -> Status {
    timeout(SOON, server.patient().await.get_account(request)).await.unwrap().unwrap_err()
}

/// A unary call of any method with any message.
async fn unary<M: prost::Message + Default + 'static>(
    channel: Channel,
    path: &'static str,
    request: Request<M>,
) -> Result<Response<()>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    client.unary(request, http::uri::PathAndQuery::from_static(path), tonic_prost::ProstCodec::<M, ()>::default()).await
}

// === deadlines ===

#[tokio::test]
async fn a_slow_handler_is_answered_with_deadline_exceeded() {
    let server = start().await;
    let status = get_fails(&server, with(get("never"), "grpc-timeout", "50m")).await;
    assert_status(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    server.stop().await;
}

#[tokio::test]
async fn the_server_caps_the_deadline() {
    let server = start_with(|_, limits| limits.call_timeout = Duration::from_millis(50)).await;
    for request in [get("never"), with(get("never"), "grpc-timeout", "1H")] {
        let status = get_fails(&server, request).await;
        assert_status(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    }
    server.stop().await;
}

#[tokio::test]
async fn no_handler_runs_after_its_deadline() {
    let server = start().await;
    let status = get_fails(&server, with(get("any"), "grpc-timeout", "0n")).await;
    assert_status(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let server = start().await;
    for malformed in ["", "1", "S", "1s", "1 S", "-1S", "1.5S", "123456789S", "1SS"] {
        let status = get_fails(&server, with(get("any"), "grpc-timeout", malformed)).await;
        assert_status(&status, Code::InvalidArgument, "INVALID_METADATA");
    }
    let mut accounts = server.accounts().await;
    for valid in ["99999999H", "1M", "20S", "20000m", "20000000u", "99999999n"] {
        accounts.get_account(with(get("any"), "grpc-timeout", valid)).await.unwrap();
    }
    server.stop().await;
}

// === metadata and access ===

#[tokio::test]
async fn two_authorization_entries_are_refused() {
    let server = start().await;
    let status = get_fails(&server, with(get("any"), "authorization", "Bearer all")).await;
    assert_status(&status, Code::InvalidArgument, "INVALID_METADATA");
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_authorization_is_refused() {
    let server = start().await;
    for malformed in ["", "Bearer", "Bearer ", "Basic YWxs", "all", "Bearer all all", "Bearer all,Bearer all"] {
        let request = with(Request::new(get("any").into_inner()), "authorization", malformed);
        let status = get_fails(&server, request).await;
        assert_status(&status, Code::InvalidArgument, "INVALID_METADATA");
    }
    let lower = with(Request::new(get("any").into_inner()), "authorization", "bearer all");
    server.accounts().await.get_account(lower).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_bearer_is_wanted_and_judged() {
    let server = start().await;
    let status = get_fails(&server, Request::new(get("any").into_inner())).await;
    assert_status(&status, Code::Unauthenticated, "TOKEN_MISSING");
    let status = get_fails(&server, bearing("forged", get("any").into_inner())).await;
    assert_status(&status, Code::Unauthenticated, "TOKEN_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn an_invalid_bearer_is_refused_even_where_none_is_wanted() {
    let server = start().await;
    let request = bearing("forged", wire::ListSigningKeysRequest::default());
    let status = unary(server.channel().await, "/jeton.v1.TokenService/ListSigningKeys", request).await.unwrap_err();
    assert_status(&status, Code::Unauthenticated, "TOKEN_INVALID");
    server.stop().await;
}

#[tokio::test]
async fn the_scope_is_checked_unless_the_handler_decides() {
    let server = start().await;
    let mut accounts = server.accounts().await;
    let request = bearing("none", wire::DeleteAccountRequest { account_id: "a".into(), ..Default::default() });
    let status = accounts.delete_account(request).await.unwrap_err();
    assert_status(&status, Code::PermissionDenied, "SCOPE_INSUFFICIENT");
    let seen = |reply: Response<wire::GetAccountResponse>| reply.into_inner().account.unwrap().display_name;
    let own = accounts.get_account(bearing("none", get("a").into_inner())).await.unwrap();
    assert_eq!(seen(own), "Some(\"none\")");
    let any = accounts.get_account(get("a")).await.unwrap();
    assert_eq!(seen(any), "Some(\"all\")");
    server.stop().await;
}

#[tokio::test]
async fn a_request_id_is_echoed_or_made() {
    let server = start().await;
    let mut accounts = server.accounts().await;
    let reply = accounts.get_account(with(get("any"), "x-request-id", "mine-1")).await.unwrap();
    assert_eq!(reply.metadata().get("x-request-id").unwrap(), "mine-1");
    let status = accounts.get_account(with(get("missing"), "x-request-id", "mine-2")).await.unwrap_err();
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "mine-2");
    let mut made = BTreeSet::new();
    for bad in ["", "white space", &"x".repeat(65)] {
        let reply = accounts.get_account(with(get("any"), "x-request-id", bad)).await.unwrap();
        made.insert(reply.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(made.len(), 3, "{made:?}");
    server.stop().await;
}

// === failures ===

#[tokio::test]
async fn rules_of_fields_are_enforced() {
    let server = start().await;
    let status = get_fails(&server, get("")).await;
    assert_status(&status, Code::InvalidArgument, "INVALID_FIELD");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "account_id");
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_says_so() {
    let server = start().await;
    let account = wire::Account { legal_name: "x".repeat(64 * 1024), ..Default::default() };
    let request = bearing("all", wire::UpdateAccountRequest { account: Some(account), ..Default::default() });
    let status = server.accounts().await.update_account(request).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, "INVALID_MESSAGE");
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_says_so() {
    let server = start().await;
    // Field 2 is a number here, and a string there.
    let request = bearing("all", wire::ListAccountsRequest { page_size: 5, ..Default::default() });
    let status = unary(server.channel().await, "/jeton.v1.AccountService/GetAccount", request).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, "INVALID_MESSAGE");
    server.stop().await;
}

#[tokio::test]
async fn unknown_methods_and_services_say_so() {
    let server = start().await;
    for path in ["/jeton.v1.AccountService/Nothing", "/no.Service/Nothing", "/jeton.v1.AccountService/GetAccount/"] {
        let status = unary(server.channel().await, path, get("any")).await.unwrap_err();
        assert_status(&status, Code::Unimplemented, "METHOD_UNKNOWN");
        assert_eq!(status.get_details_resource_info().unwrap().resource_name, path);
    }
    // Declared, but not served here.
    let request = bearing("all", wire::GetCallerRequest {});
    let status = unary(server.channel().await, "/jeton.v1.TokenService/GetCaller", request).await.unwrap_err();
    assert_status(&status, Code::Unimplemented, "METHOD_UNKNOWN");
    server.stop().await;
}

#[tokio::test]
async fn a_compressed_message_is_refused_with_a_reason() {
    let server = start().await;
    let request = with(get("any"), "grpc-encoding", "gzip");
    let status = unary(server.channel().await, "/jeton.v1.AccountService/GetAccount", request).await.unwrap_err();
    assert_status(&status, Code::Unimplemented, "INVALID_METADATA");
    server.stop().await;
}

#[tokio::test]
async fn a_panic_fails_its_own_call_only() {
    let server = start().await;
    let mut accounts = server.accounts().await;
    let status = accounts.get_account(get("panic")).await.unwrap_err();
    assert_status(&status, Code::Internal, "INTERNAL");
    assert_eq!(status.message(), "internal error");
    let status = accounts.update_account(update("panic")).await.unwrap_err();
    assert_status(&status, Code::Internal, "INTERNAL");
    accounts.get_account(get("any")).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn failures_are_logged_once_with_their_causes_and_without_secrets() {
    let server = start().await;
    let mut accounts = server.accounts().await;
    for id in ["internal", "unavailable", "missing", "any"] {
        let _ = accounts.get_account(with(get(id), "x-request-id", &format!("id-of-{id}"))).await;
    }
    accounts.update_account(with(update("any"), "x-request-id", "id-of-update")).await.unwrap();
    let _ = accounts.get_account(bearing("s3cret", get("any").into_inner())).await;
    let log = server.log.text();
    let line = |id: &str| {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(id)).collect();
        assert_eq!(lines.len(), 1, "{id} in {log}");
        lines[0]
    };
    let internal = line("id-of-internal");
    assert!(internal.contains("ERROR") && internal.contains("open the drawer: it is jammed"), "{internal}");
    let unavailable = line("id-of-unavailable");
    assert!(unavailable.contains("WARN") && unavailable.contains("no store: connection refused"), "{unavailable}");
    let missing = line("id-of-missing");
    assert!(missing.contains("INFO") && missing.contains("GetAccount failed: NOT_FOUND"), "{missing}");
    assert!(line("id-of-update").contains("UpdateAccount succeeded"));
    assert!(!log.contains("id-of-any"), "reads that succeed are not worth a line: {log}");
    assert!(!log.contains("s3cret") && !log.contains("Bearer"), "{log}");
    server.stop().await;
}

// === limits ===

#[tokio::test]
async fn calls_beyond_the_limit_are_shed_but_not_revocations_and_probes() {
    for connection in [false, true] {
        let server = start_with(|_, limits| {
            *(if connection { &mut limits.calls_per_connection } else { &mut limits.calls }) = 1;
        })
        .await;
        let channel = server.channel().await;
        let mut accounts = AccountServiceClient::new(channel.clone());
        let held = tokio::spawn({
            let mut accounts = accounts.clone();
            async move { accounts.get_account(get("gate")).await }
        });
        server.gate.entered.notified().await;

        let status = accounts.get_account(get("any")).await.unwrap_err();
        assert_status(&status, Code::ResourceExhausted, "OVERLOADED");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
        // It got through to the place where a service would be.
        let request = bearing("all", wire::RevokeTokenRequest::default());
        let status = unary(channel.clone(), "/jeton.v1.TokenService/RevokeToken", request).await.unwrap_err();
        assert_status(&status, Code::Unimplemented, "METHOD_UNKNOWN");
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();

        server.gate.open.add_permits(1);
        held.await.unwrap().unwrap();
        accounts.get_account(get("any")).await.unwrap();
        server.stop().await;
    }
}

#[tokio::test]
async fn a_mutation_keeps_its_place_when_its_call_is_over() {
    let server = start_with(|_, limits| limits.calls = 1).await;
    let mut accounts = server.patient().await;
    let status = accounts.update_account(with(update("gate"), "grpc-timeout", "50m")).await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let status = accounts.get_account(get("any")).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "OVERLOADED");
    server.gate.open.add_permits(1);
    timeout(SOON, server.gate.passed.notified()).await.expect("the mutation runs to its end");
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = start_with(|options, _| options.connections = 1).await;
    let mut first = server.raw().await;
    first.write_all(PREFACE).await.unwrap();
    let mut one = [0; 1];
    first.read_exact(&mut one).await.unwrap();
    let mut second = server.raw().await;
    second.write_all(PREFACE).await.unwrap();
    assert!(timeout(Duration::from_millis(100), second.read_exact(&mut one)).await.is_err(), "it waits");
    drop(first);
    timeout(SOON, second.read_exact(&mut one)).await.expect("it is served").unwrap();
    server.stop().await;
}

// === connections ===

#[tokio::test]
async fn a_connection_that_does_not_speak_in_time_is_closed() {
    let server = start_with(|options, _| options.first_frame_timeout = Duration::from_millis(100)).await;
    for part in [0, 10, 24, PREFACE.len() - 1] {
        let mut connection = server.raw().await;
        connection.write_all(&PREFACE[..part]).await.unwrap();
        let mut received = Vec::new();
        let end = timeout(SOON, connection.read_to_end(&mut received)).await;
        // With unread bytes in its buffer, the system closes with a reset.
        assert!(end.is_ok(), "{part} bytes keep it open");
    }
    let mut accounts = server.accounts().await;
    accounts.get_account(get("any")).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go() {
    let server = start_with(|options, _| options.connection_age = Duration::from_millis(100)).await;
    let mut old = server.raw().await;
    old.write_all(PREFACE).await.unwrap();
    let mut received = Vec::new();
    timeout(SOON, old.read_to_end(&mut received)).await.expect("it is closed").unwrap();
    assert!(frames(&received).contains(&7), "GOAWAY among {:?}", frames(&received));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_asked_to_go_loses_no_call() {
    let server = start_with(|options, _| options.connection_age = Duration::from_millis(100)).await;
    let mut accounts = server.patient().await;
    let mut slow = accounts.clone();
    let held = tokio::spawn(async move { slow.get_account(get("gate")).await });
    server.gate.entered.notified().await;
    let unsent = timeout(SOON, async {
        loop {
            if let Err(status) = accounts.get_account(get("any")).await {
                break status;
            }
        }
    });
    let unsent = unsent.await.expect("it is asked to go");
    let error = unsent.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    assert!(error.is_some_and(hyper::Error::is_canceled), "it left the client and was lost: {unsent:?}");
    assert!(!held.is_finished());
    server.gate.open.add_permits(1);
    held.await.unwrap().unwrap();
    server.stop().await;
}

/// The types of the HTTP/2 frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        types.push(*kind);
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        bytes = rest.get(len..).unwrap_or_default();
    }
    types
}

#[tokio::test]
async fn a_unix_socket_works_and_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jeton.sock");
    let server = start_on(Address::Unix(path.clone()), |_, _| {}).await;
    server.accounts().await.get_account(get("any")).await.unwrap();
    server.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn all_workers_serve() {
    let server = start_with(|options, _| options.workers = 3).await;
    for _ in 0..6 {
        server.accounts().await.get_account(get("any")).await.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn http_1_is_refused() {
    let server = start().await;
    let mut connection = server.raw().await;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: jeton\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let _ = timeout(SOON, connection.read_to_end(&mut received)).await.expect("it is closed");
    assert!(!received.starts_with(b"HTTP/1"));
    server.stop().await;
}

// === draining ===

#[tokio::test]
async fn a_drain_finishes_calls_in_flight() {
    let server = start().await;
    let mut accounts = server.accounts().await;
    let held = tokio::spawn(async move { accounts.get_account(get("gate")).await });
    server.gate.entered.notified().await;
    server.shutdown.request();
    server.closed().await;
    assert!(!server.end.is_finished());
    server.gate.open.add_permits(1);
    held.await.unwrap().unwrap();
    server.ended().await;
}

#[tokio::test]
async fn a_drain_waits_for_mutations_that_nobody_waits_for() {
    let server = start().await;
    let mut accounts = server.accounts().await;
    let call = tokio::spawn(async move { accounts.update_account(update("gate")).await });
    server.gate.entered.notified().await;
    call.abort();
    let _ = call.await;
    server.shutdown.request();
    server.closed().await;
    assert!(!server.end.is_finished());
    server.gate.open.add_permits(1);
    server.gate.passed.notified().await;
    server.ended().await;
}

#[tokio::test]
async fn silent_clients_do_not_hold_a_drain() {
    let server = start().await;
    let tcp_only = server.raw().await;
    let mut preface_only = server.raw().await;
    preface_only.write_all(PREFACE).await.unwrap();
    // The server has answered, so it waits for frames now.
    preface_only.read_exact(&mut [0; 9]).await.unwrap();
    server.shutdown.request();
    server.ended().await;
    drop((tcp_only, preface_only));
}

#[tokio::test]
async fn a_drain_has_a_hard_deadline() {
    let server = start_with(|options, _| options.drain_timeout = Duration::from_millis(50)).await;
    let mut accounts = server.accounts().await;
    let held = tokio::spawn(async move { accounts.get_account(get("never")).await });
    let mut accounts = server.accounts().await;
    accounts.get_account(get("any")).await.unwrap();
    server.shutdown.request();
    server.ended().await;
    held.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_second_request_stops_at_once() {
    let server = start_with(|options, _| options.drain_delay = SOON * 2).await;
    let mut accounts = server.accounts().await;
    let held = tokio::spawn(async move { accounts.get_account(get("gate")).await });
    server.gate.entered.notified().await;
    server.shutdown.request();
    server.shutdown.request();
    server.ended().await;
    held.await.unwrap().unwrap_err();
}

// === health and reflection ===

#[tokio::test]
async fn health_tells_whether_calls_are_wanted() {
    let server = start().await;
    let mut client = HealthClient::new(server.channel().await);
    let services = ["", "jeton.v1.TokenService", "jeton.v1.AccountService"];
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in services {
        assert_eq!(client.check(ask(service)).await.unwrap().into_inner().status, 2, "{service} is NOT_SERVING");
    }
    server.health.ready().await;
    for service in services {
        assert_eq!(client.check(ask(service)).await.unwrap().into_inner().status, 1, "{service} is SERVING");
    }
    let status = client.check(ask("jeton.v1.Nothing")).await.unwrap_err();
    assert_status(&status, Code::NotFound, "NOT_FOUND");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_wants_no_calls_still_says_that_it_lives() {
    let server = start().await;
    let mut client = HealthClient::new(server.channel().await);
    let ask = || HealthCheckRequest { service: "liveness".to_owned() };
    assert_eq!(client.check(ask()).await.unwrap().into_inner().status, 1, "before it is ready");
    server.health.ready().await;
    server.health.not_ready().await;
    assert_eq!(client.check(ask()).await.unwrap().into_inner().status, 1, "without its store");
    server.stop().await;
}

#[tokio::test]
async fn watchers_learn_of_a_drain_and_their_streams_end() {
    let server = start().await;
    server.health.ready().await;
    let mut client = HealthClient::new(server.channel().await);
    let reply = client.watch(with(Request::new(HealthCheckRequest::default()), "x-request-id", "mine")).await.unwrap();
    assert_eq!(reply.metadata().get("x-request-id").unwrap(), "mine");
    let mut states = reply.into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status, 1);
    server.shutdown.request();
    // Not serving, and then the end; a watcher that is slow may see only the end.
    let status = loop {
        match states.message().await {
            Ok(Some(state)) => assert_eq!(state.status, 2),
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break status,
        }
    };
    assert_status(&status, Code::Unavailable, "NOT_SERVING");
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "mine");
    server.ended().await;
}

#[tokio::test]
async fn reflection_lists_everything_in_both_versions() {
    let server = start().await;
    let expected: BTreeSet<String> = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "jeton.v1.AccountService",
        "jeton.v1.ClientService",
        "jeton.v1.EntityGroupService",
        "jeton.v1.MemberService",
        "jeton.v1.TenantService",
        "jeton.v1.TokenService",
    ]
    .map(str::to_owned)
    .into();

    macro_rules! list {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
            let questions = vec![
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol("jeton.v1.TokenService.IssueToken".into())),
                ask(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into())),
            ];
            let mut client = ServerReflectionClient::new(server.channel().await);
            let replies = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap();
            let mut replies = replies.into_inner();
            let mut next = async || replies.message().await.unwrap().unwrap().message_response.unwrap();
            let MessageResponse::ListServicesResponse(list) = next().await else { panic!() };
            let names: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
            assert_eq!(names, expected);
            for _ in 0..2 {
                assert!(matches!(next().await, MessageResponse::FileDescriptorResponse(_)));
            }
        }};
    }
    list!(v1);
    list!(v1alpha);
    server.stop().await;
}

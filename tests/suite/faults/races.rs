//! Concurrent calls on several replicas: renewals of one token, revocations against renewals and issues.

use std::{collections::BTreeSet, time::Duration};

use jeton::api::wire;
use tonic::Code;

use super::{
    calls::{Client, FULL, Link, Reply, Wanted, all, bearing, reason},
    history::{Chance, refusal},
    process::{Jeton, Setup},
};
use crate::servers::{Aof, Server};

const REPLICAS: usize = 3;
/// Renewals of one token at a time.
const TWINS: usize = 48;

/// Some replicas on one server.
struct Replicas {
    jetons: Vec<Jeton>,
    links: Vec<Link>,
    admin: String,
    _server: Option<Server>,
}

// === impl Replicas ===

impl Replicas {
    async fn on_redis() -> Self {
        let server = Server::start(Aof::Off);
        let jetons = (0..REPLICAS).map(|_| Setup::redis(&server).start()).collect();
        Self::of(jetons, Some(server)).await
    }

    async fn embedded() -> Self {
        Self::of(vec![Setup::embedded().start()], None).await
    }

    async fn of(jetons: Vec<Jeton>, server: Option<Server>) -> Self {
        // Several connections each, so that calls meet on different workers of one process, too.
        let links = (0..2).flat_map(|_| jetons.iter().map(Jeton::link)).collect::<Vec<_>>();
        let admin = links[0].admin().await;
        Self { jetons, links, admin, _server: server }
    }

    fn link(&self, i: usize) -> &Link {
        &self.links[i % self.links.len()]
    }

    /// Renews one token many times at once, all over the replicas.
    async fn renew_at_once(&self, first: usize, client: &Client, refresh_token: &str) -> Vec<Reply<wire::IssuedToken>> {
        let twins = (0..TWINS).map(|i| {
            let (link, client, text) = (self.link(first + i).clone(), client.clone(), refresh_token.to_owned());
            async move { link.renew(&client, &text).await }
        });
        all(twins).await
    }

    /// How many tokens of a client are listed.
    async fn listed(&self, client: &Client) -> usize {
        let mut count = 0;
        let mut page_token = String::new();
        loop {
            let request = wire::ListTokensRequest {
                tenant_id: "default".to_owned(),
                subject: Some(wire::list_tokens_request::Subject::ClientId(client.id.clone())),
                page_size: 1000,
                page_token,
                ..Default::default()
            };
            let page = self.links[0].tokens().list_tokens(bearing(&self.admin, request)).await.unwrap().into_inner();
            count += page.tokens.len();
            if page.next_page_token.is_empty() {
                return count;
            }
            page_token = page.next_page_token;
        }
    }

    /// Asserts that no replica finds any of the texts active.
    async fn assert_dead(&self, client: &Client, texts: &[String]) {
        for jeton in &self.jetons {
            let active = jeton.link().are_active(client, texts).await.unwrap();
            assert_eq!(active, vec![false; texts.len()], "{}", jeton.address());
        }
    }
}

/// Renews one token many times at once, in rounds; the successor of a round is the next one's token.
async fn renew_in_rounds(replicas: &Replicas, rounds: usize, opaque: bool) {
    let client = replicas.links[0].new_client(&replicas.admin, Duration::from_secs(300)).await;
    let wanted = Wanted { refresh: true, opaque, ..Default::default() };
    let mut refresh_token = replicas.links[0].issue(&client, &wanted).await.unwrap().refresh_token;
    for round in 0..rounds {
        let mut successors = BTreeSet::new();
        for reply in replicas.renew_at_once(round, &client, &refresh_token).await {
            let token = reply.unwrap();
            // Two signatures of one JWT may differ.
            let text = if opaque { token.access_token } else { String::new() };
            let times = (token.expire_time.unwrap().seconds, token.refresh_expire_time.unwrap().seconds);
            successors.insert((token.token_id, text, token.refresh_token, times));
        }
        assert_eq!(successors.len(), 1, "round {round}: {successors:#?}");
        let (_, _, successor, _) = successors.into_iter().next().unwrap();
        assert_ne!(successor, refresh_token);
        refresh_token = successor;
    }
    assert_eq!(replicas.listed(&client).await, rounds + 1, "each round made one access token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_renewals_on_three_replicas_have_one_successor() {
    let replicas = Replicas::on_redis().await;
    tokio::join!(renew_in_rounds(&replicas, 100, true), renew_in_rounds(&replicas, 100, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_renewals_on_the_embedded_store_have_one_successor() {
    let replicas = Replicas::embedded().await;
    tokio::join!(renew_in_rounds(&replicas, 20, true), renew_in_rounds(&replicas, 20, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_replay_window_one_of_many_renewals_is_answered_and_the_family_dies() {
    let replicas = Replicas::on_redis().await;
    let client = replicas.links[0].new_client(&replicas.admin, Duration::ZERO).await;
    for round in 0..10_usize {
        let wanted = Wanted { refresh: true, opaque: round.is_multiple_of(2), ..Default::default() };
        let first = replicas.link(round).issue(&client, &wanted).await.unwrap();
        let replies = replicas.renew_at_once(round, &client, &first.refresh_token).await;
        let (answered, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
        for reply in &refused {
            let status = reply.as_ref().unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            assert!(["REFRESH_REUSED", "REFRESH_INVALID"].contains(&&*reason(status).unwrap()), "{status:?}");
        }
        assert_eq!(answered.len(), 1, "round {round}");
        let second = answered.into_iter().next().unwrap().unwrap();
        let family = [first.access_token, first.refresh_token, second.access_token, second.refresh_token.clone()];
        replicas.assert_dead(&client, &family).await;
        let status = replicas.link(round).renew(&client, &second.refresh_token).await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("REFRESH_INVALID"));
    }
}

async fn revoke_against_renew(replicas: &Replicas, rounds: usize) {
    let client = replicas.links[0].new_client(&replicas.admin, Duration::from_secs(300)).await;
    let mut chance = Chance::new(2);
    let mut renewed = 0;
    for round in 0..rounds {
        let wanted = Wanted { refresh: true, opaque: round.is_multiple_of(2), ..Default::default() };
        let first = replicas.link(round).issue(&client, &wanted).await.unwrap();
        let pause = chance.micros(4000);
        let revoked = async {
            tokio::time::sleep(pause).await;
            replicas.link(round + 1).revoke(&first.refresh_token).await
        };
        // One after the other on each replica, so that some overlap the revocation wherever it falls.
        let renewals = (0..REPLICAS).map(|replica| {
            let (link, client) = (replicas.link(replica).clone(), client.clone());
            let mut refresh_token = first.refresh_token.clone();
            async move {
                let mut replies = Vec::new();
                for _ in 0..3 {
                    let reply = link.renew(&client, &refresh_token).await;
                    if let Ok(token) = &reply {
                        refresh_token.clone_from(&token.refresh_token);
                    }
                    replies.push(reply);
                }
                replies
            }
        });
        let (revoked, renewals) = tokio::join!(revoked, all(renewals));
        revoked.unwrap();
        let mut texts = vec![first.access_token.clone(), first.refresh_token.clone()];
        for reply in renewals.into_iter().flatten() {
            match reply {
                Ok(token) => {
                    renewed += 1;
                    texts.extend([token.access_token, token.refresh_token]);
                }
                Err(status) => assert!(
                    ["REFRESH_INVALID", "REFRESH_REUSED"].contains(&&*reason(&status).unwrap_or_default()),
                    "{status:?}"
                ),
            }
        }
        replicas.assert_dead(&client, &texts).await;
        for refresh_token in texts.iter().filter(|text| text.starts_with("jtr_")) {
            replicas.link(round).renew(&client, refresh_token).await.unwrap_err();
        }
    }
    assert!(renewed > rounds / 4, "{renewed} renewals came before the revocation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_a_family_outlives_its_revocation_whatever_renews_meanwhile() {
    revoke_against_renew(&Replicas::on_redis().await, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_a_family_outlives_its_revocation_on_the_embedded_store() {
    revoke_against_renew(&Replicas::embedded().await, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_everything_kills_what_was_there_before_and_spares_what_comes_after() {
    let replicas = Replicas::on_redis().await;
    let admin = &replicas.admin;
    let client = replicas.links[0].new_client(admin, Duration::from_secs(10)).await;
    let account = replicas.links[0].new_account(admin).await;
    let mut chance = Chance::new(3);
    for round in 0..100_usize {
        let wanted =
            Wanted { account: account.clone(), refresh: true, opaque: round.is_multiple_of(2), ..Default::default() };
        let before = replicas.link(round).issue(&client, &wanted).await.unwrap();
        let pause = chance.micros(2000);
        let revoked = async {
            tokio::time::sleep(pause).await;
            replicas.link(round + 1).revoke_all_of_account(admin, &account).await
        };
        let (revoked, meanwhile) = tokio::join!(revoked, replicas.link(round + 2).issue(&client, &wanted));
        revoked.unwrap();
        let after = replicas.link(round + 2).issue(&client, &wanted).await.unwrap();
        let renewed = replicas.link(round).renew(&client, &after.refresh_token).await;
        assert_eq!(refusal(&renewed), None, "round {round}");
        assert!(replicas.link(round).renew(&client, &before.refresh_token).await.is_err());

        let texts = [before.access_token, after.access_token, renewed.unwrap().access_token];
        for jeton in &replicas.jetons {
            let active = jeton.link().are_active(&client, &texts).await.unwrap();
            assert_eq!(active, [false, true, true], "round {round}, {}", jeton.address());
        }
        // What overlaps may come out either way, but the same everywhere.
        let meanwhile = meanwhile.unwrap().access_token;
        let mut answers = BTreeSet::new();
        for jeton in &replicas.jetons {
            answers.insert(jeton.link().is_active(&client, &meanwhile, FULL).await.unwrap());
        }
        assert_eq!(answers.len(), 1, "round {round}");
    }
}

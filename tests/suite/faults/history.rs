//! Load that remembers what was acknowledged, so that it can be asked for after a fault.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tonic::Status;

use super::{
    calls::{Client, Link, Reply, Wanted, eventually, is_unknown, reason, request_id},
    process::Jeton,
};

/// One account and what was issued for it. Only its holder acts on it, one step after the other, so the order of what
/// was acknowledged is known.
#[derive(Debug)]
pub struct Holder {
    client: Client,
    account: String,
    admin: String,
    tokens: Vec<Known>,
    families: Vec<Family>,
    chance: Chance,
    /// The step of which nobody knows whether it was done.
    unknown: Option<Step>,
    acknowledged: usize,
}

/// An access token or a refresh token that was given to somebody.
#[derive(Debug)]
struct Known {
    text: String,
    alive: bool,
    /// Which family it belongs to.
    family: Option<usize>,
}

#[derive(Debug)]
struct Family {
    refresh_token: String,
    alive: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Issue(Wanted),
    /// Of the family with this number.
    Renew(usize),
    /// Of the token with this number.
    Revoke(usize),
    RevokeFamily(usize),
    RevokeAll,
}

/// xorshift: where a fault hits must vary, and nothing else.
#[derive(Debug)]
pub struct Chance(u64);

/// Holders that act at the same time.
pub struct Load {
    tasks: JoinSet<Holder>,
    stop: Arc<AtomicBool>,
}

/// What a holder still asks for; older tokens were asked for often enough.
const REMEMBERED: usize = 120;
/// Renewals are repeated after restarts, so the window must be longer than these take.
const REPLAY_WINDOW: Duration = Duration::from_secs(300);

// === impl Chance ===

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn micros(&mut self, end: usize) -> Duration {
        Duration::from_micros(self.below(end).try_into().unwrap())
    }
}

// === impl Holder ===

/// Holders with an account each.
pub async fn holders(jeton: &Jeton, count: usize) -> Vec<Holder> {
    let link = jeton.link();
    let admin = link.admin().await;
    let client = link.new_client(&admin, REPLAY_WINDOW).await;
    let mut holders = Vec::new();
    for seed in 0..count {
        holders.push(Holder {
            client: client.clone(),
            account: link.new_account(&admin).await,
            admin: admin.clone(),
            tokens: Vec::new(),
            families: Vec::new(),
            chance: Chance::new(seed.try_into().unwrap()),
            unknown: None,
            acknowledged: 0,
        });
    }
    holders
}

impl Holder {
    /// Takes steps until one is not answered, or until `stop`.
    async fn act(mut self, link: Link, stop: Arc<AtomicBool>) -> Self {
        while self.unknown.is_none() && !stop.load(Ordering::Relaxed) {
            let step = self.choose();
            match self.take(&link, &step).await {
                Ok(()) => self.acknowledged += 1,
                Err(status) if is_unknown(&status) => self.unknown = Some(step),
                Err(status) => panic!("{step:?}: {status:?}"),
            }
        }
        self
    }

    fn choose(&mut self) -> Step {
        let families: Vec<usize> = (0..self.families.len()).filter(|i| self.families[*i].alive).collect();
        let tokens: Vec<usize> = (0..self.tokens.len()).filter(|i| self.tokens[*i].alive).collect();
        match self.chance.below(20) {
            0..7 if !families.is_empty() => Step::Renew(families[self.chance.below(families.len())]),
            7..10 if !tokens.is_empty() => Step::Revoke(tokens[self.chance.below(tokens.len())]),
            10..12 if !families.is_empty() => Step::RevokeFamily(families[self.chance.below(families.len())]),
            12 => Step::RevokeAll,
            kind => Step::Issue(Wanted {
                account: self.account.clone(),
                refresh: !kind.is_multiple_of(3),
                opaque: kind.is_multiple_of(2),
                request_id: request_id(),
            }),
        }
    }

    /// Takes a step, and notes what it means if it was acknowledged.
    async fn take(&mut self, link: &Link, step: &Step) -> Reply<()> {
        match step {
            Step::Issue(wanted) => {
                let issued = link.issue(&self.client, wanted).await?;
                let family = wanted.refresh.then(|| {
                    self.families.push(Family { refresh_token: issued.refresh_token, alive: true });
                    self.families.len() - 1
                });
                self.tokens.push(Known { text: issued.access_token, alive: true, family });
            }
            Step::Renew(family) => {
                let renewed = link.renew(&self.client, &self.families[*family].refresh_token).await?;
                self.families[*family].refresh_token = renewed.refresh_token;
                self.tokens.push(Known { text: renewed.access_token, alive: true, family: Some(*family) });
            }
            Step::Revoke(token) => {
                link.revoke(&self.tokens[*token].text).await?;
                self.tokens[*token].alive = false;
            }
            Step::RevokeFamily(family) => {
                link.revoke(&self.families[*family].refresh_token).await?;
                self.families[*family].alive = false;
                self.tokens
                    .iter_mut()
                    .filter(|token| token.family == Some(*family))
                    .for_each(|token| token.alive = false);
            }
            Step::RevokeAll => {
                link.revoke_all_of_account(&self.admin, &self.account).await?;
                self.families.iter_mut().for_each(|family| family.alive = false);
                self.tokens.iter_mut().for_each(|token| token.alive = false);
            }
        }
        Ok(())
    }

    /// Repeats the step of which nobody knows, until it is known.
    async fn settle(&mut self, link: &Link) {
        let Some(step) = self.unknown.take() else { return };
        // What gives tokens gives the same ones again.
        match &step {
            Step::Issue(wanted) => {
                let once = eventually("the issue is repeated", async || {
                    link.issue(&self.client, wanted).await.map_or_else(again, Some)
                })
                .await;
                let twice = link.issue(&self.client, wanted).await.unwrap();
                assert_eq!(
                    (&once.token_id, &once.refresh_token, &once.expire_time),
                    (&twice.token_id, &twice.refresh_token, &twice.expire_time)
                );
            }
            Step::Renew(family) => {
                let before = self.families[*family].refresh_token.clone();
                let once = eventually("the renewal is repeated", async || {
                    link.renew(&self.client, &before).await.map_or_else(again, Some)
                })
                .await;
                let twice = link.renew(&self.client, &before).await.unwrap();
                assert_eq!(
                    (&once.token_id, &once.refresh_token, &once.expire_time),
                    (&twice.token_id, &twice.refresh_token, &twice.expire_time)
                );
            }
            Step::Revoke(_) | Step::RevokeFamily(_) | Step::RevokeAll => {}
        }
        let this = &mut *self;
        eventually("the step is repeated", async || this.take(link, &step).await.map_or_else(again, Some)).await;
        self.acknowledged += 1;
    }

    /// Asks for everything that was acknowledged.
    async fn verify(&self, link: &Link) {
        let families = self.families.iter().map(|family| (family.refresh_token.clone(), family.alive));
        let known = self.tokens.iter().map(|token| (token.text.clone(), token.alive)).chain(families);
        let (texts, alive): (Vec<String>, Vec<bool>) = known.unzip();
        let active = link.are_active(&self.client, &texts).await.unwrap();
        for (i, text) in texts.iter().enumerate() {
            let was = if alive[i] { "issued" } else { "revoked" };
            assert_eq!(active[i], alive[i], "{was} and acknowledged, but active is {}: {text}", active[i]);
        }
    }

    /// Forgets old tokens, so that asking for all of them stays short.
    fn forget(&mut self) {
        let old = self.tokens.len().saturating_sub(REMEMBERED);
        self.tokens.drain(..old);
    }
}

// === impl Load ===

impl Load {
    /// Lets each holder act on one of the links.
    pub fn start(holders: Vec<Holder>, links: &[Link]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (i, holder) in holders.into_iter().enumerate() {
            tasks.spawn(holder.act(links[i % links.len()].clone(), Arc::clone(&stop)));
        }
        Self { tasks, stop }
    }

    /// Waits for what is on its way.
    pub async fn stop(self) -> Vec<Holder> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await
    }
}

/// Nothing yet: a step that is not answered is repeated.
#[expect(clippy::needless_pass_by_value, reason = "the end of a chain of results")]
fn again<T>(status: Status) -> Option<T> {
    assert!(is_unknown(&status), "a repeated step does not converge: {status:?}");
    None
}

/// How many steps were acknowledged so far.
pub fn acknowledged(holders: &[Holder]) -> usize {
    holders.iter().map(|holder| holder.acknowledged).sum()
}

/// How many holders do not know what became of their last step.
pub fn unknown(holders: &[Holder]) -> usize {
    holders.iter().filter(|holder| holder.unknown.is_some()).count()
}

/// Repeats what is unknown, and asks every process for everything that was acknowledged.
pub async fn settle_and_verify(holders: &mut [Holder], links: &[Link]) {
    for (i, holder) in holders.iter_mut().enumerate() {
        holder.settle(&links[i % links.len()]).await;
    }
    for holder in holders {
        for link in links {
            holder.verify(link).await;
        }
        holder.forget();
    }
}

/// The reason of an answer that is a failure, for messages.
pub fn refusal<T>(reply: &Reply<T>) -> Option<String> {
    reply.as_ref().err().map(|status| reason(status).unwrap_or_else(|| format!("{status:?}")))
}

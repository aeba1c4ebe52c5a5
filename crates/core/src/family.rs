//! Families of refresh tokens, and the rule of renewal.

use std::time::Duration;

use super::{
    access::{AccessToken, Format, RequestDigest},
    actor::Actor,
    audience::Audience,
    grant::GrantType,
    id::{ClientId, FamilyId, TenantId, TokenId},
    ident::{Ident, Idents},
    position::Position,
    scope::Scopes,
    secret::DerivationKeyId,
    source::Source,
    subject::Subject,
    text::{Json, KeyId, SessionId},
    time::{Time, secs},
};

/// A line of refresh tokens: what was granted once, and where its renewal stands.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Family {
    #[n(0)]
    pub id: FamilyId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub client: ClientId,
    #[n(3)]
    pub subject: Subject,
    /// What was granted; an access token may get less, never more.
    #[n(4)]
    pub scopes: Scopes,
    #[n(5)]
    pub audience: Audience,
    #[n(6)]
    pub format: Format,
    /// The `rev` of the grant. It never moves: a rotation must not step past a revocation that its own checks would find.
    #[n(7)]
    pub rev: Position,
    /// Life of each access token, in whole seconds.
    #[cbor(n(8), with = "secs")]
    pub token_ttl: Duration,
    /// When the family ends, however often it is renewed.
    #[n(9)]
    pub absolute_expiry: Time,
    /// When the current refresh token ends unless it is renewed.
    #[n(10)]
    pub idle_expiry: Time,
    /// Number of the current refresh token, from 0.
    #[n(11)]
    pub generation: u32,
    /// When the current refresh token was made.
    #[n(12)]
    pub rotated: Time,
    /// The access token that came with the current refresh token, so that a repeat gives the same.
    #[n(13)]
    pub minted: Minted,
    /// The derivation key of the current refresh token.
    #[n(14)]
    pub derivation_key: DerivationKeyId,
    /// The refresh token was invalidated on its own: no renewal any more, but its access tokens live.
    #[n(15)]
    pub closed: bool,
    /// When nothing lives any more that carries it: no access token, its first included, and no refresh token. Fixed with the
    /// grant, in whole seconds, because each of its refresh tokens says so, too.
    #[cbor(n(16), with = "secs")]
    pub ends: Time,
    /// When it was granted.
    #[n(17)]
    pub granted: Time,
    /// What its client had to be allowed; nothing where an account issued it to itself.
    #[n(18)]
    pub grant: Option<GrantType>,
    #[n(19)]
    pub sources: Vec<Source>,
    #[n(20)]
    pub actor: Option<Actor>,
    #[n(21)]
    pub session: Option<SessionId>,
    #[n(22)]
    pub options: Option<Json>,
    #[n(23)]
    pub claims: Option<Json>,
    /// The client's tenant, if another.
    #[n(24)]
    pub home: Option<TenantId>,
    /// Digest of the request body, when issued under a `request_id`.
    #[n(25)]
    pub request: Option<RequestDigest>,
}

/// What a renewal decided about its access token; the id derives from family and generation.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Minted {
    /// In whole seconds.
    #[cbor(n(0), with = "secs")]
    pub issued: Time,
    /// In whole seconds.
    #[cbor(n(1), with = "secs")]
    pub ttl: Duration,
    #[n(2)]
    pub rev: Position,
    /// Only if fewer than the family's.
    #[n(3)]
    pub scopes: Option<Scopes>,
    #[n(4)]
    pub signing_key: Option<KeyId>,
    /// The scopes that the renewal asked for, so that a repeat can be distinguished from another request.
    #[n(5)]
    pub requested: Option<Scopes>,
    /// When this renewal kept the refresh token; `None`: it made the current one.
    #[n(6)]
    pub kept: Option<Time>,
}

/// What renewal does with the presented refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum RenewalPolicy {
    /// Each renewal replaces it.
    #[n(0)]
    Always,
    /// It stays the same for its whole life (FAPI 2.0 §5.3.2.1).
    #[n(1)]
    Never,
    /// A renewal replaces it once it is near its end: two thirds of the idle lifetime after it was made.
    #[n(2)]
    NearExpiry,
}

/// What to do about a genuine refresh token of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The current one: make its successor.
    Rotate,
    /// The current one, which is not to be replaced: a new access token, the same refresh token.
    Keep,
    /// The direct predecessor inside the replay window: the same successor again.
    Replay,
    /// An older one inside the window: refuse, change nothing. A late retry of an honest client may look like this.
    RefuseOlder,
    /// An earlier one after the window: only a thief or a thief's victim still has it. Revoke the family.
    Theft,
    /// Above the current one: the store has lost a renewal that it had acknowledged.
    LostData,
}

/// A client's terms of renewal.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub policy: RenewalPolicy,
    pub replay_window: Duration,
    /// How long a refresh token lives unused.
    pub idle_ttl: Duration,
}

/// Renewals so close to each other may be in flight at the same time, however short the replay window is.
const TWINS: Duration = Duration::from_secs(1);

// === impl Family ===

impl Family {
    /// What the store keeps of it.
    pub fn to_record(&self) -> Vec<u8> {
        super::to_record(self)
    }

    /// The rule of renewal for a genuine refresh token with number `presented`.
    pub fn renewal(&self, presented: u32, terms: &Terms, now: Time) -> Renewal {
        if presented > self.generation {
            return Renewal::LostData;
        }
        if presented == self.generation {
            return match terms.policy {
                RenewalPolicy::Always => Renewal::Rotate,
                RenewalPolicy::NearExpiry if self.is_near_its_end(terms, now) => Renewal::Rotate,
                RenewalPolicy::NearExpiry | RenewalPolicy::Never => Renewal::Keep,
            };
        }
        let in_window = now.since(self.rotated) < terms.replay_window;
        match (in_window, self.generation - presented, self.minted.kept) {
            (true, 1, None) => Renewal::Replay,
            // The successor was renewed itself, so it has arrived.
            (true, 1, Some(_)) | (true, _, _) => Renewal::RefuseOlder,
            (false, _, _) => Renewal::Theft,
        }
    }

    /// Whether the current refresh token is to be replaced under [`RenewalPolicy::NearExpiry`].
    ///
    /// Its end is one idle lifetime after it was made. Renewals before that keep the family alive beyond, so that a client
    /// that comes often enough never loses it, but they do not move the end. Near the absolute expiry nothing is replaced
    /// for that reason: a successor would end then, too.
    fn is_near_its_end(&self, terms: &Terms, now: Time) -> bool {
        // The twin of a renewal that kept it must get the same refresh token.
        let twin = self.minted.kept.is_some_and(|kept| now.since(kept) < terms.replay_window.max(TWINS));
        !twin && now.since(self.rotated) >= terms.idle_ttl * 2 / 3
    }

    /// The end of a family with this first access token: a renewed one ends with the second in which the family does.
    pub fn end(first: &AccessToken, absolute_expiry: Time) -> Time {
        first.expires().max(absolute_expiry.plus(Duration::from_millis(999)).whole_secs())
    }

    /// Whether it lives longer than another one. Of two clocks one is behind: what lives as long from its own grant on does
    /// not live longer.
    pub fn lives_longer_than(&self, other: &Self) -> bool {
        let life = |family: &Self| family.absolute_expiry.since(family.granted);
        self.absolute_expiry > other.absolute_expiry && life(self) > life(other)
    }

    /// When the current refresh token ends.
    pub fn expires(&self) -> Time {
        self.idle_expiry.min(self.absolute_expiry)
    }

    /// Every identifier by which the revocation log can name it.
    pub fn idents(&self) -> Idents {
        let mut idents = vec![
            Ident::Family(self.tenant.clone(), self.id.clone()),
            Ident::Client(self.client.clone()),
            Ident::Admission(self.tenant.clone(), self.client.clone()),
            Ident::Tenant(self.tenant.clone()),
        ];
        idents.extend(self.session.clone().map(|session| Ident::Session(self.tenant.clone(), session)));
        self.subject.name(&self.tenant, &mut idents);
        self.sources.iter().for_each(|source| source.name(&self.tenant, &mut idents));
        Idents::new(idents, 1)
    }

    /// The access token that `minted` describes.
    pub fn access_token(&self, id: TokenId, minted: &Minted) -> AccessToken {
        AccessToken {
            id,
            tenant: self.tenant.clone(),
            client: self.client.clone(),
            subject: self.subject.clone(),
            scopes: minted.scopes.clone().unwrap_or_else(|| self.scopes.clone()),
            audience: self.audience.clone(),
            format: self.format,
            issued: minted.issued,
            ttl: Some(minted.ttl),
            rev: minted.rev,
            signing_key: minted.signing_key.clone(),
            actor: self.actor.clone(),
            sources: self.sources.clone(),
            session: self.session.clone(),
            family: Some(self.id.clone()),
            options: self.options.clone(),
            claims: self.claims.clone(),
            request: None,
            home: self.home.clone(),
            authentication: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MADE: Time = Time::from_secs(1_000_000);

    fn family(generation: u32) -> Family {
        let rev = Position::new(1, 1).unwrap();
        Family {
            id: FamilyId::from_bytes([1; 16]),
            tenant: "default".parse().unwrap(),
            client: "client".parse().unwrap(),
            subject: Subject::Client(None),
            scopes: Scopes::default(),
            audience: Audience::default(),
            format: Format::Opaque,
            actor: None,
            sources: Vec::new(),
            session: None,
            home: None,
            options: None,
            claims: None,
            rev,
            token_ttl: Duration::from_secs(60),
            absolute_expiry: Time::NEVER,
            idle_expiry: Time::NEVER,
            generation,
            rotated: MADE,
            minted: Minted {
                issued: MADE,
                ttl: Duration::from_secs(60),
                rev,
                scopes: None,
                signing_key: None,
                requested: None,
                kept: None,
            },
            derivation_key: DerivationKeyId(1),
            closed: false,
            ends: Time::NEVER,
            granted: MADE,
            grant: None,
            request: None,
        }
    }

    /// The family after what the rule says, and whether the refresh token stayed.
    fn renewed(family: &Family, terms: &Terms, now: Time) -> (Family, Renewal) {
        let rule = family.renewal(family.generation, terms, now);
        let mut next = family.clone();
        if rule == Renewal::Rotate {
            next.generation += 1;
            next.rotated = now;
        }
        next.minted.kept = (rule == Renewal::Keep).then_some(now);
        (next, rule)
    }

    fn terms(policy: RenewalPolicy, window_ms: u64, idle_secs: u64) -> Terms {
        Terms { policy, replay_window: Duration::from_millis(window_ms), idle_ttl: Duration::from_secs(idle_secs) }
    }

    #[test]
    fn a_record_from_before_a_field_was_added_is_the_same() {
        // Fields that are not set at the end of an array are not written.
        let minted = minicbor::to_vec(&family(0).minted).unwrap();
        assert_eq!(minted.first(), Some(&0x83), "three fields");
        assert_eq!(minicbor::decode::<Minted>(&minted).unwrap(), family(0).minted);
    }

    proptest! {
        #[test]
        fn near_its_end_a_refresh_token_is_replaced_and_before_it_is_kept(
            idle in 1_u64..100_000, age_ms in 0_u64..200_000_000,
        ) {
            let terms = terms(RenewalPolicy::NearExpiry, 10_000, idle);
            let rule = family(0).renewal(0, &terms, MADE.plus(Duration::from_millis(age_ms)));
            let near = age_ms * 3 >= idle * 1000 * 2;
            prop_assert_eq!(rule, if near { Renewal::Rotate } else { Renewal::Keep });
        }

        #[test]
        fn renewals_within_a_window_get_one_refresh_token(
            idle in 1_u64..1000,
            window in 1000_u64..60_000,
            steps in proptest::collection::vec(0_u64..300_000, 1..40),
            twins in proptest::collection::vec(0_u64..60_000, 40),
        ) {
            let terms = terms(RenewalPolicy::NearExpiry, window, idle);
            let (mut family, mut now) = (family(0), MADE);
            for (step, twin) in steps.into_iter().zip(twins) {
                now = now.plus(Duration::from_millis(step));
                let presented = family.generation;
                let (next, rule) = renewed(&family, &terms, now);
                let at = now.plus(Duration::from_millis(twin % window));
                let answer = next.renewal(presented, &terms, at);
                let expected = if rule == Renewal::Rotate { Renewal::Replay } else { Renewal::Keep };
                prop_assert_eq!(answer, expected);
                family = next;
            }
        }

        #[test]
        fn a_client_that_renews_too_rarely_for_a_twin_holds_no_token_for_long(
            idle in 30_u64..100_000, steps in proptest::collection::vec(10_000_u64..100_000_000, 1..40),
        ) {
            let terms = terms(RenewalPolicy::NearExpiry, 10_000, idle);
            let (mut family, mut now) = (family(0), MADE);
            for step in steps {
                now = now.plus(Duration::from_millis(step));
                let (next, rule) = renewed(&family, &terms, now);
                let near = now.since(family.rotated) >= terms.idle_ttl * 2 / 3;
                prop_assert_eq!(rule, if near { Renewal::Rotate } else { Renewal::Keep });
                family = next;
            }
        }

        #[test]
        fn what_is_not_the_current_one_is_judged_alike_under_every_policy(
            generation in 0_u32..5, presented in 0_u32..7, since_ms in 0_u64..20_000, window in 0_u64..15_000,
            kept in proptest::option::of(0_u64..20_000),
        ) {
            let mut family = family(generation);
            family.minted.kept = kept.map(|ms| MADE.plus(Duration::from_millis(ms)));
            let now = MADE.plus(Duration::from_millis(since_ms));
            let rule = |policy| family.renewal(presented, &terms(policy, window, 60), now);
            let always = rule(RenewalPolicy::Always);
            if presented == generation {
                prop_assert_eq!(always, Renewal::Rotate);
                prop_assert_eq!(rule(RenewalPolicy::Never), Renewal::Keep);
                return Ok(());
            }
            prop_assert_eq!(rule(RenewalPolicy::NearExpiry), always);
            prop_assert_eq!(rule(RenewalPolicy::Never), always);
            let expected = if presented > generation {
                Renewal::LostData
            } else if since_ms >= window {
                Renewal::Theft
            } else if generation - presented == 1 && kept.is_none() {
                Renewal::Replay
            } else {
                Renewal::RefuseOlder
            };
            prop_assert_eq!(always, expected);
        }
    }
}

//! A token whose text was checked, with what was last found out about it.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jeton_core::{AccessToken, AccountId, Lineage, Subject, Time, ident::Idents};

use crate::{
    directory::{
        authority::Authority,
        caller::Caller,
        load::Missing,
        record::{Account, Admission, Client, EntityGroup, GroupMember, Member, Membership, Tenant},
    },
    store::SessionKey,
};

/// A token whose text is genuine. Whether it is active is another question.
#[derive(Debug)]
pub struct Verified {
    pub token: Arc<AccessToken>,
    /// The tenant's `iss`.
    pub issuer: Arc<str>,
    /// The edge's own: what it says of the token when it is active, encoded.
    pub encoded: OnceLock<Bytes>,
    pub(super) idents: Idents,
    /// The last judgement that found it active.
    pub(super) judged: ArcSwapOption<Judged>,
    /// What was last found out of an account that somebody asked about.
    pub(super) reach: ArcSwapOption<KnownReach>,
    /// Who it is as a bearer, as of that judgement.
    pub(super) caller: ArcSwapOption<KnownCaller>,
}

/// A bearer as of a version of the log.
#[derive(Debug)]
pub(super) struct KnownCaller {
    pub version: u64,
    pub until: Time,
    pub caller: Arc<Caller>,
}

/// What the bearer may do in an account as of a version of the log.
#[derive(Debug)]
pub(super) struct KnownReach {
    pub version: u64,
    pub until: Time,
    pub account: AccountId,
    pub reach: Arc<Reach>,
}

/// A judgement holds while the log has not grown and nothing that it rests on has aged out.
#[derive(Debug)]
pub(super) struct Judged {
    pub version: u64,
    pub until: Time,
    pub authority: Arc<Authority>,
}

/// What a token gives in one account.
#[derive(Debug, PartialEq, Eq)]
pub struct Reach {
    /// Whether the bearer may act there.
    pub reached: bool,
    /// That of a token's member there.
    pub authority: Arc<Authority>,
}

// === impl Verified ===

impl Verified {
    pub(super) fn new(token: AccessToken, issuer: &str) -> Arc<Self> {
        Arc::new(Self {
            idents: token.idents(),
            token: Arc::new(token),
            issuer: issuer.into(),
            encoded: OnceLock::new(),
            judged: ArcSwapOption::empty(),
            reach: ArcSwapOption::empty(),
            caller: ArcSwapOption::empty(),
        })
    }

    /// Whether the last judgement still holds.
    pub(super) fn is_known_active(&self, version: u64, now: Time) -> bool {
        self.judged.load().as_ref().is_some_and(|judged| judged.version == version && now < judged.until)
            && now < self.token.expires()
    }

    /// What the member may do, as of the last judgement that found the token active.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.judged.load().as_ref().map(|judged| Arc::clone(&judged.authority))
    }

    fn session(&self) -> Option<SessionKey> {
        let session = self.token.session.clone()?;
        Some(SessionKey { tenant: self.token.tenant.clone(), session })
    }

    /// Asks for what the token depends on.
    pub(super) fn want(&self, missing: &mut Missing<'_>) {
        let Self { token, .. } = self;
        let tenant = &token.tenant;
        missing.want::<Tenant>(tenant, tenant);
        missing.want::<Client>(tenant, &token.client);
        missing.want::<Admission>(tenant, &(tenant.clone(), token.client.clone()));
        for account in token.subject.lineage().into_iter().flat_map(Lineage::accounts) {
            missing.want::<Account>(tenant, account);
        }
        match &token.subject {
            Subject::Member(lineage, member) => {
                missing.want::<Member>(tenant, member);
                missing.want::<Membership>(tenant, &(lineage.account.clone(), member.clone()));
            }
            Subject::Group(group, member) => {
                missing.want::<EntityGroup>(tenant, group);
                if let Some(member) = member {
                    missing.want::<Member>(tenant, member);
                    missing.want::<GroupMember>(tenant, &(group.clone(), member.clone()));
                }
            }
            Subject::Client(_) | Subject::Account(_) | Subject::OtherClient(..) => {}
        }
        if let Some(session) = self.session() {
            missing.want_session(session);
        }
    }
}

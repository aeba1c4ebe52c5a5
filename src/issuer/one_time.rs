//! One-time passwords: asked for, sent to the platform as an event, tried.
//!
//! A code is kept by what makes it again, in the directory of `system`, so that it is written together with the event
//! that delivers it. Whether anybody has the name shows in nothing that a caller sees: a name that nobody has is written
//! down, counted and tried like any other, and only its event is not.

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, MemberId, secret::Mac as _};

use super::{
    Issuer, MAX_RACES,
    code::{CODE_TTL, CodeName, Purpose, StoredCode},
    credentials::invalid_credentials,
    signup::self_signup_disabled,
};
use crate::{
    ambient,
    directory::{
        permit::Act,
        record::{IDENTITY_TAKEN, IdentityProfile, ProfileKind},
    },
    error::{Error, Result},
    keys::code::{ATTEMPTS, OneTimeCode},
    notation::moment,
    outbox::{Event, What},
    store::{Change, Written},
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CodeRequest {
    pub profile: String,
    pub username: String,
    pub purpose: Purpose,
}

/// Who proved to have received a code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proved {
    Member(MemberId),
    /// Somebody who reads the e-mail address of the name.
    Address,
}

/// How many codes are sent to one name within [`CODE_TTL`]. More may be asked for, and nothing comes of it.
pub const MAX_CODES: u8 = 5;

// === impl Issuer ===

impl Issuer {
    /// Sends a one-time password to the member with a username, if there is one. Callers receive the same reply either way.
    pub async fn request_code(&self, act: &Act, request: &CodeRequest) -> Result<()> {
        let standing = self.standing_for_sign_in(act).await?;
        let tenant = &standing.tenant;
        let profile = self.password_profile(&tenant.id, &request.profile, "identity_profile_id").await?;
        self.require_codes(&profile)?;
        let client = &standing.client.id;
        self.codes.check(client, self.now())?;
        self.codes.note(client, self.now());
        let sign_up = request.purpose == Purpose::SignUp;
        let found = if sign_up {
            if !tenant.settings.self_signup() {
                return Err(self_signup_disabled());
            }
            if !jeton_contract::email::is_email(&request.username) {
                return Err(Error::field(
                    "username",
                    "must be an e-mail address for ONE_TIME_PASSWORD_PURPOSE_SIGN_UP",
                ));
            }
            None
        } else {
            self.directory.member_by_username(&tenant.id, &profile.id, &request.username).await?
        };
        let (member, email) = match &found {
            // An address that nobody has verified may have been set by somebody who found a token of the member.
            Some((member, _)) if member.email_verified == Some(true) => {
                (Some(&member.id), member.profile.email.clone())
            }
            Some((member, _)) => (Some(&member.id), String::new()),
            None if sign_up => (None, request.username.clone()),
            None => (None, String::new()),
        };
        let data = [
            ("identity_profile_id", profile.id.to_string()),
            ("member_id", member.map(ToString::to_string).unwrap_or_default()),
            ("username", request.username.clone()),
            ("email", email),
            ("purpose", request.purpose.name().to_owned()),
        ];
        let name = CodeName { tenant: &tenant.id, profile: &profile.id, name: &request.username, sign_up };
        self.send_code(name, member, &data).await?;
        tracing::info!(
            target: "audit", event = "member.code", tenant = %tenant.id, profile = %profile.id,
            client = %client, purpose = request.purpose.name(), "was asked for a one-time password"
        );
        Ok(())
    }

    /// The member that a username and its code prove. All that can be wrong looks the same.
    pub(super) async fn prove_code(
        &self,
        client: &ClientId,
        profile: &IdentityProfile,
        username: &str,
        code: &str,
    ) -> Result<MemberId> {
        self.require_codes(profile)?;
        let name = CodeName { tenant: &profile.tenant, profile: &profile.id, name: username, sign_up: false };
        let proved = self.redeem_code(name, code).await?;
        // The username may be somebody else's by now.
        let found = self.directory.member_by_username(&profile.tenant, &profile.id, username).await?;
        match (proved, found) {
            (Some(Proved::Member(member)), Some((holder, _))) if holder.id == member => Ok(member),
            _ => {
                self.refuse(client, &profile.tenant, &profile.id);
                Err(invalid_credentials())
            }
        }
    }

    /// Refuses a caller without the code that was sent to an e-mail address, and a username that is taken: then the
    /// code is still good.
    pub(super) async fn prove_address(
        &self,
        client: &ClientId,
        profile: &IdentityProfile,
        username: &str,
        email: &str,
        code: &str,
    ) -> Result<()> {
        self.require_codes(profile)?;
        if email.is_empty() {
            return Err(Error::field("self_signup.email", "must be set with self_signup.one_time_password"));
        }
        let refuse = || self.refuse(client, &profile.tenant, &profile.id);
        if self.directory.member_by_username(&profile.tenant, &profile.id, username).await?.is_some() {
            refuse();
            return Err(IDENTITY_TAKEN.error());
        }
        let name = CodeName { tenant: &profile.tenant, profile: &profile.id, name: email, sign_up: true };
        if self.redeem_code(name, code).await? == Some(Proved::Address) {
            return Ok(());
        }
        refuse();
        Err(invalid_credentials())
    }

    /// Tries a code. One that is right is used up by it.
    async fn redeem_code(&self, name: CodeName<'_>, presented: &str) -> Result<Option<Proved>> {
        let key = name.key();
        for _ in 0..MAX_RACES {
            let now = self.now();
            let (asked, version) = self.last_code(&key).await?;
            let Some(asked) = asked.filter(|asked| now < asked.expires && asked.attempts_left > 0) else {
                return Ok(None);
            };
            let is_right = asked.code.is(presented, &*self.core.ring);
            // What is used up goes on counting how many codes were asked for.
            let attempts_left = if is_right { 0 } else { asked.attempts_left - 1 };
            let tried = StoredCode { attempts_left, ..asked.clone() };
            let mut change = Change::new(key.tenant.clone(), now);
            change.puts.push(tried.put(&key, version));
            if self.core.store.write(&change).await? == Written::Done {
                let whose = match asked.member {
                    Some(member) => Some(Proved::Member(member)),
                    None => name.sign_up.then_some(Proved::Address),
                };
                return Ok(whose.filter(|_| is_right));
            }
        }
        Err(outraced())
    }

    /// Refuses a profile without one-time passwords.
    fn require_codes(&self, profile: &IdentityProfile) -> Result<()> {
        let enabled = match &profile.kind {
            ProfileKind::Password(password) => password.one_time_passwords,
            ProfileKind::Oidc(_) => false,
        };
        let refuse = |message| Err(Error::new(Reason::OneTimePasswordsDisabled, message));
        if !enabled {
            return refuse("the identity profile has no one-time passwords");
        }
        if !self.outbox.is_open() {
            return refuse("the service has no webhook to send one-time passwords to (webhook.url)");
        }
        Ok(())
    }

    async fn send_code(
        &self,
        name: CodeName<'_>,
        member: Option<&MemberId>,
        data: &[(&'static str, String)],
    ) -> Result<()> {
        let key = name.key();
        for _ in 0..MAX_RACES {
            let now = self.now();
            let (before, version) = self.last_code(&key).await?;
            let (count, since) = match before {
                Some(before) if now < before.since.plus(CODE_TTL) => (before.count, before.since),
                Some(_) | None => (0, now),
            };
            if count >= MAX_CODES {
                return Ok(());
            }
            let expires = now.plus(CODE_TTL);
            self.directory.note_derived(expires).await?;
            let code = OneTimeCode { nonce: ambient::random()?, key: self.core.ring.current() };
            let attempts_left = ATTEMPTS;
            let asked = StoredCode {
                code: code.clone(),
                member: member.cloned(),
                expires,
                attempts_left,
                count: count + 1,
                since,
            };
            let data = data.iter().cloned().chain([("expire_time", moment::format(expires))]);
            let event = Event::new(name.tenant.clone(), What::OneTimePasswordRequested, now, expires, data)?;
            let mut change = Change::new(key.tenant.clone(), now);
            change.puts.push(asked.put(&key, version));
            if member.is_some() || name.sign_up {
                event.with_code(code).add_to(&mut change);
            } else {
                event.with_code(code).add_unsent_to(&mut change);
            }
            if self.core.store.write(&change).await? == Written::Done {
                self.outbox.written();
                return Ok(());
            }
        }
        Err(outraced())
    }
}

fn outraced() -> Error {
    Error::new(Reason::ConcurrentUpdate, "too many concurrent uses of the member's one-time password")
}

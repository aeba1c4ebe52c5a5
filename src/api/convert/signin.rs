//! What AuthenticateMember and RequestOneTimePassword want, and the tokens of a sign-in.

use jeton_core::{Time, secret::SecretText};
use prost::Message as _;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{access_token, given, issue, member, position, repeat, session_id, set};
use crate::{
    api::wire,
    error::{Error, Result},
    issuer::{
        code::Purpose,
        federated::Redirected,
        one_time::CodeRequest,
        request::Lifetime,
        signin::SignedIn,
        signin_request::{Mechanism, SignIn, WantedTokens},
    },
    keys::ring::digest128,
};

/// The sign-in that a message describes, with the call's deadline.
pub fn request(mut message: wire::AuthenticateMemberRequest, deadline: Instant) -> Result<SignIn> {
    use wire::authenticate_member_request::Lifetime as WireLifetime;
    let request_id = std::mem::take(&mut message.request_id);
    let page_token = std::mem::take(&mut message.page_token);
    let page_size = usize::try_from(std::mem::take(&mut message.page_size)).unwrap_or_default();
    let query = digest128(&[&Zeroizing::new(message.encode_to_vec())]);
    let mechanism = mechanism(&mut message)?;
    if !request_id.is_empty() && message.mechanism.is_none() {
        return Err(Error::field("request_id", "must not be set but for self_signup"));
    }
    // The digest of the body is stored. A digest of a password could be used to guess it.
    let repeat = repeat(&request_id, "AuthenticateMember", &message)?;
    let format = issue::format(message.format());
    let lifetime = match message.lifetime {
        None => Lifetime::Default,
        Some(WireLifetime::Ttl(own)) => issue::ttl(own)?,
        Some(WireLifetime::ExpiresIn(text)) => issue::expires_in(&text)?,
    };
    let (options, claims) = issue::frozen(message.options.as_ref(), message.claims.as_ref())?;
    Ok(SignIn {
        mechanism,
        wanted: WantedTokens {
            scopes: message.scopes,
            audience: message.audience,
            lifetime,
            session: given(&message.session_id).map(|text| session_id("session_id", text)).transpose()?,
            options,
            claims,
            format,
        },
        page_size,
        page_token,
        query,
        repeat,
        deadline,
    })
}

/// Takes the mechanism out of a message, because credentials must not be stored. A self-signup is put back without them: it
/// may be repeated, and is compared then.
fn mechanism(message: &mut wire::AuthenticateMemberRequest) -> Result<Mechanism> {
    use wire::authenticate_member_request::Mechanism as WireMechanism;
    Ok(match message.mechanism.take() {
        Some(WireMechanism::Password(password)) => Mechanism::Password {
            profile: password.identity_profile_id,
            username: password.username,
            password: SecretText::new(password.password),
        },
        Some(WireMechanism::OneTimePassword(own)) => Mechanism::OneTimePassword {
            profile: own.identity_profile_id,
            username: own.username,
            code: SecretText::new(own.code),
        },
        Some(WireMechanism::Oidc(own)) => Mechanism::Oidc(Redirected {
            profile: own.identity_profile_id,
            code: SecretText::new(own.code),
            redirect_uri: own.redirect_uri,
            code_verifier: SecretText::new(own.code_verifier),
            nonce: set(own.nonce),
        }),
        Some(WireMechanism::SelfSignup(mut signup)) => {
            let password = SecretText::new(std::mem::take(&mut signup.password));
            let code = set(std::mem::take(&mut signup.one_time_password));
            message.mechanism = Some(WireMechanism::SelfSignup(signup.clone()));
            Mechanism::SelfSignup {
                profile: signup.identity_profile_id,
                username: signup.username,
                password,
                display_name: signup.display_name,
                email: signup.email,
                code: code.map(SecretText::new),
            }
        }
        Some(WireMechanism::Switch(switch)) => Mechanism::Switch { token: SecretText::new(switch.access_token) },
        None => return Err(Error::field("mechanism", "must be set")),
    })
}

/// The one-time password that a message requests.
pub fn code_request(message: wire::RequestOneTimePasswordRequest) -> CodeRequest {
    let purpose = match message.purpose() {
        wire::OneTimePasswordPurpose::Unspecified | wire::OneTimePasswordPurpose::Authenticate => Purpose::Authenticate,
        wire::OneTimePasswordPurpose::ResetPassword => Purpose::ResetPassword,
        wire::OneTimePasswordPurpose::SignUp => Purpose::SignUp,
    };
    CodeRequest { profile: message.identity_profile_id, username: message.username, purpose }
}

pub fn response(signed_in: SignedIn, now: Time) -> wire::AuthenticateMemberResponse {
    let tokens = signed_in.tokens.into_iter().map(|(account, issued)| wire::AccountToken {
        account_id: account.id.to_string(),
        account_name: account.display_name.clone(),
        token: Some(access_token::issued(issued, now).0),
    });
    wire::AuthenticateMemberResponse {
        tokens: tokens.collect(),
        next_page_token: signed_in.next,
        total_size: i32::try_from(signed_in.memberships).unwrap_or(i32::MAX),
        member: Some(member::to_wire(&signed_in.member)),
        position: position(signed_in.position),
    }
}

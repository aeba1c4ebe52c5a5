//! Who may call what, as the contract declares it.
//!
//! The options `(jeton.v1.access)` of methods, `(jeton.v1.grant_access)` of grants and `(jeton.v1.target_access)` of
//! what is revoked are read from the descriptor set at start-up. Invariant: default deny. A method of the contract that declares nothing stops the start; a method
//! that is neither in the contract nor on the fixed list of foreign ones does not exist.

use std::fmt;

use hashbrown::HashMap;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, MessageDescriptor, MethodDescriptor, Value,
    prost_types::method_options::IdempotencyLevel,
};

pub use crate::directory::permit::{Access, Rule};
use crate::metrics::{self, labels};

/// The rules of all methods and grants.
///
/// There is one per process, so the rules live for ever and calls refer to them without counting references.
#[derive(Clone, Debug)]
pub struct Policy {
    methods: HashMap<String, &'static Method>,
}

/// What the edge has to know of a method before it reads the message.
#[derive(Debug)]
pub struct Method {
    /// As in a URI: `/jeton.v1.TokenService/IssueToken`.
    pub path: String,
    pub kind: Kind,
    /// Which way messages stream.
    pub flow: Flow,
    /// Its place in [`Policy::measured`].
    pub index: usize,
    /// Whether the contract says NO_SIDE_EFFECTS.
    pub reads_only: bool,
    pub lane: Lane,
    /// The largest request message in bytes.
    pub max_message: usize,
    /// The rules that stand in place of its own, by the names of the fields that choose them: those of the grants of
    /// IssueToken, and of what RevokeToken is told.
    choices: Vec<(String, Rule)>,
}

/// Which side sends a stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Unary,
    ClientStream,
    ServerStream,
    BidiStream,
}

/// Whose method it is.
#[derive(Debug)]
pub enum Kind {
    /// The contract's, under its declared rule.
    Ours(Rule),
    /// Health or reflection: anyone may call, and credentials are not looked at.
    Foreign,
}

/// What a call competes with for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Ordinary,
    /// Revocations have places of their own: a flood of other calls must not keep a stolen token alive.
    Revocation,
    /// Health and reflection: an overloaded replica is not a dead one, and must be able to say so.
    Probe,
}

/// The contract is not fit to be enforced.
#[derive(Debug)]
pub struct PolicyError(Vec<String>);

const PACKAGE: &str = "jeton.v1";

/// A oneof whose members declare one by one who may use them.
struct Choice {
    /// Of the method.
    path: &'static str,
    request: &'static str,
    oneof: &'static str,
    option: &'static str,
}

const CHOICES: [Choice; 2] = [
    Choice {
        path: "/jeton.v1.TokenService/IssueToken",
        request: "jeton.v1.IssueTokenRequest",
        oneof: "grant",
        option: "grant_access",
    },
    Choice {
        path: "/jeton.v1.TokenService/RevokeToken",
        request: "jeton.v1.RevokeTokenRequest",
        oneof: "target",
        option: "target_access",
    },
];

const REVOCATIONS: [&str; 3] = [
    "/jeton.v1.TokenService/RevokeToken",
    "/jeton.v1.TokenService/InvalidateTokens",
    "/jeton.v1.TokenService/RevokeAllTokens",
];

const FOREIGN: [(&str, Flow); 4] = [
    ("/grpc.health.v1.Health/Check", Flow::Unary),
    ("/grpc.health.v1.Health/Watch", Flow::ServerStream),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Flow::BidiStream),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Flow::BidiStream),
];

/// A thousand tokens of 4 KiB; whoever has larger ones asks in smaller batches.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
const BATCH: (&str, usize) = ("/jeton.v1.TokenService/BatchIntrospectTokens", MAX_BATCH_BYTES);

/// The largest well-formed request is far below: 8 KiB of token, 2 KiB each of options and claims, 256 scopes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

// === impl Policy ===

impl Policy {
    /// Reads the rules of the contract that this binary was built with.
    ///
    /// # Errors
    /// Names every method and grant that declares nothing, or something that cannot be enforced.
    pub fn load() -> Result<Self, PolicyError> {
        Self::read(super::DESCRIPTORS)
    }

    /// The method at this path of a URI, if it exists.
    pub fn method(&self, path: &str) -> Option<&'static Method> {
        self.methods.get(path).copied()
    }

    /// All methods.
    pub fn methods(&self) -> impl Iterator<Item = &'static Method> {
        self.methods.values().copied()
    }

    /// All methods as metrics name them, each at its index.
    pub fn measured(&self) -> Vec<metrics::Method> {
        let mut methods: Vec<&Method> = self.methods().collect();
        methods.sort_unstable_by_key(|method| method.index);
        let measured = methods.into_iter().map(|method| {
            let (service, name) = method.name().split_once('/').unwrap_or_default();
            metrics::Method {
                service: service.to_owned(),
                name: name.to_owned(),
                kind: method.flow.name(),
                lane: method.lane.label(),
            }
        });
        measured.collect()
    }

    /// Reads the rules of a contract, an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    /// Names every method and grant that declares nothing, or something that cannot be enforced.
    pub fn read(descriptors: &[u8]) -> Result<Self, PolicyError> {
        let pool = DescriptorPool::decode(descriptors)
            .map_err(|error| PolicyError(vec![format!("the descriptor set cannot be read: {error}")]))?;
        let mut faults = Vec::new();
        let mut methods = read_methods(&pool, &mut faults);
        for choice in &CHOICES {
            let rules = read_choices(&pool, choice, &mut faults);
            if let Some(method) = methods.iter_mut().find(|method| method.path == choice.path) {
                method.choices = rules;
            }
        }
        if !faults.is_empty() {
            return Err(PolicyError(faults));
        }
        for (index, method) in methods.iter_mut().enumerate() {
            method.index = index;
        }
        Ok(Self {
            methods: methods.into_iter().map(|method| (method.path.clone(), &*Box::leak(Box::new(method)))).collect(),
        })
    }
}

// === impl Method ===

impl Method {
    /// The rule, if the method is the contract's.
    pub fn rule(&self) -> Option<&Rule> {
        match &self.kind {
            Kind::Ours(rule) => Some(rule),
            Kind::Foreign => None,
        }
    }

    /// The rule of a member of the request's oneof that declares its rules one by one, by the name of its field.
    pub fn choice(&self, name: &str) -> Option<&Rule> {
        self.choices.iter().find(|(choice, _)| choice == name).map(|(_, rule)| rule)
    }

    /// `jeton.v1.TokenService`, as health names it.
    pub fn service(&self) -> Option<&str> {
        self.name().split_once('/').map(|(service, _)| service)
    }

    /// `jeton.v1.TokenService/IssueToken`, as spans and metrics name it.
    pub fn name(&self) -> &str {
        self.path.trim_start_matches('/')
    }
}

// === impl Flow ===

impl Flow {
    /// Whether either side sends a stream, which has no deadline of ours.
    pub const fn is_streaming(self) -> bool {
        match self {
            Self::Unary => false,
            Self::ClientStream | Self::ServerStream | Self::BidiStream => true,
        }
    }

    /// As gRPC dashboards know it.
    const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

// === impl Lane ===

impl Lane {
    /// As metrics tell lanes apart.
    pub const fn label(self) -> labels::Lane {
        match self {
            Self::Ordinary => labels::Lane::Ordinary,
            Self::Revocation => labels::Lane::Revocation,
            Self::Probe => labels::Lane::Probe,
        }
    }
}

// === impl PolicyError ===

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the contract cannot be enforced: {}", self.0.join("; "))
    }
}

impl std::error::Error for PolicyError {}

// === reading ===

fn read_methods(pool: &DescriptorPool, faults: &mut Vec<String>) -> Vec<Method> {
    let mut methods: Vec<Method> = FOREIGN.into_iter().map(|(path, flow)| foreign(path, flow)).collect();
    let Some(extension) = extension(pool, "access", faults) else {
        return methods;
    };
    let services = pool.services().filter(|service| service.package_name() == PACKAGE);
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        match read_rule(&method.options(), &extension, &method.input()) {
            Ok(rule) => methods.push(ours(&method, rule)),
            Err(fault) => faults.push(format!("method {} {fault}", method.full_name())),
        }
    }
    // The lists above name methods by hand; a renamed method must not lose its lane or limit unnoticed.
    for path in REVOCATIONS.into_iter().chain([BATCH.0]).chain(CHOICES.iter().map(|choice| choice.path)) {
        if faults.is_empty() && !methods.iter().any(|method| method.path == path) {
            faults.push(format!("method {path} is not in the contract"));
        }
    }
    methods
}

fn read_choices(pool: &DescriptorPool, choice: &Choice, faults: &mut Vec<String>) -> Vec<(String, Rule)> {
    let Choice { request: name, oneof, option, .. } = choice;
    let Some(extension) = extension(pool, option, faults) else {
        return Vec::new();
    };
    let request = pool.get_message_by_name(name);
    let found = request.as_ref().and_then(|request| request.oneofs().find(|found| found.name() == *oneof));
    let (Some(request), Some(found)) = (&request, &found) else {
        faults.push(format!("{name}.{oneof} is not in the contract"));
        return Vec::new();
    };
    let mut rules = Vec::new();
    for field in found.fields() {
        match read_rule(&field.options(), &extension, request) {
            Ok(rule) => rules.push((field.name().to_owned(), rule)),
            Err(fault) => faults.push(format!("{oneof} {} {fault}", field.full_name())),
        }
    }
    rules
}

fn extension(pool: &DescriptorPool, name: &str, faults: &mut Vec<String>) -> Option<ExtensionDescriptor> {
    let found = pool.get_extension_by_name(&format!("{PACKAGE}.{name}"));
    if found.is_none() {
        faults.push(format!("option {PACKAGE}.{name} is not in the contract"));
    }
    found
}

fn read_rule(
    options: &DynamicMessage,
    extension: &ExtensionDescriptor,
    request: &MessageDescriptor,
) -> Result<Rule, &'static str> {
    if !options.has_extension(extension) {
        return Err("declares no access");
    }
    let declared = options.get_extension(extension);
    let declared = declared.as_message().ok_or("declares no access")?;
    let flag = |name: &str| declared.get_field_by_name(name).is_some_and(|value| value.as_bool() == Some(true));
    let scope = declared.get_field_by_name("scope");
    let scope = scope.as_deref().and_then(Value::as_str).filter(|scope| !scope.is_empty());
    let access = match (flag("public"), flag("authenticated"), scope) {
        (true, false, None) => Access::Public,
        (false, true, None) => Access::Authenticated,
        (false, false, Some(scope)) => Access::Scope(scope.to_owned()),
        _ => return Err("declares no access"),
    };
    let rule = Rule { access, self_allowed: flag("self"), client_authentication: flag("client_authentication") };
    if rule.self_allowed && !matches!(rule.access, Access::Scope(_)) {
        return Err("declares `self` without a scope that it stands in for");
    }
    if rule.client_authentication
        && !["client_id", "client_secret", "client_assertion"]
            .iter()
            .all(|name| request.get_field_by_name(name).is_some())
    {
        return Err(
            "declares `client_authentication`, but its request has no client_id, client_secret and client_assertion",
        );
    }
    Ok(rule)
}

fn ours(method: &MethodDescriptor, rule: Rule) -> Method {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let flow = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Flow::Unary,
        (true, false) => Flow::ClientStream,
        (false, true) => Flow::ServerStream,
        (true, true) => Flow::BidiStream,
    };
    let idempotency = method.method_descriptor_proto().options.as_ref().map(|options| options.idempotency_level());
    Method {
        flow,
        index: 0,
        reads_only: idempotency == Some(IdempotencyLevel::NoSideEffects),
        lane: if REVOCATIONS.contains(&path.as_str()) { Lane::Revocation } else { Lane::Ordinary },
        max_message: if path == BATCH.0 { BATCH.1 } else { MAX_MESSAGE_BYTES },
        kind: Kind::Ours(rule),
        path,
        choices: Vec::new(),
    }
}

fn foreign(path: &str, flow: Flow) -> Method {
    Method {
        path: path.to_owned(),
        kind: Kind::Foreign,
        flow,
        index: 0,
        reads_only: true,
        lane: Lane::Probe,
        max_message: MAX_MESSAGE_BYTES,
        choices: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost::Message as _;

    use super::*;

    fn rule(access: Access) -> Rule {
        Rule { access, self_allowed: false, client_authentication: false }
    }

    #[test]
    fn every_method_and_grant_of_the_contract_declares_who_may_use_it() {
        let policy = Policy::load().unwrap();
        assert!(policy.methods().filter(|method| method.rule().is_some()).count() >= 40);
    }

    #[test]
    fn rules_are_what_the_contract_says() {
        let policy = Policy::load().unwrap();
        let of = |path: &str| policy.method(path).unwrap().rule().unwrap().clone();
        assert_eq!(of("/jeton.v1.TokenService/ListSigningKeys"), rule(Access::Public));
        assert_eq!(of("/jeton.v1.TokenService/GetCaller"), rule(Access::Authenticated));
        assert_eq!(
            of("/jeton.v1.AccountService/GetAccount"),
            Rule { self_allowed: true, ..rule(Access::Scope("jeton.accounts.read".into())) }
        );
        assert_eq!(
            of("/jeton.v1.TokenService/RenewToken"),
            Rule { client_authentication: true, ..rule(Access::Authenticated) }
        );
        assert_eq!(
            policy.method("/jeton.v1.TokenService/IssueToken").unwrap().choice("account"),
            Some(&Rule {
                access: Access::Scope("jeton.tokens.issue".into()),
                self_allowed: true,
                client_authentication: true
            })
        );
    }

    #[test]
    fn what_is_neither_declared_nor_listed_does_not_exist() {
        let policy = Policy::load().unwrap();
        for path in [
            "/jeton.v1.TokenService/Nothing",
            "/jeton.v1.TokenService/IssueToken/",
            "jeton.v1.TokenService/IssueToken",
            "",
        ] {
            assert!(policy.method(path).is_none(), "{path}");
        }
        assert!(policy.method("/jeton.v1.TokenService/IssueToken").unwrap().choice("password").is_none());
    }

    #[test]
    fn methods_know_their_lane_limit_and_effects() {
        let policy = Policy::load().unwrap();
        let revoke = policy.method("/jeton.v1.TokenService/RevokeToken").unwrap();
        assert!(!revoke.reads_only);
        assert_eq!((revoke.lane, revoke.max_message), (Lane::Revocation, MAX_MESSAGE_BYTES));
        let batch = policy.method("/jeton.v1.TokenService/BatchIntrospectTokens").unwrap();
        assert!(batch.reads_only);
        assert_eq!((batch.lane, batch.max_message), (Lane::Ordinary, BATCH.1));
        let watch = policy.method("/grpc.health.v1.Health/Watch").unwrap();
        assert_eq!(watch.flow, Flow::ServerStream);
        assert!(watch.rule().is_none());
        assert_eq!(watch.lane, Lane::Probe);
    }

    #[test]
    fn every_method_stands_at_its_index_for_metrics() {
        let policy = Policy::load().unwrap();
        let measured = policy.measured();
        assert_eq!(measured.len(), policy.methods().count());
        for method in policy.methods() {
            let own = &measured[method.index];
            assert_eq!(format!("/{}/{}", own.service, own.name), method.path);
        }
        let watch = policy.method("/grpc.health.v1.Health/Watch").unwrap();
        assert_eq!((measured[watch.index].kind, measured[watch.index].lane), ("server_stream", labels::Lane::Probe));
    }

    #[test]
    fn a_contract_that_declares_nothing_is_refused_by_name() {
        // Decoding with prost's own types loses the custom options.
        let mut set = prost_types::FileDescriptorSet::decode(crate::api::DESCRIPTORS).unwrap();
        let extensible = |file: &&mut prost_types::FileDescriptorProto| file.package() == PACKAGE;
        for file in set.file.iter_mut().filter(extensible) {
            for service in &mut file.service {
                for method in &mut service.method {
                    method.options = None;
                }
            }
        }
        let error = Policy::read(&set.encode_to_vec()).unwrap_err().to_string();
        for name in
            ["jeton.v1.TokenService.IssueToken", "jeton.v1.AccountService.GetAccount", "IssueTokenRequest.account"]
        {
            assert!(error.contains(&format!("{name} declares no access")), "{name} is not in: {error}");
        }
    }
}

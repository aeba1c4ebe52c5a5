//! Who may call what, as the contract declares it.
//!
//! The options `(jeton.v1.access)` of methods, `(jeton.v1.grant_access)` of grants and `(jeton.v1.target_access)` of
//! what is revoked are read from the descriptor set at start-up ([`read`]). Invariant: default deny. A method of the
//! contract that declares nothing stops the start; a method that is neither in the contract nor on the fixed list of
//! foreign ones does not exist.

mod method;
mod read;

use std::fmt;

use hashbrown::HashMap;
use prost_reflect::DescriptorPool;

pub use self::method::{Flow, Lane, MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, Method};
pub use crate::directory::permit::{Access, Rule};
use crate::metrics;

/// The rules of all methods and grants.
///
/// There is one per process, so the rules live for ever and calls refer to them without counting references.
#[derive(Clone, Debug)]
pub struct Policy {
    methods: HashMap<String, &'static Method>,
}

/// The contract is not fit to be enforced.
#[derive(Debug)]
pub struct PolicyError(Vec<String>);

// === impl Policy ===

impl Policy {
    /// Reads the rules of the contract that this binary was built with.
    ///
    /// # Errors
    /// Names every method and grant that declares nothing, or something that cannot be enforced.
    pub fn load() -> Result<Self, PolicyError> {
        Self::read(jeton_contract::DESCRIPTORS)
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
        let mut methods = read::methods(&pool, &mut faults);
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

// === impl PolicyError ===

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the contract cannot be enforced: {}", self.0.join("; "))
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests {
    use prost_reflect::prost::Message as _;

    use super::*;
    use crate::metrics::labels;

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
        assert_eq!((batch.lane, batch.max_message), (Lane::Ordinary, MAX_BATCH_BYTES));
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
        let extensible = |file: &&mut prost_types::FileDescriptorProto| file.package() == "jeton.v1";
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

//! The contract as the operator commands see it: the descriptor set that the server enforces, comments included.

use std::{collections::HashMap, io};

use jeton_contract::DESCRIPTORS;
use prost::Message as _;
use prost_reflect::{
    DescriptorError, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor,
    MethodDescriptor, OneofDescriptor,
};
use prost_types::FileDescriptorSet;

/// The descriptor set with its comments.
#[derive(Debug)]
pub(super) struct Contract {
    pool: DescriptorPool,
    /// By file and by the path of what is commented (`SourceCodeInfo.Location.path`).
    comments: HashMap<(String, Vec<i32>), String>,
}

/// How a request itself authenticates the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnProof {
    /// Client authentication.
    Client,
    /// The grant itself.
    Grant,
}

pub(super) const PACKAGE: &str = "jeton.v1";

/// The contract with all that it imports and the types of error details: an encoded `FileDescriptorSet`, as transcoders
/// of other protocols need it.
pub(super) fn descriptor_set() -> io::Result<Vec<u8>> {
    let mut pool = DescriptorPool::decode(DESCRIPTORS).map_err(io::Error::other)?;
    let details = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?.file;
    // Both import files of protobuf itself, which are not the same to the byte.
    let new: Vec<_> = details.into_iter().filter(|file| pool.get_file_by_name(file.name()).is_none()).collect();
    pool.add_file_descriptor_protos(new).map_err(io::Error::other)?;
    Ok(pool.encode_to_vec())
}

// === impl Contract ===

impl Contract {
    pub(super) fn load() -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(DESCRIPTORS)?;
        let ours = pool.files().filter(|file| file.package_name() == PACKAGE);
        let comments = ours.flat_map(|file| comments_of(&file)).collect();
        Ok(Self { pool, comments })
    }

    /// The method that a name such as `ClientService/GetClient` stands for.
    pub(super) fn method(&self, name: &str) -> Option<MethodDescriptor> {
        let (service, method) = name.split_once('/')?;
        let service = self.pool.get_service_by_name(&format!("{PACKAGE}.{service}"))?;
        service.methods().find(|candidate| candidate.name() == method)
    }

    pub(super) fn method_comment(&self, method: &MethodDescriptor) -> &str {
        self.comment(&method.parent_service().parent_file(), method.path())
    }

    pub(super) fn field_comment(&self, field: &FieldDescriptor) -> &str {
        self.comment(&field.parent_message().parent_file(), field.path())
    }

    pub(super) fn oneof_comment(&self, oneof: &OneofDescriptor) -> &str {
        self.comment(&oneof.parent_message().parent_file(), oneof.path())
    }

    /// How a request that uses this member of a oneof authenticates the caller instead of a bearer token, by the member's
    /// `grant_access`.
    pub(super) fn own_proof(&self, field: &FieldDescriptor) -> Option<OwnProof> {
        let grant_access = self.pool.get_extension_by_name("jeton.v1.grant_access")?;
        let options = field.options();
        let access = options.get_extension(&grant_access);
        let access = access.as_message()?;
        let is_set = |name: &str| access.get_field_by_name(name).is_some_and(|flag| flag.as_bool() == Some(true));
        match (is_set("public"), is_set("client_authentication")) {
            (true, true) => Some(OwnProof::Client),
            (true, false) => Some(OwnProof::Grant),
            (false, _) => None,
        }
    }

    #[cfg(test)]
    pub(super) fn methods(&self) -> impl Iterator<Item = MethodDescriptor> {
        let services = self.pool.services().filter(|service| service.package_name() == PACKAGE);
        services.flat_map(|service| service.methods().collect::<Vec<_>>())
    }

    fn comment(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.comments.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str)
    }
}

// === names ===

/// The message type of a field, if it has one of ours.
pub(super) fn our_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    field.kind().as_message().filter(|message| message.package_name() == PACKAGE).cloned()
}

/// A oneof that was written as such, not one that stands for `optional`.
pub(super) fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

/// The short names of an enum's values with their numbers: `TOKEN_FORMAT_OPAQUE` is `opaque`.
pub(super) fn short_names(values: &EnumDescriptor) -> Vec<(String, i32)> {
    let zero = values.default_value();
    let prefix = zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned();
    let short = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-");
    values.values().filter(|value| value.number() != 0).map(|value| (short(value.name()), value.number())).collect()
}

fn comments_of(file: &FileDescriptor) -> Vec<((String, Vec<i32>), String)> {
    let locations = file.file_descriptor_proto().source_code_info.as_ref().map(|info| info.location.as_slice());
    let commented = |location: &prost_types::source_code_info::Location| {
        let lines: Vec<&str> = location.leading_comments.as_deref()?.lines().map(str::trim).collect();
        Some(((file.name().to_owned(), location.path.clone()), lines.join("\n").trim().to_owned()))
    };
    locations.unwrap_or_default().iter().filter_map(commented).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_by_what_they_describe() {
        let contract = Contract::load().unwrap();
        let method = contract.method("TokenService/IssueToken").unwrap();
        assert!(contract.method_comment(&method).starts_with("Issues an access token, and a refresh token"));
        let format = method.input().get_field_by_name("format").unwrap();
        assert!(contract.field_comment(&format).starts_with("Optional. How the token is written"));
        let grant = method.input().oneofs().next().unwrap();
        assert_eq!(contract.oneof_comment(&grant), "Required. What to issue.");
    }

    #[test]
    fn every_method_has_one_place_of_its_own_over_http() {
        let pool = DescriptorPool::decode(descriptor_set().unwrap().as_slice()).unwrap();
        let http = pool.get_extension_by_name("google.api.http").unwrap();
        let ours = pool.services().filter(|service| service.package_name() == PACKAGE);
        let mut places = std::collections::BTreeMap::new();
        for method in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let (name, options) = (method.full_name().to_owned(), method.options());
            assert!(options.has_extension(&http), "{name} has none");
            let rule = options.get_extension(&http).as_message().unwrap().clone();
            let text = |field: &str| rule.get_field_by_name(field).unwrap().as_str().unwrap().to_owned();
            let verbs = ["get", "put", "post", "delete", "patch"];
            let (verb, path) = verbs.iter().map(|verb| (*verb, text(verb))).find(|(_, path)| !path.is_empty()).unwrap();
            // Fields in the path and the body must be there.
            for field in path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                let found = field.split('.').try_fold(method.input(), |message, part| {
                    let field = message.get_field_by_name(part)?;
                    Some(field.kind().as_message().cloned().unwrap_or(message))
                });
                assert!(found.is_some(), "{name}: {field}");
            }
            let body = text("body");
            assert!(
                body.is_empty() || body == "*" || method.input().get_field_by_name(&body).is_some(),
                "{name}: {body}"
            );
            assert_eq!(body.is_empty(), matches!(verb, "get" | "delete"), "{name}: only what has a body has one");
            let pattern: Vec<&str> = path.split(['{', '}']).step_by(2).collect();
            let earlier = places.insert((verb, pattern.join("{}")), name.clone());
            assert_eq!(earlier, None, "{name} is at {path}, too");
        }
        assert!(places.len() > 80, "{}", places.len());
    }

    #[test]
    fn the_descriptor_set_has_what_it_refers_to_and_the_details_of_errors() {
        let pool = DescriptorPool::decode(descriptor_set().unwrap().as_slice()).unwrap();
        for name in ["google.rpc.Status", "google.rpc.ErrorInfo", "google.rpc.BadRequest", "jeton.v1.IssueTokenRequest"]
        {
            assert!(pool.get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn enum_values_have_short_names() {
        let contract = Contract::load().unwrap();
        let names = |name: &str| {
            let names = short_names(&contract.pool.get_enum_by_name(name).unwrap());
            names.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("jeton.v1.TokenFormat"), ["jwt", "opaque"]);
        assert_eq!(
            names("jeton.v1.GrantType"),
            [
                "client-credentials",
                "account",
                "member",
                "entity-group",
                "token-exchange",
                "workload",
                "authenticated-member"
            ]
        );
        assert_eq!(names("jeton.v1.ClientSecret.State"), ["active", "scheduled-to-revoke", "revoked"]);
    }

    #[test]
    fn only_a_grant_whose_proof_is_in_the_request_needs_no_bearer() {
        let contract = Contract::load().unwrap();
        let request = contract.method("TokenService/IssueToken").unwrap().input();
        let proof = |grant: &str| contract.own_proof(&request.get_field_by_name(grant).unwrap());
        assert_eq!(proof("client_credentials"), Some(OwnProof::Client));
        assert_eq!(proof("workload"), Some(OwnProof::Grant));
        assert_eq!(proof("account"), None);
    }
}

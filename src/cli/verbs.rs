//! The table of commands: which words call which method. Everything else comes from the contract.

/// A resource that commands manage.
#[derive(Debug)]
pub(super) struct Noun {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) verbs: &'static [Verb],
}

/// A command for it.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// For example `ClientService/GetClient`.
    pub(super) method: &'static str,
    /// The fields of the request, by path, that are positional arguments.
    pub(super) positional: &'static [&'static str],
    /// The fields that a list shows of each row.
    pub(super) columns: &'static [&'static str],
    /// Fields, by path, whose flag has another name here, because it means something else elsewhere.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// Fields, by path, that cannot be given here.
    pub(super) without: &'static [&'static str],
}

/// All commands that call the service.
pub(super) const NOUNS: &[Noun] = &[
    Noun { name: "client", about: "Manage machine clients and their secrets", verbs: CLIENT },
    Noun { name: "account", about: "Manage accounts: companies, organizations and their sub-accounts", verbs: ACCOUNT },
    Noun { name: "member", about: "Manage members: the people who act in accounts", verbs: MEMBER },
    Noun { name: "membership", about: "Manage members' places in accounts", verbs: MEMBERSHIP },
    Noun { name: "role", about: "Manage the roles of members", verbs: ROLE },
    Noun { name: "identity-profile", about: "Manage the ways in which members sign in", verbs: IDENTITY_PROFILE },
    Noun { name: "group", about: "Manage entity groups and the accounts in them", verbs: GROUP },
    Noun { name: "tenant", about: "Manage tenants and the clients that they admit", verbs: TENANT },
    Noun { name: "key", about: "Manage the keys that sign a tenant's tokens", verbs: KEY },
    Noun { name: "token", about: "Issue, renew, introspect, list and revoke tokens", verbs: TOKEN },
];

const CLIENT: &[Verb] = &[
    verb("create", "ClientService/CreateClient").without(&["client.etag"]),
    verb("get", "ClientService/GetClient").at(&["client_id"]),
    // The confining account never changes.
    verb("update", "ClientService/UpdateClient").at(&["client.client_id"]).without(&["client.account_id"]),
    verb("delete", "ClientService/DeleteClient").at(&["client_id"]),
    verb("list", "ClientService/ListClients").columns(&[
        "client_id",
        "display_name",
        "state",
        "allowed_grants",
        "account_id",
        "create_time",
    ]),
    verb("enable", "ClientService/EnableClient").at(&["client_id"]),
    verb("disable", "ClientService/DisableClient").at(&["client_id"]),
    verb("create-secret", "ClientService/CreateClientSecret").at(&["client_id"]),
    verb("list-secrets", "ClientService/ListClientSecrets").at(&["client_id"]).columns(&[
        "secret_id",
        "mask",
        "state",
        "create_time",
        "revoke_time",
        "last_used_time",
    ]),
    verb("revoke-secret", "ClientService/RevokeClientSecret").at(&["client_id", "secret_id"]),
];

const ACCOUNT: &[Verb] = &[
    verb("create", "AccountService/CreateAccount").without(&["account.etag"]),
    verb("get", "AccountService/GetAccount").at(&["account_id"]),
    // The parent never changes.
    verb("update", "AccountService/UpdateAccount").at(&["account.account_id"]).without(&["account.parent_id"]),
    verb("delete", "AccountService/DeleteAccount").at(&["account_id"]),
    verb("undelete", "AccountService/UndeleteAccount").at(&["account_id"]),
    verb("list", "AccountService/ListAccounts").columns(&[
        "account_id",
        "display_name",
        "state",
        "foreign_id",
        "parent_id",
        "create_time",
    ]),
    verb("enable", "AccountService/EnableAccount").at(&["account_id"]),
    verb("disable", "AccountService/DisableAccount").at(&["account_id"]),
];

const MEMBER: &[Verb] = &[
    verb("create", "MemberService/CreateMember").without(&["member.etag"]),
    verb("get", "MemberService/GetMember").at(&["member_id"]),
    verb("update", "MemberService/UpdateMember").at(&["member.member_id"]),
    verb("delete", "MemberService/DeleteMember").at(&["member_id"]),
    verb("list", "MemberService/ListMembers").columns(&[
        "member_id",
        "display_name",
        "email",
        "state",
        "foreign_id",
        "create_time",
    ]),
    verb("enable", "MemberService/EnableMember").at(&["member_id"]),
    verb("disable", "MemberService/DisableMember").at(&["member_id"]),
    verb("set-password", "MemberService/SetPassword").at(&["member_id", "identity_profile_id"]),
    verb("link-identity", "MemberService/LinkIdentity").at(&["member_id", "identity_profile_id"]),
    verb("unlink-identity", "MemberService/UnlinkIdentity").at(&["member_id", "identity_profile_id"]),
];

const MEMBERSHIP: &[Verb] = &[
    verb("create", "MemberService/CreateMembership")
        .at(&["membership.account_id", "membership.member_id"])
        .without(&["membership.etag"]),
    verb("get", "MemberService/GetMembership").at(&["account_id", "member_id"]),
    verb("update", "MemberService/UpdateMembership").at(&["membership.account_id", "membership.member_id"]),
    verb("delete", "MemberService/DeleteMembership").at(&["account_id", "member_id"]),
    verb("list", "MemberService/ListMemberships").columns(&[
        "account_id",
        "member_id",
        "state",
        "role_ids",
        "create_time",
    ]),
    verb("accept", "MemberService/AcceptMembership").at(&["account_id", "member_id"]),
    verb("reject", "MemberService/RejectMembership").at(&["account_id", "member_id"]),
    verb("enable", "MemberService/EnableMembership").at(&["account_id", "member_id"]),
    verb("disable", "MemberService/DisableMembership").at(&["account_id", "member_id"]),
];

const ROLE: &[Verb] = &[
    verb("create", "TenantService/CreateRole").without(&["role.etag"]),
    verb("get", "TenantService/GetRole").at(&["role_id"]),
    // The account never changes.
    verb("update", "TenantService/UpdateRole").at(&["role.role_id"]).without(&["role.account_id"]),
    verb("delete", "TenantService/DeleteRole").at(&["role_id"]),
    verb("list", "TenantService/ListRoles").columns(&["role_id", "name", "account_id", "permissions", "create_time"]),
];

const IDENTITY_PROFILE: &[Verb] = &[
    verb("create", "TenantService/CreateIdentityProfile").without(&["identity_profile.etag"]).renamed(PROVIDER),
    verb("get", "TenantService/GetIdentityProfile").at(&["identity_profile_id"]),
    verb("update", "TenantService/UpdateIdentityProfile")
        .at(&["identity_profile.identity_profile_id"])
        .renamed(PROVIDER),
    verb("delete", "TenantService/DeleteIdentityProfile").at(&["identity_profile_id"]),
    verb("list", "TenantService/ListIdentityProfiles").columns(&["identity_profile_id", "display_name", "create_time"]),
];

/// Not the client that calls: the one that the provider knows.
const PROVIDER: &[(&str, &str)] = &[
    ("identity_profile.oidc.client_id", "provider-client-id"),
    ("identity_profile.oidc.client_secret", "provider-client-secret"),
];

const GROUP: &[Verb] = &[
    verb("create", "EntityGroupService/CreateEntityGroup").without(&["entity_group.etag"]),
    verb("get", "EntityGroupService/GetEntityGroup").at(&["entity_group_id"]),
    verb("update", "EntityGroupService/UpdateEntityGroup").at(&["entity_group.entity_group_id"]),
    verb("delete", "EntityGroupService/DeleteEntityGroup").at(&["entity_group_id"]),
    verb("list", "EntityGroupService/ListEntityGroups").columns(&[
        "entity_group_id",
        "display_name",
        "foreign_id",
        "entity_count",
        "create_time",
    ]),
    verb("add-entities", "EntityGroupService/AddEntities").at(&["entity_group_id"]).renamed(COPY_MEMBERS),
    verb("remove-entities", "EntityGroupService/RemoveEntities").at(&["entity_group_id"]),
    verb("list-entities", "EntityGroupService/ListGroupEntities").at(&["entity_group_id"]).columns(&[
        "account_id",
        "display_name",
        "state",
        "foreign_id",
    ]),
    verb("upsert-member", "EntityGroupService/UpsertGroupMember")
        .at(&["group_member.entity_group_id", "group_member.member_id"])
        // The member's foreign id is the one that names it.
        .without(&["member.foreign_id", "member.etag"]),
    verb("get-member", "EntityGroupService/GetGroupMember").at(&["entity_group_id", "member_id"]),
    verb("delete-member", "EntityGroupService/DeleteGroupMember").at(&["entity_group_id", "member_id"]),
    verb("list-members", "EntityGroupService/ListGroupMembers").at(&["entity_group_id"]).columns(&[
        "member_id",
        "display_name",
        "email",
        "foreign_id",
        "role_ids",
        "create_time",
    ]),
    verb("sync-members", "EntityGroupService/SyncGroupMembers").at(&["entity_group_id"]).renamed(COPY_MEMBERS),
];

/// `--auto` alone would not say what is done by itself.
const COPY_MEMBERS: &[(&str, &str)] = &[("auto", "copy-members-auto"), ("from_entity", "copy-members-from")];

const TENANT: &[Verb] = &[
    verb("create", "TenantService/CreateTenant").at(&["tenant.tenant_id"]).without(&["tenant.etag"]),
    verb("get", "TenantService/GetTenant").at(&["tenant_id"]),
    verb("update", "TenantService/UpdateTenant").at(&["tenant.tenant_id"]),
    verb("delete", "TenantService/DeleteTenant").at(&["tenant_id"]),
    verb("list", "TenantService/ListTenants").columns(&["tenant_id", "display_name", "state", "issuer", "create_time"]),
    verb("enable", "TenantService/EnableTenant").at(&["tenant_id"]),
    verb("disable", "TenantService/DisableTenant").at(&["tenant_id"]),
    verb("admit-client", "TenantService/AdmitClient").at(&["admission.client_id"]),
    verb("expel-client", "TenantService/ExpelClient").at(&["client_id"]),
    verb("list-admitted-clients", "TenantService/ListAdmittedClients").columns(&[
        "client_id",
        "scopes",
        "audiences",
        "account_id",
        "create_time",
    ]),
];

const KEY: &[Verb] = &[
    verb("list", "TokenService/ListSigningKeys").columns(&["kid", "alg", "kty", "crv", "use"]),
    verb("rotate", "TenantService/RotateSigningKey"),
    verb("revoke", "TenantService/RevokeSigningKey").at(&["key_id"]),
];

const TOKEN: &[Verb] = &[
    // `--account-id` is the account that the token acts as.
    verb("issue", "TokenService/IssueToken")
        .renamed(&[("member.account_id", "in-account-id"), ("entity_group.member_id", "group-member-id")]),
    verb("renew", "TokenService/RenewToken"),
    verb("revoke", "TokenService/RevokeToken").at(&["token_id"]),
    verb("invalidate", "TokenService/InvalidateTokens"),
    // `--tenant` says in which tenant; revoking everything in it must not be a slip of that flag.
    verb("revoke-all", "TokenService/RevokeAllTokens").renamed(&[("tenant", "whole-tenant")]),
    verb("introspect", "TokenService/IntrospectToken"),
    verb("batch-introspect", "TokenService/BatchIntrospectTokens").columns(&[
        "active",
        "token_use",
        "token_id",
        "subject",
        "scopes",
        "expire_time",
    ]),
    verb("get", "TokenService/GetToken").at(&["token_id"]),
    verb("list", "TokenService/ListTokens").columns(&[
        "token_id",
        "state",
        "format",
        "client_id",
        "scopes",
        "session_id",
        "create_time",
        "expire_time",
    ]),
    verb("authenticate-member", "TokenService/AuthenticateMember").renamed(&[
        ("self_signup.identity_profile_id", "signup-identity-profile-id"),
        ("self_signup.username", "signup-username"),
        ("self_signup.password", "signup-password"),
        ("self_signup.one_time_password", "signup-code"),
        ("one_time_password.identity_profile_id", "code-identity-profile-id"),
        ("one_time_password.username", "code-username"),
        ("oidc.identity_profile_id", "oidc-identity-profile-id"),
        ("oidc.code", "authorization-code"),
    ]),
    verb("request-one-time-password", "TokenService/RequestOneTimePassword"),
    verb("whoami", "TokenService/GetCaller"),
];

const fn verb(name: &'static str, method: &'static str) -> Verb {
    Verb { name, method, positional: &[], columns: &[], renamed: &[], without: &[] }
}

// === impl Verb ===

impl Verb {
    const fn at(self, positional: &'static [&'static str]) -> Self {
        Self { positional, ..self }
    }

    const fn columns(self, columns: &'static [&'static str]) -> Self {
        Self { columns, ..self }
    }

    const fn renamed(self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        Self { renamed, ..self }
    }

    const fn without(self, without: &'static [&'static str]) -> Self {
        Self { without, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::{Cardinality, Kind};

    use super::*;
    use crate::cli::contract::Contract;

    #[test]
    fn every_method_of_the_contract_has_a_command() {
        let contract = Contract::load().unwrap();
        let name =
            |method: prost_reflect::MethodDescriptor| format!("{}/{}", method.parent_service().name(), method.name());
        let called: BTreeSet<String> =
            NOUNS.iter().flat_map(|noun| noun.verbs).map(|verb| verb.method.to_owned()).collect();
        assert_eq!(called, contract.methods().map(name).collect());
    }

    #[test]
    fn every_column_is_a_field_of_the_rows() {
        let contract = Contract::load().unwrap();
        for verb in NOUNS.iter().flat_map(|noun| noun.verbs).filter(|verb| !verb.columns.is_empty()) {
            let reply = contract.method(verb.method).unwrap().output();
            let rows = reply.fields().find(|field| field.cardinality() == Cardinality::Repeated).unwrap();
            let Kind::Message(row) = rows.kind() else { panic!("{}", verb.method) };
            for column in verb.columns {
                assert!(row.get_field_by_name(column).is_some(), "{} has no {column}", row.name());
            }
        }
    }
}

//! Mercoa: tokens for entities, entity users, entity groups and group users; sessions; groups and who is in them.

use std::{collections::BTreeSet, time::Duration};

use jeton::api::{
    wire,
    wire::{
        add_entities_request::CopyMembers as AddFrom, revoke_all_tokens_request as target,
        sync_group_members_request::CopyMembers as SyncFrom,
    },
};
use jeton_contract::reason::Reason;
use prost::Message as _;

use super::{account, at_jeton, claims};
use crate::service::{
    calls::{Caller, Credentials, IssueExt as _, for_group, for_member, owned, refused, refused_fields, seconds},
    group_members::{add_with, in_account, in_group, leave, list, members, person, upsert, upsert_new},
    groups::{self, add, create, named, remove},
    harness::{Service, manager, plain},
    memberships::{join, member, place, role},
};

on_both_stores! {
    the_four_tokens_are_issued_by_id_and_by_foreign_id
    options_stand_in_the_token_and_a_lifetime_is_text_or_a_number
    sessions_end_one_by_one_or_with_the_whole_organization
    a_session_without_a_new_token_ends_after_a_day
    a_group_is_kept_as_documented
    users_of_a_group_are_copied_and_kept_in_step
    every_documented_error_has_its_reason
}

/// The organization: who manages it, and its API key. Entities `north` and `south` in the group `region`, and the user
/// `ada`, a clerk of the group and a boss in `south`.
struct Organization {
    manager: Caller,
    api_key: Credentials,
    north: String,
    south: String,
    group: String,
    ada: String,
}

impl Organization {
    async fn of(service: &Service) -> Self {
        // An entity's token lives for an hour there.
        service.set(wire::TenantSettings { account_token_ttl: Some(seconds(3600)), ..Default::default() }).await;
        let manager = service.caller(&service.client_in("default", manager()).await).await;
        let (north, south) = (account(service, "north", "").await, account(service, "south", "").await);
        for (name, permissions) in [("clerk", ["invoice.read"]), ("boss", ["invoice.*"])] {
            let role = wire::Role { name: name.into(), permissions: owned(&permissions), ..Default::default() };
            manager.create_role(wire::CreateRoleRequest { role: Some(role), ..Default::default() }).await.unwrap();
        }
        let group = create(&manager, named("region"), &["north", "south"]).await.unwrap().entity_group_id;
        let ada = wire::GroupMember {
            entity_roles: vec![in_account("south", &["boss"])],
            ..in_group("region", "ada", &["clerk"])
        };
        let ada = upsert_new(&manager, ada, Some(person("Ada", "ada@example.com"))).await.unwrap().member_id;
        join(&manager, place("north", "ada", &["clerk"])).await.unwrap();
        Self { manager, api_key: service.client_in("default", plain()).await, north, south, group, ada }
    }
}

async fn the_four_tokens_are_issued_by_id_and_by_foreign_id(service: Service) {
    let org = Organization::of(&service).await;
    let Organization { api_key, north, south, group, ada, .. } = &org;
    let issue = async |request: wire::IssueTokenRequest| {
        let jwt = api_key.with(request).format(wire::TokenFormat::Jwt);
        let issued = service.anonymous().issue(jwt).await;
        assert_eq!((issued.token_type.as_str(), issued.expires_in), ("Bearer", Some(3600)));
        issued.access_token
    };
    // Which of the two, and as whom, stands in the token.
    for (north, south, group, ada) in [(&**north, &**south, &**group, &**ada), ("north", "south", "region", "ada")] {
        let entity = claims(&issue(api_key.account(north)).await);
        assert_eq!((&entity["acc"], &entity["sub"]), (&org.north.clone().into(), &org.north.clone().into()));
        let user = claims(&issue(for_member(ada, north)).await);
        assert_eq!((&user["acc"], &user["mem"]), (&org.north.clone().into(), &org.ada.clone().into()));
        let whole = issue(for_group(group, "")).await;
        assert_eq!((&claims(&whole)["grp"], claims(&whole).get("acc")), (&org.group.clone().into(), None));
        let as_user = issue(for_group(group, ada)).await;
        assert_eq!(
            (&claims(&as_user)["grp"], &claims(&as_user)["mem"]),
            (&org.group.clone().into(), &org.ada.clone().into())
        );
        for token in [&whole, &as_user] {
            assert_eq!(claims(token)["exp"].as_u64().unwrap() - claims(token)["iat"].as_u64().unwrap(), 3600);
        }
        let introspection = async |token: &str, account: &str| {
            let ask =
                wire::IntrospectTokenRequest { account_id: account.to_owned(), ..service.admin.introspect(token) };
            let introspection = service.anonymous().introspect(ask).await;
            (introspection.account_reached.unwrap(), introspection.roles, introspection.permissions)
        };
        assert_eq!(introspection(&whole, south).await, (true, vec![], vec![]));
        assert_eq!(introspection(&as_user, north).await, (true, owned(&["clerk"]), owned(&["invoice.read"])));
        assert_eq!(
            introspection(&as_user, south).await,
            (true, owned(&["boss"]), owned(&["invoice.*"])),
            "it wins there"
        );
    }
    // Who is in the group counts when the token is used, not when it was issued.
    let token = issue(for_group("region", "ada")).await;
    remove(&org.manager, "region", &["south"]).await.unwrap();
    let ask = wire::IntrospectTokenRequest { account_id: "south".into(), ..service.admin.introspect(&token) };
    let introspection = service.anonymous().introspect(ask).await;
    assert_eq!((introspection.account_reached, introspection.roles), (Some(false), vec![]));
}

async fn options_stand_in_the_token_and_a_lifetime_is_text_or_a_number(service: Service) {
    let org = Organization::of(&service).await;
    let options = wire::TokenOptions {
        invoice: Some(wire::InvoiceOptions {
            line_items: wire::invoice_options::LineItems::Optional.into(),
            status: (1..=12).collect(),
            recurring: Some(true),
        }),
        pages: Some(wire::PageOptions {
            payment_methods: Some(true),
            representatives: Some(false),
            notifications: Some(true),
            counterparties: Some(false),
            approvals: Some(true),
            email_log: Some(false),
        }),
        style: Some(wire::StyleOptions { primary_color: "#f0f0f0".into() }),
        vendors: Some(wire::VendorOptions {
            network: wire::vendor_options::Network::All.into(),
            disable_creation: Some(true),
        }),
        entity: Some(wire::EntityOptions { enable_payments: Some(true) }),
    };
    let request = wire::IssueTokenRequest { options: Some(options.clone()), ..for_group("region", "ada") };
    for (text, secs) in
        [("3600", 3600), ("1h", 3600), ("12hr", 43_200), ("24h", 86_400), ("30d", 2_592_000), ("7 days", 604_800)]
    {
        let issued = service.anonymous().issue(org.api_key.with(request.clone()).expires_in(text)).await;
        assert_eq!(issued.expires_in, Some(secs), "{text}");
        let introspection = service.introspect(&issued.access_token).await;
        assert_eq!(introspection.options.unwrap().encode_to_vec(), options.encode_to_vec());
        let opt = &claims(&issued.access_token)["opt"];
        assert_eq!((&opt["style"]["primaryColor"], &opt["pages"]["emailLog"]), (&"#f0f0f0".into(), &false.into()));
        assert_eq!(opt["invoice"]["status"].as_array().unwrap().len(), 12);
    }
}

async fn sessions_end_one_by_one_or_with_the_whole_organization(service: Service) {
    let org = Organization::of(&service).await;
    let issue = async |session: &str| {
        let request = org.api_key.with(for_member("ada", "north"));
        service
            .anonymous()
            .issue(if session.is_empty() { request } else { request.session(session) })
            .await
            .access_token
    };
    let (one, two, free) = (issue("one").await, issue("two").await, issue("").await);
    let all = [one.as_str(), &two, &free];
    assert_eq!(claims(&one)["sid"], "one");
    let session_ids = owned(&["one", "never-used"]);
    let sessions = target::Target::Sessions(target::SessionsTarget { session_ids });
    let request = wire::RevokeAllTokensRequest { target: Some(sessions), ..Default::default() };
    org.manager.revoke_all_tokens(request).await.unwrap();
    assert_eq!(service.active(&all).await, [false, true, true]);
    // With an empty list nothing ends: there is no call that ends everything by mistake.
    let none = target::Target::Sessions(Default::default());
    let none = wire::RevokeAllTokensRequest { target: Some(none), ..Default::default() };
    let refusal = org.manager.revoke_all_tokens(none).await;
    refused_fields(refusal, Reason::InvalidField, &["sessions.session_ids"]);
    let tenant = target::Target::Tenant(Default::default());
    let request = wire::RevokeAllTokensRequest { target: Some(tenant), ..Default::default() };
    org.manager.revoke_all_tokens(request).await.unwrap();
    assert_eq!(service.active(&all).await, [false; 3]);
    // API keys survive, and what they get from now on works.
    assert_eq!(service.active(&[&issue("one").await, &issue("").await]).await, [true, true]);
}

async fn a_session_without_a_new_token_ends_after_a_day(service: Service) {
    let org = Organization::of(&service).await;
    let request = || org.api_key.with(for_group("region", "ada")).session("s").expires_in("30d");
    let token = service.anonymous().issue(request()).await.access_token;
    service.advance(Duration::from_secs(86_400 - 60));
    service.anonymous().issue(request()).await;
    service.advance(Duration::from_secs(86_400 - 60));
    assert!(service.is_active(&token).await, "a new token kept it");
    service.advance(Duration::from_secs(60));
    assert!(!service.is_active(&token).await);
}

async fn a_group_is_kept_as_documented(service: Service) {
    let org = Organization::of(&service).await;
    let manager = &org.manager;
    let west = account(&service, "west", "").await;
    let metadata =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let group = wire::EntityGroup {
        display_name: "Acme Holding".into(),
        email_to_name: "acme".into(),
        metadata: metadata(&[("plan", "gold"), ("tier", "1")]),
        ..named("holding")
    };
    let made = create(manager, group.clone(), &["north", &west]).await.unwrap();
    assert_eq!((made.email_to_name.as_str(), made.entity_count), ("acme", 2));
    assert_eq!(groups::get(manager, "holding").await.unwrap(), made);
    // An account may be in several groups, and a group empty.
    assert_eq!(create(manager, named("empty"), &[]).await.unwrap().entity_count, 0);
    // Metadata are replaced as a whole, or key by key.
    let of = |pairs: &[(&str, &str)]| wire::EntityGroup {
        entity_group_id: "holding".into(),
        metadata: metadata(pairs),
        ..Default::default()
    };
    let keyed = groups::update(manager, of(&[("tier", "2")]), &["metadata.tier"]).await.unwrap();
    assert_eq!(keyed.metadata, metadata(&[("plan", "gold"), ("tier", "2")]));
    let whole = groups::update(manager, of(&[("only", "one")]), &["metadata"]).await.unwrap();
    assert_eq!(whole.metadata, metadata(&[("only", "one")]));

    assert_eq!(add(manager, "holding", &["south", "north"]).await.unwrap(), (1, 1, 3));
    assert_eq!(remove(manager, "holding", &["south"]).await.unwrap(), (1, 0, 2));
    let search = async |filter: &str| {
        let request = wire::ListEntityGroupsRequest { filter: filter.into(), ..Default::default() };
        let groups = manager.list_entity_groups(request).await.unwrap().entity_groups;
        groups.into_iter().map(|group| group.foreign_id).collect::<BTreeSet<_>>()
    };
    let expected = |ids: &[&str]| owned(ids).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(search("display_name:ACME").await, expected(&["holding"]));
    assert_eq!(search("foreign_id = holding OR foreign_id = empty").await, expected(&["holding", "empty"]));
    assert_eq!(search("metadata.only = one").await, expected(&["holding"]));
    // With a token of its own: its own group.
    let token = at_jeton(org.api_key.with(for_group("region", "ada")));
    let bearer = service.bearer(&service.anonymous().issue(token).await.access_token);
    let own = bearer.list_entity_groups(Default::default()).await.unwrap().entity_groups;
    assert_eq!(own.iter().map(|group| &group.entity_group_id).collect::<Vec<_>>(), [&org.group]);
    // A foreign id is free again once its group is gone, and so is an entity's.
    groups::delete(manager, "holding").await.unwrap();
    create(manager, named("holding"), &[]).await.unwrap();
    let delete = wire::DeleteAccountRequest { account_id: "west".into(), ..Default::default() };
    manager.delete_account(delete).await.unwrap();
    assert_ne!(account(&service, "west", "").await, west);
}

async fn users_of_a_group_are_copied_and_kept_in_step(service: Service) {
    let org = Organization::of(&service).await;
    let manager = &org.manager;
    for who in ["bob", "cyd"] {
        member(manager, who).await;
        join(manager, place("south", who, &[if who == "bob" { "boss" } else { "clerk" }])).await.unwrap();
    }
    for group in ["none", "all", "id", "filtered"] {
        create(manager, named(group), &[]).await.unwrap();
    }
    let both = ["north", "south"];
    add_with(manager, "none", &both, None, &[]).await.unwrap();
    assert_eq!(members(manager, "none").await, Vec::<String>::new());
    let from = |entity: &str| Some(AddFrom::FromEntity(entity.to_owned()));
    assert_eq!(add_with(manager, "all", &both, Some(AddFrom::Auto(true)), &[]).await.unwrap(), (2, 2));
    assert_eq!(members(manager, "all").await, ["bob", "cyd"], "of the entity with most users");
    add_with(manager, "id", &both, from("north"), &[]).await.unwrap();
    assert_eq!(members(manager, "id").await, ["ada"]);
    add_with(manager, "filtered", &both, from("south"), &["boss"]).await.unwrap();
    assert_eq!(members(manager, "filtered").await, ["bob"]);

    let sync = async |entity: &str, add: Option<bool>, remove: Option<bool>| {
        let request = wire::SyncGroupMembersRequest {
            entity_group_id: "id".into(),
            copy_members: Some(SyncFrom::FromEntity(entity.to_owned())),
            add_members: add,
            remove_members: remove,
            ..Default::default()
        };
        let reply = manager.sync_group_members(request).await.unwrap();
        (reply.added_count, reply.removed_count, reply.unchanged_count)
    };
    assert_eq!(sync("south", None, None).await, (2, 0, 0), "adds, and does not remove");
    assert_eq!(members(manager, "id").await, ["ada", "bob", "cyd"]);
    assert_eq!(sync("south", Some(false), Some(true)).await, (0, 1, 2));
    // Upserted twice is one user; the roles are the last ones.
    for role in ["clerk", "boss"] {
        upsert(manager, in_group("id", "bob", &[role])).await.unwrap();
    }
    assert_eq!(members(manager, "id").await, ["bob", "cyd"]);
    assert_eq!(list(manager, "id", "foreign_id = bob OR foreign_id = ada", &[], 0).await, ["bob"]);
    leave(manager, "id", "bob", "").await.unwrap();
    assert_eq!(members(manager, "id").await, ["cyd"]);
    assert_eq!(members(manager, "all").await, ["bob", "cyd"], "in other groups nothing changed");
}

async fn every_documented_error_has_its_reason(service: Service) {
    let org = Organization::of(&service).await;
    let (nobody, api_key) = (service.anonymous(), &org.api_key);
    let issue = async |request: wire::IssueTokenRequest| nobody.issue_token(api_key.with(request)).await;
    // 400
    let fortnight = for_group("region", "").expires_in("1fortnight");
    refused_fields(issue(fortnight).await, Reason::TtlOutOfRange, &["expires_in"]);
    let options = wire::TokenOptions {
        invoice: Some(Default::default()),
        style: Some(Default::default()),
        vendors: Some(Default::default()),
        ..Default::default()
    };
    let request = wire::IssueTokenRequest { options: Some(options), ..for_group("region", "") };
    let fields = ["options.invoice.status", "options.style.primary_color", "options.vendors.network"];
    refused_fields(issue(request).await, Reason::InvalidField, &fields);
    let prefixed = create(&org.manager, named("grp_mine"), &[]).await;
    refused_fields(prefixed, Reason::InvalidField, &["entity_group.foreign_id"]);
    // 401: no key, no token of ours, an expired one, a dead one.
    refused(nobody.issue_token(for_group("region", "")).await, Reason::TokenMissing);
    refused(service.bearer("x").list_entity_groups(Default::default()).await, Reason::TokenInvalid);
    let bearer = async || {
        let request = api_key.client_credentials().scopes(&["jeton.tokens.issue"]).expires_in("1m");
        service.anonymous().issue(request).await.access_token
    };
    let (expired, dead) = (bearer().await, bearer().await);
    nobody.revoke(&dead).await;
    refused(service.bearer(&dead).issue_token(for_group("region", "")).await, Reason::TokenInvalid);
    service.advance(Duration::from_secs(60));
    refused(service.bearer(&expired).issue_token(for_group("region", "")).await, Reason::TokenInvalid);
    // 403: what the key may not do.
    let read_only = wire::Client { allowed_scopes: owned(&["invoices.read"]), ..plain() };
    let read_only = service.client_in("default", read_only).await;
    let request = read_only.with(for_group("region", ""));
    refused(nobody.issue_token(request).await, Reason::ScopeInsufficient);
    refused(issue(for_group("region", "").scopes(&["jeton.groups.write"])).await, Reason::ScopeNotAllowed);
    // 404: a group, an entity, a user; and a user that is elsewhere.
    member(&org.manager, "outsider").await;
    for request in [
        for_group("nowhere", ""),
        for_group("region", "nobody"),
        for_group("region", "outsider"),
        api_key.account("nowhere"),
        for_member("nobody", "north"),
        for_member("ada", "south"),
    ] {
        refused(issue(request).await, Reason::NotFound);
    }
    refused(add(&org.manager, "region", &["nowhere"]).await, Reason::NotFound);
    refused(leave(&org.manager, "region", "outsider", "").await, Reason::NotFound);
    // 409
    refused(create(&org.manager, named("region"), &[]).await, Reason::ForeignIdTaken);
    refused(
        {
            let twice = wire::Member { display_name: "n".into(), foreign_id: "ada".into(), ..Default::default() };
            let request = wire::CreateMemberRequest { member: Some(twice), ..Default::default() };
            org.manager.create_member(request).await
        },
        Reason::ForeignIdTaken,
    );
    // Roles are case-sensitive.
    refused(upsert(&org.manager, in_group("region", "ada", &["CLERK"])).await, Reason::NotFound);
    role(&org.manager, "CLERK", "").await;
    upsert(&org.manager, in_group("region", "ada", &["CLERK"])).await.unwrap();
}

//! Members: what the platform says of people, and who may see it.

use jeton::api::wire;
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, owned, refused, refused_fields},
    harness::{Service, manager, plain},
};

on_both_stores! {
    a_member_is_read_by_its_id_and_by_its_foreign_id
    a_foreign_id_is_unique_among_members_and_free_again_after_delete
    fields_change_by_mask_and_single_metadata_keys_by_name
    what_a_member_is_called_must_be_well_formed
    a_deleted_member_is_forgotten_for_ever
    a_disabled_member_can_be_enabled_again
    a_stale_etag_is_a_concurrent_update
    a_repeated_create_makes_one_member
    members_are_listed_page_by_page_and_filtered
    a_confined_caller_sees_no_members
    members_want_their_scopes
}

async fn caller(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

fn named(foreign: &str) -> wire::Member {
    wire::Member { display_name: "n".into(), foreign_id: foreign.into(), ..Default::default() }
}

fn creation(member: wire::Member) -> wire::CreateMemberRequest {
    wire::CreateMemberRequest { member: Some(member), ..Default::default() }
}

async fn create(caller: &Caller, member: wire::Member) -> Result<wire::Member, tonic::Status> {
    caller.create_member(creation(member)).await.map(|reply| reply.member.unwrap())
}

async fn get(caller: &Caller, id: &str) -> Result<wire::Member, tonic::Status> {
    let request = wire::GetMemberRequest { member_id: id.to_owned(), ..Default::default() };
    caller.get_member(request).await.map(|reply| reply.member.unwrap())
}

async fn delete(caller: &Caller, id: &str) -> Result<wire::Member, tonic::Status> {
    let request = wire::DeleteMemberRequest { member_id: id.to_owned(), ..Default::default() };
    caller.delete_member(request).await.map(|reply| reply.member.unwrap())
}

async fn update(caller: &Caller, member: wire::Member, paths: &[&str]) -> Result<wire::Member, tonic::Status> {
    let update_mask = (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) });
    let request = wire::UpdateMemberRequest { member: Some(member), update_mask, ..Default::default() };
    caller.update_member(request).await.map(|reply| reply.member.unwrap())
}

async fn a_member_is_read_by_its_id_and_by_its_foreign_id(service: Service) {
    let caller = caller(&service).await;
    let said = wire::Member {
        first_name: "Ada".into(),
        last_name: "Byron".into(),
        email: "ada@example.com".into(),
        phone: "+44 1".into(),
        title: "Countess".into(),
        ..named("login:ada")
    };
    let made = create(&caller, said.clone()).await.unwrap();
    assert!(made.member_id.starts_with("mem_"));
    assert_eq!((made.state(), made.tenant_id.as_str()), (wire::MemberState::Enabled, "default"));
    let answer = wire::Member {
        member_id: made.member_id.clone(),
        tenant_id: made.tenant_id.clone(),
        state: made.state,
        create_time: made.create_time,
        update_time: made.update_time,
        etag: made.etag.clone(),
        email_verified: Some(false),
        ..said
    };
    assert_eq!(made, answer);
    assert_eq!(get(&caller, &made.member_id).await.unwrap(), made);
    assert_eq!(get(&caller, "login:ada").await.unwrap(), made);
    // Neither another case nor another field is a name of it, and an account's foreign id is an account's.
    refused(get(&caller, "LOGIN:ADA").await, Reason::NotFound);
    refused(get(&caller, "ada@example.com").await, Reason::NotFound);
    let account = wire::GetAccountRequest { account_id: "login:ada".into(), ..Default::default() };
    refused(caller.get_account(account).await, Reason::NotFound);
}

async fn a_foreign_id_is_unique_among_members_and_free_again_after_delete(service: Service) {
    let caller = caller(&service).await;
    let one = create(&caller, named("f")).await.unwrap();
    let taken = refused(create(&caller, named("f")).await, Reason::ForeignIdTaken);
    assert!(!format!("{taken:?}").contains(&one.member_id), "the holder is not named");
    // An account may be called the same.
    let account = wire::Account { display_name: "n".into(), foreign_id: "f".into(), ..Default::default() };
    caller.create_account(wire::CreateAccountRequest { account: Some(account), ..Default::default() }).await.unwrap();
    delete(&caller, "f").await.unwrap();
    refused(get(&caller, "f").await, Reason::NotFound);
    let two = create(&caller, named("f")).await.unwrap();
    assert_ne!(one.member_id, two.member_id);
}

async fn fields_change_by_mask_and_single_metadata_keys_by_name(service: Service) {
    let caller = caller(&service).await;
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let data = wire::Member { metadata: map(&[("a", "1"), ("b", "2")]), email: "a@b".into(), ..named("f") };
    let made = create(&caller, data).await.unwrap();
    let id = || wire::Member { member_id: "f".into(), ..Default::default() };
    let keys = wire::Member { metadata: map(&[("a", "9")]), ..id() };
    let now = update(&caller, keys, &["metadata.a", "metadata.b"]).await.unwrap();
    assert_eq!((now.metadata, now.email.as_str()), (map(&[("a", "9")]), "a@b"));
    let now = update(&caller, wire::Member { title: "T".into(), ..id() }, &[]).await.unwrap();
    assert_eq!((now.title.as_str(), now.display_name.as_str()), ("T", "n"));
    let by_id = wire::Member { member_id: made.member_id, ..Default::default() };
    let now = update(&caller, by_id, &["foreign_id", "email", "metadata"]).await.unwrap();
    assert_eq!((now.foreign_id.as_str(), now.email.as_str(), now.metadata.len()), ("", "", 0));
    let gone = wire::Member { member_id: now.member_id, ..Default::default() };
    refused_fields(update(&caller, gone, &["display_name"]).await, Reason::InvalidField, &["member.display_name"]);
    for path in ["member_id", "tenant_id", "state", "create_time", "delete_time", "etag", "nonsense", "metadata."] {
        refused_fields(update(&caller, id(), &[path]).await, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    }
}

async fn what_a_member_is_called_must_be_well_formed(service: Service) {
    let caller = caller(&service).await;
    refused_fields(create(&caller, wire::Member::default()).await, Reason::InvalidField, &["member.display_name"]);
    for foreign in ["mem_x", "acc_x", "a b", "é", &"x".repeat(256)] {
        refused_fields(create(&caller, named(foreign)).await, Reason::InvalidField, &["member.foreign_id"]);
    }
    for email in ["x", "@x", "x@", "a@b@c", "a b@c", &format!("{}@x", "a".repeat(65))] {
        let member = wire::Member { email: email.to_owned(), ..named("") };
        refused_fields(create(&caller, member).await, Reason::InvalidField, &["member.email"]);
    }
    // All at once.
    let long = "x".repeat(256);
    let member = wire::Member { first_name: long.clone(), title: long.clone(), phone: long, ..named("") };
    let fields = ["member.first_name", "member.phone", "member.title"];
    refused_fields(create(&caller, member).await, Reason::InvalidField, &fields);
    refused_fields(update(&caller, named("x"), &[]).await, Reason::InvalidField, &["member.member_id"]);
}

async fn a_deleted_member_is_forgotten_for_ever(service: Service) {
    let caller = caller(&service).await;
    let person = wire::Member { email: "ada@example.com".into(), ..named("f") };
    let id = create(&caller, person).await.unwrap().member_id;
    let gone = delete(&caller, &id).await.unwrap();
    assert_eq!(gone.state(), wire::MemberState::Deleted);
    assert!(gone.delete_time.is_some());
    assert_eq!((gone.email.as_str(), gone.display_name.as_str(), gone.foreign_id.as_str()), ("", "", ""));
    assert_eq!(get(&caller, &id).await.unwrap(), gone);
    // A second time is fine, and nothing else is.
    assert_eq!(delete(&caller, &id).await.unwrap().delete_time, gone.delete_time);
    let rename = wire::Member { member_id: id.clone(), ..named("g") };
    refused(update(&caller, rename, &[]).await, Reason::NotFound);
    let enable = wire::EnableMemberRequest { member_id: id, ..Default::default() };
    refused(caller.enable_member(enable).await, Reason::NotFound);
    create(&caller, named("g")).await.unwrap();
}

async fn a_disabled_member_can_be_enabled_again(service: Service) {
    let caller = caller(&service).await;
    let id = create(&caller, named("f")).await.unwrap().member_id;
    for _ in 0..2 {
        let disable = wire::DisableMemberRequest { member_id: "f".into(), ..Default::default() };
        let reply = caller.disable_member(disable).await.unwrap();
        assert_eq!((reply.member.unwrap().state(), reply.position.len()), (wire::MemberState::Disabled, 20));
    }
    assert_eq!(get(&caller, &id).await.unwrap().state(), wire::MemberState::Disabled);
    let enable = wire::EnableMemberRequest { member_id: id, ..Default::default() };
    assert_eq!(caller.enable_member(enable).await.unwrap().member.unwrap().state(), wire::MemberState::Enabled);
}

async fn a_stale_etag_is_a_concurrent_update(service: Service) {
    let caller = caller(&service).await;
    let made = create(&caller, named("f")).await.unwrap();
    let rename = |name: &str| wire::Member { display_name: name.into(), ..made.clone() };
    update(&caller, rename("1"), &["display_name"]).await.unwrap();
    refused(update(&caller, rename("2"), &["display_name"]).await, Reason::ConcurrentUpdate);
    let delete = wire::DeleteMemberRequest { member_id: "f".into(), etag: made.etag, ..Default::default() };
    refused(caller.delete_member(delete).await, Reason::ConcurrentUpdate);
    assert_eq!(get(&caller, "f").await.unwrap().display_name, "1");
}

async fn a_repeated_create_makes_one_member(service: Service) {
    let caller = caller(&service).await;
    let request = |name: &str| wire::CreateMemberRequest {
        member: Some(wire::Member { display_name: name.into(), ..named("f") }),
        request_id: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".into(),
        ..Default::default()
    };
    let once = caller.create_member(request("n")).await.unwrap().member.unwrap();
    let twice = caller.create_member(request("n")).await.unwrap().member.unwrap();
    assert_eq!(once, twice);
    refused(caller.create_member(request("m")).await, Reason::RequestIdReused);
    let all = caller.list_members(wire::ListMembersRequest::default()).await.unwrap().members;
    assert_eq!(all, [once]);
}

async fn members_are_listed_page_by_page_and_filtered(service: Service) {
    let caller = caller(&service).await;
    let mut all = Vec::new();
    for i in 0..7 {
        let labels = [("team".to_owned(), (i % 2).to_string())].into();
        let email = format!("{i}@example.com");
        all.push(create(&caller, wire::Member { labels, email, ..named(&format!("f{i}")) }).await.unwrap());
    }
    all.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    delete(&caller, &all.remove(3).member_id).await.unwrap();
    let list = |filter: &str, page_token: String| wire::ListMembersRequest {
        page_size: 2,
        page_token,
        filter: filter.into(),
        ..Default::default()
    };
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = caller.list_members(list("", token)).await.unwrap();
        assert!(page.members.len() <= 2);
        seen.extend(page.members);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let other = caller.list_members(list("state = ENABLED", token.clone())).await;
        refused(other, Reason::PageTokenInvalid);
    }
    assert_eq!(seen, all);
    let found = async |filter: &str| {
        let request = wire::ListMembersRequest { filter: filter.into(), show_deleted: true, ..Default::default() };
        caller.list_members(request).await.unwrap().members.len()
    };
    let of_team = all.iter().filter(|member| member.labels["team"] == "0").count();
    assert_eq!(found("").await, 7);
    assert_eq!(found("state = DELETED").await, 1);
    assert_eq!(found("labels.team = 0 AND state = ENABLED").await, of_team);
    assert_eq!(found(&format!("email = \"{}\"", all[0].email)).await, 1);
    assert_eq!(found("email = \"*@example.com\"").await, 6);
    assert_eq!(found("create_time > \"2020-01-01T00:00:00Z\" AND foreign_id = \"f*\"").await, 6);
    assert_eq!(found("create_time < \"2020-01-01T00:00:00Z\"").await, 0);
    assert_eq!(found("email:EXAMPLE").await, 6);
    let [one, two] = [&all[0], &all[1]];
    assert_eq!(found(&format!("foreign_id = {} OR member_id = {}", one.foreign_id, two.member_id)).await, 2);
    assert_eq!(found(&format!("member_id != {} AND member_id != {}", one.member_id, two.member_id)).await, 5);
    for bad in ["nonsense = 1", "state = GONE", "email < \"a\"", "create_time > \"soon\""] {
        refused(caller.list_members(list(bad, String::new())).await, Reason::FilterInvalid);
    }
}

async fn a_confined_caller_sees_no_members(service: Service) {
    let free = caller(&service).await;
    let id = create(&free, named("f")).await.unwrap().member_id;
    let account = service.account_in("default", "").await;
    let confined = service.client_in("default", wire::Client { account_id: account, ..manager() }).await;
    let confined = service.caller(&confined).await;
    for reference in [id.as_str(), "f"] {
        refused(get(&confined, reference).await, Reason::NotFound);
        refused(delete(&confined, reference).await, Reason::NotFound);
        let rename = wire::Member { member_id: reference.to_owned(), display_name: "x".into(), ..Default::default() };
        refused(update(&confined, rename, &[]).await, Reason::NotFound);
        let disable = wire::DisableMemberRequest { member_id: reference.to_owned(), ..Default::default() };
        refused(confined.disable_member(disable).await, Reason::NotFound);
    }
    refused(create(&confined, named("g")).await, Reason::ScopeInsufficient);
    assert!(confined.list_members(wire::ListMembersRequest::default()).await.unwrap().members.is_empty());
}

async fn members_want_their_scopes(service: Service) {
    let reader = wire::Client {
        allowed_scopes: owned(&["jeton.members.read"]),
        default_scopes: owned(&["jeton.members.read"]),
        ..plain()
    };
    let id = create(&caller(&service).await, named("f")).await.unwrap().member_id;
    let reader = service.caller(&service.client_in("default", reader).await).await;
    get(&reader, &id).await.unwrap();
    refused(create(&reader, named("g")).await, Reason::ScopeInsufficient);
    refused(delete(&reader, &id).await, Reason::ScopeInsufficient);
    refused(get(&service.anonymous(), &id).await, Reason::TokenMissing);
}

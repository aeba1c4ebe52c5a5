//! Who may call what is said in the contract, and the tenant in the call.

use jeton::api::{DESCRIPTORS, wire};
use jeton_contract::reason::Reason;
use tonic::Code;

use super::{
    calls::{Caller, Credentials, IssueExt as _, for_account, for_member, owned, refused, refused_fields, revoke_id},
    harness::{PUBLIC_URL, Service, plain},
    isolation::{Ids, Own, every_call, every_list},
    memberships::{self, join, member, place},
};

on_both_stores! {
    a_rule_that_changes_in_the_contract_is_enforced
    client_authentication_is_taken_only_where_the_contract_declares_it
    an_administrator_of_all_tenants_names_the_tenant_in_every_call
    what_an_administrator_forgot_to_name_does_not_fall_on_system
    revoking_by_id_wants_the_scope_of_the_contract
}

/// The contract with `new` in place of the next `old` behind `behind`. Both are as long, so that no length changes.
fn redeclared(contract: &[u8], behind: &str, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let find = |text: &[u8], from: usize| {
        let found = contract[from..].windows(text.len()).position(|part| part == text);
        from + found.unwrap_or_else(|| panic!("{text:?} is not behind {behind}"))
    };
    let at = find(old, find(behind.as_bytes(), 0));
    let mut contract = contract.to_vec();
    contract[at..at + old.len()].copy_from_slice(new);
    contract
}

/// A client with these scopes besides those of most clients.
async fn with(service: &Service, scopes: &[&str]) -> Credentials {
    let own = plain();
    let allowed_scopes = own.allowed_scopes.iter().cloned().chain(owned(scopes)).collect();
    service.client_in("default", wire::Client { allowed_scopes, default_scopes: owned(scopes), ..own }).await
}

async fn a_rule_that_changes_in_the_contract_is_enforced(service: Service) {
    let manager = memberships::caller(&service).await;
    let (account, ada) = (service.account("").await, member(&manager, "ada").await);
    join(&manager, place(&account, &ada, &[])).await.unwrap();
    let before = with(&service, &["jeton.accounts.read"]).await;
    let after = with(&service, &["accounts.look-at-it", "tokens.for-members"]).await;
    let read = async |service: &Service, by: &Credentials, scope: &str| {
        // Meant for jeton, whatever its scopes are called.
        let audience = vec![format!("{PUBLIC_URL}/t/default")];
        let request = wire::IssueTokenRequest { audience, ..by.client_credentials().scopes(&[scope]) };
        let bearer = service.bearer(&service.anonymous().issue(request).await.access_token);
        bearer.get_account(wire::GetAccountRequest { account_id: account.clone(), ..Default::default() }).await
    };
    let (old, new) = ("jeton.accounts.read", "accounts.look-at-it");
    let obtain = async |service: &Service, by: &Credentials| {
        service.anonymous().issue_token(by.with(for_member(&ada, &account))).await
    };
    read(&service, &before, old).await.unwrap();
    refused(read(&service, &after, new).await, Reason::ScopeInsufficient);
    obtain(&service, &before).await.unwrap();

    let contract =
        redeclared(DESCRIPTORS, ".jeton.v1.GetAccountRequest", b"jeton.accounts.read", b"accounts.look-at-it");
    let contract = redeclared(&contract, ".jeton.v1.MemberGrant", b"jeton.tokens.issue", b"tokens.for-members");
    let service = service.declaring(contract).await;
    refused(read(&service, &before, old).await, Reason::ScopeInsufficient);
    read(&service, &after, new).await.unwrap();
    refused(obtain(&service, &before).await, Reason::ScopeInsufficient);
    obtain(&service, &after).await.unwrap();
    // What still declares the old scope still wants it.
    service.anonymous().issue(before.account(&account)).await;
    let lists = service.caller(&before).await;
    lists.list_accounts(Default::default()).await.unwrap();
}

async fn client_authentication_is_taken_only_where_the_contract_declares_it(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    let token = service.anonymous().issue(client.account(&account)).await.access_token;
    let introspect = || client.introspect(&token);
    service.anonymous().introspect_token(introspect()).await.unwrap();

    let declared = b"jeton.tokens.introspect\x28\x01";
    let contract =
        redeclared(DESCRIPTORS, ".jeton.v1.IntrospectTokenRequest", declared, b"jeton.tokens.introspect\x28\x00");
    let contract = redeclared(
        &contract,
        ".jeton.v1.AccountGrant",
        b"jeton.tokens.issue\x20\x01\x28\x01",
        b"jeton.tokens.issue\x20\x01\x28\x00",
    );
    let service = service.declaring(contract).await;
    refused(service.anonymous().introspect_token(introspect()).await, Reason::TokenMissing);
    refused(service.anonymous().issue_token(client.account(&account)).await, Reason::TokenMissing);
    let bearer = client.client_credentials().scopes(&["jeton.tokens.introspect", "jeton.tokens.issue"]);
    let bearer = service.bearer(&service.anonymous().issue(bearer).await.access_token);
    bearer.introspect_token(wire::IntrospectTokenRequest { token, ..Default::default() }).await.unwrap();
    bearer.issue_token(for_account(&account)).await.unwrap();
}

/// Methods that are about no tenant, or whose request names it otherwise.
const TENANTLESS: [&str; 6] =
    ["get_caller", "list_tenants", "create_tenant", "introspect_token", "batch_introspect_tokens", "renew_token"];
/// Methods of which the rows name the tenant itself.
const NAMED: [&str; 3] = ["enable_tenant", "disable_tenant", "delete_tenant"];

async fn an_administrator_of_all_tenants_names_the_tenant_in_every_call(service: Service) {
    let admin = service.admin().await;
    let never = || "acc_1111111111111111111111".to_owned();
    let own = Own { client: never(), other: never(), account: never(), group: never(), member: never() };
    let mut answer = every_call(&admin, &own, &Ids::never(), "").await;
    answer.extend(every_list(&admin, &own).await);
    let mut count = 0;
    for (method, (code, message, _)) in answer {
        let is_refused = code == Code::InvalidArgument && message.contains("tenant_id: must be set");
        let names_it = TENANTLESS.contains(&method) || NAMED.contains(&method);
        assert_eq!(is_refused, !names_it, "{method}: {code:?} {message}");
        count += usize::from(is_refused);
    }
    assert!(count > 80, "{count}");
    let keys = admin.list_signing_keys(Default::default()).await;
    refused_fields(keys, Reason::InvalidField, &["tenant_id"]);
}

async fn what_an_administrator_forgot_to_name_does_not_fall_on_system(service: Service) {
    let admin = service.admin().await;
    let account = Some(wire::Account { display_name: "n".into(), ..Default::default() });
    let create = wire::CreateAccountRequest { account, ..Default::default() };
    refused_fields(admin.create_account(create).await, Reason::InvalidField, &["tenant_id"]);
    let target =
        wire::revoke_all_tokens_request::Target::Tenant(wire::revoke_all_tokens_request::TenantTarget::default());
    let whole = wire::RevokeAllTokensRequest { target: Some(target), ..Default::default() };
    refused_fields(admin.revoke_all_tokens(whole.clone()).await, Reason::InvalidField, &["tenant_id"]);
    // By client authentication as well.
    let issue = service.admin.account("acc_1111111111111111111111");
    refused_fields(service.anonymous().issue_token(issue).await, Reason::InvalidField, &["tenant_id"]);
    let listed = wire::ListAccountsRequest { tenant_id: "system".into(), ..Default::default() };
    assert_eq!(admin.list_accounts(listed).await.unwrap().accounts, []);
    // An administrator of one tenant only need not name it; nor does an administrator without the scope at hand.
    memberships::caller(&service).await.list_accounts(Default::default()).await.unwrap();
    let narrow = service.admin.client_credentials().scopes(&["jeton.accounts.read"]);
    let narrow: Caller = service.bearer(&service.anonymous().issue(narrow).await.access_token);
    narrow.list_accounts(Default::default()).await.unwrap();
    admin.revoke_all_tokens(wire::RevokeAllTokensRequest { tenant_id: "system".into(), ..whole }).await.unwrap();
}

async fn revoking_by_id_wants_the_scope_of_the_contract(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    let of_account = service.anonymous().issue(client.account(&account)).await;
    let by_id = |id: &str| wire::RevokeTokenRequest {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.clone(),
        ..revoke_id(id)
    };
    refused(service.anonymous().revoke_token(by_id(&of_account.token_id)).await, Reason::ScopeInsufficient);
    assert!(service.is_active(&of_account.access_token).await);
    let own = service.anonymous().issue(client.client_credentials()).await;
    service.anonymous().revoke_token(by_id(&own.token_id)).await.unwrap();
    assert!(!service.is_active(&own.access_token).await);
}

//! What a first page costs a replica that knows only who asks: as much whatever stands behind it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jeton::{
    ambient::{Clock, Fresh as _},
    directory::{
        accounts,
        accounts::AccountQuery,
        clients,
        groups::GroupPatch,
        member_patch::MemberPatch,
        memberships::ListMemberships,
        page::PageRequest,
        permit::Act,
        profiles::{KindPatch, PasswordPatch, ProfilePatch},
        record::{
            Account, Admission, Client, Entity, Membership, MembershipState, RecordId as _, State, Stored as _, Tenant,
        },
        tenants,
    },
    issuer::{
        authenticate::Proof,
        credentials::SetPassword,
        request::Lifetime,
        signin::DEFAULT_PAGE,
        signin_request::{Mechanism, SignIn, WantedTokens},
    },
    keys::{master::MasterKey, ring::Keyring},
    notation::filter::Filter,
    store::{Index, Kind},
};
use jeton_core::{AccountId, ClientId, Format, MemberId, TenantId, secret::SecretText};
use tokio::time::Instant;

use super::{Service, an_account, embedded, put, stored_accounts, write_all};

/// More than one page.
const FEW: usize = 60;
const PASSWORD: &str = "correct horse";

/// Waits and rows of a call.
type Cost = (usize, usize);

#[tokio::test]
async fn the_first_page_of_a_member_costs_the_same_in_ten_thousand_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    // Once a day it is noted until when the signing key will be needed.
    service.issue(Format::Jwt).await;
    let few = costs_of_a_member(&service, FEW).await;
    let many = costs_of_a_member(&service, 10_000).await;
    assert_eq!(few, many, "waits and rows of ListMemberships, and of AuthenticateMember");
    let [(listing, listed), (_, signed_in)] = few;
    assert!(listing <= 3 && listed <= 104, "the member, 51 memberships twice: {listing} {listed}");
    assert!(signed_in <= 3 * DEFAULT_PAGE + 10, "25 places, memberships and accounts, and the member: {signed_in}");
}

#[tokio::test]
async fn the_first_page_of_an_account_costs_the_same_with_a_thousand_members() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let few = cost_of_an_account(&service, FEW).await;
    let many = cost_of_an_account(&service, 1000).await;
    assert_eq!(few, many, "waits and rows of ListMemberships");
    assert!(few.0 <= 3 && few.1 <= 104, "the account, 51 memberships twice: {few:?}");
}

#[tokio::test]
async fn the_first_page_of_a_group_costs_the_same_with_a_hundred_thousand_entities() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let few = cost_of_a_group(&service, FEW).await;
    let many = cost_of_a_group(&service, 100_000).await;
    assert_eq!(few, many, "waits and rows of ListGroupEntities");
}

#[tokio::test]
async fn a_page_of_fifty_of_ten_thousand_reads_one_row_more_in_one_wait() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    for kind in LISTED {
        write_ten_thousand(&service, kind).await;
        let (cold, act) = cold(&service).await;
        assert_eq!(cost(&cold, list(&act, kind, ""), 50).await, (1, 51), "{kind:?}");
        // And once more with copies in memory, which only save the decoding.
        assert_eq!(cost(&cold, list(&act, kind, ""), 50).await, (1, 51), "{kind:?}");
    }
}

#[tokio::test]
async fn a_filter_examines_at_most_a_thousand_rows_and_no_more_than_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    // Admissions have no filter.
    for kind in LISTED.into_iter().filter(|kind| *kind != Listed::Admissions) {
        write_ten_thousand(&service, kind).await;
        // None of them, half of them, almost all of them.
        for (filter, shown, expected) in
            [("none", 0, (3, 1000)), ("odd", 50, (2, 255)), ("o* OR display_name = e*", 50, (1, 51))]
        {
            let (cold, act) = cold(&service).await;
            let filter = format!("display_name = {filter}");
            let (waits, rows) = cost(&cold, list(&act, kind, &filter), shown).await;
            // The record of the caller itself stands in the list, too.
            assert!(waits <= expected.0 + 1 && rows <= expected.1 + 205, "{kind:?} {filter}: {waits} {rows}");
            assert!(rows <= 1000, "{kind:?} {filter}: {rows}");
        }
    }
}

/// What is listed from caches, and had been read by the thousand.
const LISTED: [Listed; 4] = [Listed::Clients, Listed::Accounts, Listed::Tenants, Listed::Admissions];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Clients,
    Accounts,
    Tenants,
    Admissions,
}

impl Listed {
    const fn kind(self) -> Kind {
        match self {
            Self::Clients => Kind::Client,
            Self::Accounts => Kind::Account,
            Self::Tenants => Kind::Tenant,
            Self::Admissions => Kind::Admission,
        }
    }
}

/// Records of a kind, every other one called "odd" or "even", written straight into the store.
async fn write_ten_thousand(service: &Service, listed: Listed) {
    let (directory, act) = (&service.app.directory, service.act().await);
    let tenant = act.tenant();
    let Proof::Client { id, .. } = &service.proof else { unreachable!() };
    let (client, now) =
        (directory.client(tenant, &id.parse().unwrap()).await.unwrap().unwrap(), Clock::default().now());
    let own = directory.tenant(tenant).await.unwrap().unwrap();
    let kind = listed.kind();
    let all = Index { tenant: tenant.clone(), kind, parent: None };
    let record = |number: usize| {
        let display_name = if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned();
        let (id, body) = match listed {
            Listed::Clients => {
                let client = Client { id: ClientId::random().unwrap(), display_name, ..(*client).clone() };
                (client.id.to_string(), client.to_bytes())
            }
            Listed::Accounts => {
                let account = Account { display_name, ..an_account(tenant) };
                (account.id.to_string(), account.to_bytes())
            }
            Listed::Tenants => {
                let id = format!("tenant-{number:05}").parse().unwrap();
                let tenant = Tenant { id, display_name, ..(*own).clone() };
                (tenant.id.to_string(), tenant.to_bytes())
            }
            Listed::Admissions => {
                let admission = Admission {
                    tenant: tenant.clone(),
                    client: ClientId::random().unwrap(),
                    scopes: client.allowed_scopes.clone(),
                    audiences: Vec::new(),
                    confinement: None,
                    state: State::Enabled,
                    created: now,
                    updated: now,
                    version: 0,
                };
                (admission.client.to_string(), admission.to_bytes())
            }
        };
        (put(kind, id.clone(), body), vec![(all.clone(), id)])
    };
    write_all(service, (0..10_000).map(record)).await;
}

/// How many items the first page has.
async fn list(act: &Act, listed: Listed, filter: &str) -> usize {
    let page = first_page(act);
    let filter = |fields| Filter::parse(filter, fields).unwrap();
    match listed {
        Listed::Clients => act.list_clients(&filter(clients::FIELDS), &page).await.unwrap().items.len(),
        Listed::Accounts => {
            let query = AccountQuery { parent: None, filter: filter(accounts::FIELDS), show_deleted: false };
            act.list_accounts(&query, &page).await.unwrap().items.len()
        }
        Listed::Tenants => act.list_tenants(&filter(tenants::FIELDS), &page).await.unwrap().items.len(),
        Listed::Admissions => act.list_admissions(&page).await.unwrap().items.len(),
    }
}

/// A replica that knows nothing yet but who asks.
async fn cold(service: &Service) -> (Service, Act) {
    service.rest().await;
    let cold = Service::on(Arc::clone(&service.store.inner), Some(service.proof.clone())).await;
    let act = cold.act().await;
    (cold, act)
}

async fn cost(service: &Service, call: impl Future<Output = usize>, shown: usize) -> Cost {
    service.store.rows.store(0, Ordering::SeqCst);
    let waits = service.waits(async { assert_eq!(call.await, shown) }).await;
    (waits, service.store.rows.swap(0, Ordering::SeqCst))
}

pub(super) fn first_page(act: &Act) -> PageRequest {
    PageRequest::new(50, "", act.caller(), &[], &Keyring::new(&[MasterKey::new([7; 32])]).unwrap()).unwrap()
}

/// Memberships with their rows in both lists, and the tallies of who has them.
async fn stored_memberships(service: &Service, tenant: &TenantId, pairs: &[(AccountId, MemberId)]) {
    let now = Clock::default().now();
    let list = |parent: String| Index { tenant: tenant.clone(), kind: Kind::Membership, parent: Some(parent) };
    let records = pairs.iter().map(|(account, member)| {
        let membership = Membership {
            tenant: tenant.clone(),
            account: account.clone(),
            member: member.clone(),
            roles: Vec::new(),
            state: MembershipState::Active,
            created: now,
            updated: now,
            version: 0,
        };
        let rows = [list(account.to_string()), list(member.to_string())].map(|index| (index, membership.id()));
        (put(Kind::Membership, membership.id(), membership.to_bytes()), rows.into())
    });
    write_all(service, records).await;
}

async fn a_member(act: &Act) -> MemberId {
    let patch = MemberPatch { display_name: Some("n".into()), ..Default::default() };
    act.create_member(patch, None).await.unwrap().0.id.clone()
}

/// Of ListMemberships, and of AuthenticateMember by password.
async fn costs_of_a_member(service: &Service, accounts: usize) -> [Cost; 2] {
    let act = service.act().await;
    let tenant = act.tenant();
    let member = a_member(&act).await;
    let accounts = stored_accounts(service, accounts).await;
    let pairs: Vec<_> = accounts.iter().map(|account| (account.parse().unwrap(), member.clone())).collect();
    stored_memberships(service, tenant, &pairs).await;
    let kind = Some(KindPatch::Password(PasswordPatch::default()));
    let patch = ProfilePatch { display_name: Some("p".into()), kind };
    let profile = act.create_profile(patch, None).await.unwrap().0.id.to_string();
    let (username, password) = (member.to_string(), SecretText::new(PASSWORD.to_owned()));
    let set = SetPassword {
        member: member.to_string(),
        profile: profile.clone(),
        username: Some(username.clone()),
        password: password.clone(),
        current: None,
    };
    service.app.issuer.set_password(&act, &set).await.unwrap();

    let (fresh, act) = cold(service).await;
    let list = async {
        let (of, page) = (ListMemberships::Member(member.to_string()), first_page(&act));
        act.list_memberships(&of, &Filter::default(), &page).await.unwrap().items.len()
    };
    let listed = cost(&fresh, list, 50).await;
    let (fresh, _) = cold(service).await;
    let act = fresh.act().await;
    let sign_in = SignIn {
        mechanism: Mechanism::Password { profile, username, password },
        wanted: WantedTokens {
            scopes: Vec::new(),
            audience: Vec::new(),
            lifetime: Lifetime::Default,
            session: None,
            options: None,
            claims: None,
            format: None,
        },
        deadline: Instant::now() + Duration::from_secs(10),
        page_size: 0,
        page_token: String::new(),
        query: [0; 16],
        repeat: None,
    };
    let signed_in = async { fresh.app.issuer.sign_in(&act, &sign_in).await.unwrap().tokens.len() };
    [listed, cost(&fresh, signed_in, DEFAULT_PAGE).await]
}

/// Of ListMemberships.
async fn cost_of_an_account(service: &Service, members: usize) -> Cost {
    let act = service.act().await;
    let account: AccountId = stored_accounts(service, 1).await[0].parse().unwrap();
    // That these members are no more than ids is nothing to a list of memberships.
    let pairs: Vec<_> = (0..members).map(|_| (account.clone(), MemberId::random().unwrap())).collect();
    stored_memberships(service, act.tenant(), &pairs).await;
    let (cold, act) = cold(service).await;
    let list = async {
        let (of, page) = (ListMemberships::Account(account.to_string()), first_page(&act));
        act.list_memberships(&of, &Filter::default(), &page).await.unwrap().items.len()
    };
    cost(&cold, list, 50).await
}

/// Of ListGroupEntities.
async fn cost_of_a_group(service: &Service, entities: usize) -> Cost {
    let act = service.act().await;
    let tenant = act.tenant();
    let patch = GroupPatch { display_name: Some("n".into()), ..Default::default() };
    let group = act.create_group(patch, &[], None).await.unwrap().0.id.clone();
    let accounts = stored_accounts(service, entities).await;
    let index = Index { tenant: tenant.clone(), kind: Kind::Entity, parent: Some(group.to_string()) };
    let records = accounts.into_iter().map(|account| {
        let id: AccountId = account.parse().unwrap();
        let key = (group.clone(), id.clone()).to_text();
        let updated = Clock::default().now();
        let (tenant, group) = (tenant.clone(), group.clone());
        let entity = Entity { tenant, group, account: id, state: State::Enabled, updated, version: 0 };
        (put(Kind::Entity, key, entity.to_bytes()), vec![(index.clone(), account)])
    });
    write_all(service, records).await;
    let (cold, act) = cold(service).await;
    let list = async {
        let page = first_page(&act);
        let group = group.to_string();
        act.list_group_entities(&group, &page).await.unwrap().items.len()
    };
    cost(&cold, list, 50).await
}

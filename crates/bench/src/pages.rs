//! Whether the cost of a first page depends on what stands behind it: one store, with small and large things side by side.

use jeton::{
    ambient::{Clock, Fresh as _},
    api::{
        wire,
        wire::{authenticate_member_request::Mechanism, list_memberships_request::Of},
    },
    directory::record::{
        Account, Entity, EntityGroup, Member, Membership, MembershipState, Profile, RecordId as _, State, Stored,
    },
    store::{Change, Index, Kind, Put, Store, Written},
};
use jeton_core::{AccountId, GroupId, MemberId, TenantId, Time};
use tonic::metadata::{Ascii, MetadataValue};

use super::{
    Plan, Result,
    flat::{Place, compare, open},
    load::Work,
    message::{Client, Message},
    report::{Flat, Report},
    world::{TENANT, World},
};

/// More than one page, of each kind.
const FEW: usize = 60;
/// The accounts of the member, the members of the account, and the entities of the group that have many.
const ACCOUNTS: usize = 10_000;
const MEMBERS: usize = 1_000;
const ENTITIES: usize = 100_000;
const LISTS: usize = 1000;
const SIGN_INS: usize = 100;
/// The most that the larger one may cost, as a multiple of the smaller one.
const WANTED: f64 = 2.0;
/// How many records one write has while the store is filled.
const BATCH: usize = 1000;
const PASSWORD: &str = "thrown away after the run";

/// The ids of what has few, and of what has many.
#[derive(Debug)]
struct Filled {
    members: [MemberId; 2],
    accounts: [AccountId; 2],
    groups: [GroupId; 2],
}

/// A record, and the lists that it stands in.
type Row = (Put, Vec<(Index, String)>);

/// Measures pages of few and of many, block by block in turns.
pub(super) async fn run(plan: &Plan, redis: Option<&std::path::Path>, report: &mut Report) -> Result<()> {
    if !plan.wants("pages") {
        return Ok(());
    }
    plan.say(&format!("filling a member with {ACCOUNTS} accounts and a group with {ENTITIES} entities"));
    let filled = Filled::new()?;
    let place = Place::filled(plan, redis, async |world| filled.write(&*open(world).await?).await).await?;
    let bearer = place.world.admin().await?;
    let sign_ins = filled.sign_ins(&place.world, &bearer).await?;
    let work = |message: Message| Work::cycle(Some(bearer.clone()), vec![message]);
    let memberships = |of: Of| {
        let request = wire::ListMembershipsRequest { tenant_id: TENANT.into(), of: Some(of), ..Default::default() };
        work(Message::Memberships(request))
    };
    let of_members = filled.members.each_ref().map(|id| memberships(Of::MemberId(id.to_string())));
    let of_accounts = filled.accounts.each_ref().map(|id| memberships(Of::AccountId(id.to_string())));
    let of_groups = filled.groups.each_ref().map(|id| {
        let (tenant_id, entity_group_id) = (TENANT.into(), id.to_string());
        work(Message::Entities(wire::ListGroupEntitiesRequest { tenant_id, entity_group_id, ..Default::default() }))
    });
    let sign_ins = sign_ins.map(&work);
    for (name, many, [less, more], calls) in [
        ("sign-in page of a member", ACCOUNTS, &sign_ins, SIGN_INS),
        ("memberships of a member", ACCOUNTS, &of_members, LISTS),
        ("memberships of an account", MEMBERS, &of_accounts, LISTS),
        ("entities of a group", ENTITIES, &of_groups, LISTS),
    ] {
        let (cpu_us, store_us) = compare(plan, [(&place, less), (&place, more)], calls).await?;
        let redis_us = redis.map(|_| store_us);
        report.add_flat(Flat { name, few: FEW, many, cpu_us, redis_us, wanted: WANTED });
    }
    Ok(())
}

// === impl Filled ===

impl Filled {
    fn new() -> Result<Self> {
        Ok(Self {
            members: [MemberId::random()?, MemberId::random()?],
            accounts: [AccountId::random()?, AccountId::random()?],
            groups: [GroupId::random()?, GroupId::random()?],
        })
    }

    /// Writes all of it past the service, as the service would write it.
    async fn write(&self, store: &dyn Store) -> Result<()> {
        let tenant: TenantId = TENANT.parse()?;
        let new = New { tenant: tenant.clone(), now: Clock::default().now() };
        let pool: Vec<AccountId> = (0..ENTITIES).map(|_| AccountId::random()).collect::<Result<_, _>>()?;
        let mut rows: Vec<Row> = pool.iter().chain(&self.accounts).map(|id| new.account(id)).collect();
        rows.extend(self.members.iter().map(|id| new.member(id)));
        for (member, count) in self.members.iter().zip([FEW, ACCOUNTS]) {
            rows.extend(pool.iter().take(count).map(|account| new.membership(account, member)));
        }
        for (account, count) in self.accounts.iter().zip([FEW, MEMBERS]) {
            // That these members are no more than ids is nothing to a list of memberships.
            for _ in 0..count {
                rows.push(new.membership(account, &MemberId::random()?));
            }
        }
        for (group, count) in self.groups.iter().zip([FEW, ENTITIES]) {
            rows.push(new.group(group, count));
            rows.extend(pool.iter().take(count).map(|account| new.entity(group, account)));
        }
        for batch in rows.chunks(BATCH) {
            let mut change = Change::new(tenant.clone(), new.now);
            for (put, lists) in batch {
                change.puts.push(put.clone());
                change.index.extend(lists.iter().cloned());
            }
            let written = store.write(&change).await?;
            if written != Written::Done {
                return Err(format!("the store was not filled: {written:?}").into());
            }
        }
        Ok(())
    }

    /// Switches of tokens that the members have got by password, because hashing one would cost more than all the rest.
    async fn sign_ins(&self, world: &World, bearer: &MetadataValue<Ascii>) -> Result<[Message; 2]> {
        let mut client = super::message::connect(&world.service.address).await?;
        let profile = world.create_profile(bearer).await?;
        let few = sign_in(&mut client, bearer, &profile, &self.members[0]).await?;
        let many = sign_in(&mut client, bearer, &profile, &self.members[1]).await?;
        Ok([few, many])
    }
}

async fn sign_in(
    client: &mut Client,
    bearer: &MetadataValue<Ascii>,
    profile: &str,
    member: &MemberId,
) -> Result<Message> {
    let mut set = tonic::Request::new(wire::SetPasswordRequest {
        tenant_id: TENANT.into(),
        member_id: member.to_string(),
        identity_profile_id: profile.to_owned(),
        username: member.to_string(),
        password: PASSWORD.into(),
        ..Default::default()
    });
    set.metadata_mut().insert("authorization", bearer.clone());
    client.members.set_password(set).await?;
    let by = |mechanism: Mechanism| {
        let request = wire::AuthenticateMemberRequest {
            tenant_id: TENANT.into(),
            mechanism: Some(mechanism),
            ..Default::default()
        };
        Message::SignIn(Box::new(request))
    };
    let password = wire::PasswordMechanism {
        identity_profile_id: profile.to_owned(),
        username: member.to_string(),
        password: PASSWORD.into(),
    };
    let signed_in = by(Mechanism::Password(password)).send(client, Some(bearer)).await?;
    Ok(by(Mechanism::Switch(wire::SwitchMechanism { access_token: signed_in.access_token })))
}

/// Makes records of one tenant.
#[derive(Debug)]
struct New {
    tenant: TenantId,
    now: Time,
}

// === impl New ===

impl New {
    fn row<T: Stored>(&self, id: String, record: &T, lists: &[(String, String)]) -> Row {
        let put = Put::new(T::KIND, id, Some(0), record.to_bytes());
        let index = |kind: Kind, parent: String| Index { tenant: self.tenant.clone(), kind, parent: Some(parent) };
        (put, lists.iter().map(|(parent, row)| (index(T::KIND, parent.clone()), row.clone())).collect())
    }

    fn account(&self, id: &AccountId) -> Row {
        let account = Account {
            id: id.clone(),
            tenant: self.tenant.clone(),
            display_name: "bench".into(),
            legal_name: String::new(),
            registration_id: None,
            foreign_id: None,
            ancestors: Vec::new(),
            state: State::Enabled,
            children_disabled: false,
            labels: Default::default(),
            metadata: Default::default(),
            created: self.now,
            updated: self.now,
            deleted: None,
            version: 0,
        };
        self.row(id.to_string(), &account, &[])
    }

    fn member(&self, id: &MemberId) -> Row {
        let member = Member {
            id: id.clone(),
            tenant: self.tenant.clone(),
            state: State::Enabled,
            profile: Profile { display_name: "bench".into(), ..Profile::default() },
            created: self.now,
            updated: self.now,
            deleted: None,
            identities: None,
            email_verified: None,
            invited: None,
            version: 0,
        };
        self.row(id.to_string(), &member, &[])
    }

    fn membership(&self, account: &AccountId, member: &MemberId) -> Row {
        let membership = Membership {
            tenant: self.tenant.clone(),
            account: account.clone(),
            member: member.clone(),
            roles: Vec::new(),
            state: MembershipState::Active,
            created: self.now,
            updated: self.now,
            version: 0,
        };
        let lists = [account.to_string(), member.to_string()].map(|parent| (parent, membership.id()));
        self.row(membership.id(), &membership, &lists)
    }

    fn group(&self, id: &GroupId, entities: usize) -> Row {
        let group = EntityGroup {
            id: id.clone(),
            tenant: self.tenant.clone(),
            display_name: "bench".into(),
            foreign_id: None,
            email_to_name: String::new(),
            labels: Default::default(),
            metadata: Default::default(),
            entity_count: entities.try_into().unwrap_or(u64::MAX),
            state: State::Enabled,
            created: self.now,
            updated: self.now,
            member_count: 0,
            version: 0,
        };
        self.row(id.to_string(), &group, &[])
    }

    fn entity(&self, group: &GroupId, account: &AccountId) -> Row {
        let entity = Entity {
            tenant: self.tenant.clone(),
            group: group.clone(),
            account: account.clone(),
            state: State::Enabled,
            updated: self.now,
            version: 0,
        };
        self.row((group.clone(), account.clone()).to_text(), &entity, &[(group.to_string(), account.to_string())])
    }
}

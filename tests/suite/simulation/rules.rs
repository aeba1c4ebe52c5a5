//! The rules of the revocation log that a run can go without, to show that the check would notice.

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Reads of the head write a beat and wait for the replicas.
    HeadsConfirmed,
    /// So do reads of the state map.
    PagesConfirmed,
    /// So do reads of records.
    RecordsConfirmed,
    /// Appends wait for the replicas.
    AppendsWait,
    /// A stored token is acknowledged when the replicas have it.
    MintsWait,
    /// `wait_replicas` is every promotable replica.
    EveryReplicaAwaited,
    /// A repeat that finds its work done waits all the same.
    RepeatsWait,
    /// A new replication id begins a new line.
    LineRaised,
    /// A reader of entries that were trimmed learns that they are gone.
    GapsSignalled,
    /// An entry merges into its slot.
    SlotsMerge,
    /// The slot of a token outlives it.
    SlotsOutlive,
    /// Records change before the entry is appended.
    RecordFirst,
    /// A load of a record with pending entries appends them first.
    PendingRepaired,
    /// A load is cached only if nothing named the record since it began.
    SlowLoadsDropped,
    /// An entry drops the copies that it names.
    CopiesOutdated,
    /// The head is read before the records.
    HeadFirst,
    /// A family keeps the `rev` of its grant.
    FamilyKeepsRev,
    /// An entry that is appended again keeps its position as its effective one.
    EffectiveKept,
    /// Only an acknowledged append has a position to keep.
    EffectiveAcknowledged,
    /// A bounded answer counts from when the head was asked for.
    BoundFromRequest,
}

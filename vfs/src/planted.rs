//! Bugs planted on purpose, one at a time, so that the campaigns which should notice them can be tested themselves.
//!
//! Each bug is one edit at one place, made where [`planted`] says so. In a build without the feature `planted` it never
//! does, and the edits are compiled away: only the campaigns' own crate asks for the feature.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A bug that can be planted. What it breaks is said as the product should have done it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &'static [Bug] = &[$(Bug::$name,)+];
        }
    };
}

bugs! {
    /// A commit of the log does not sync.
    LogNotSynced,
    /// Batches are acknowledged as synced before they are.
    AcknowledgedBeforeSync,
    /// A file is synced before it is written, not after.
    PublishSyncsTooEarly,
    /// A published file is renamed without a sync.
    PublishNotSynced,
    /// The directory is not synced after a log segment got its name.
    SegmentNameNotSynced,
    /// The directory is not synced after a block got its name.
    BlockNameNotSynced,
    /// The directory is not synced after a manifest or catalogue got its name.
    ManifestNameNotSynced,
    /// The directories of a new tenant are not synced.
    TenantNameNotSynced,
    /// What an open reads by names that may not be durable is not made durable.
    OpenDoesNotSync,
    /// The blocks that a merge replaces go before the manifest without them is durable.
    InputsRemovedEarly,
    /// The log is truncated before the manifest that says so is durable.
    LogTruncatedEarly,
    /// After a failed sync the log syncs the same file again.
    SyncRetried,
    /// After a failed write the log writes to the same segment again.
    SegmentKeptAfterFailure,
    /// A short write counts as a whole one.
    ShortWriteIgnored,
    /// After a failed commit batches go on that refer to series which the failed one defined.
    GenerationKept,
    /// A replay also takes records that are in blocks already.
    ReplayIgnoresFloor,
    /// A replay does not remember batch ids.
    BatchIdsForgotten,
    /// A manifest does not hold batch ids.
    BatchIdsNotStored,
    /// A reopened store seals records with the nonces of the one before.
    NonceReused,
    /// A damaged frame in the middle of the log counts as its end.
    DamageTakenForTail,
    /// A recovery serves the log's end without making it durable.
    TailNotCopied,
    /// Two opens draw the same salt.
    SaltReused,
    /// The identity in a manifest or block is not compared.
    IdentityIgnored,
    /// What follows a manifest's content is not looked at.
    PaddingIgnored,
    /// Of two copies of a manifest only the first is read.
    SecondCopyIgnored,
    /// Where the newest manifest is damaged, the one before it is taken.
    OlderManifestTaken,
    /// Block files that no manifest names are taken into it.
    OrphansAdopted,
    /// The parts of a block are not checked when they are read.
    PartNotChecked,
    /// A reader goes on after damage as if nothing were missing.
    DamageNotReported,
    /// What has expired at this very instant is still returned.
    ExpiryOffByOne,
    /// A flush lets go of what is in memory though its blocks were not published.
    HeadLostAfterFailedFlush,
    /// No space is kept back for deletions on a full disk.
    ReserveNotKept,
    /// A tenant that cannot be used does not keep its records in the log.
    UnavailableTenantForgotten,
    /// The key of an erased tenant is not destroyed.
    ErasedKeyKept,
    /// The receipt of an erasure is written while records of the tenant are in the log.
    ReceiptBeforeRemoval,
    /// What a crash left of an erasure is not gone on with.
    ErasureForgotten,
    /// A deletion leaves the rollups of the days that it touches as they are.
    DeletedInRollups,
    /// A change of plan does not remember what had expired under the plan before.
    ExpiredForgotten,
}

#[cfg(feature = "planted")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);

/// Plants a bug in this process in place of the one that was there, or takes it out.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(u8::MAX, |bug| bug as u8), std::sync::atomic::Ordering::SeqCst);
}

/// Whether that bug is planted now.
#[cfg(feature = "planted")]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether that bug is planted now: never, in a build without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}

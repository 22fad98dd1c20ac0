//! Why an export is not made, or cannot be checked.

use std::io;
use std::path::{Path, PathBuf};

use annals::{SourceError, TenantError};

use crate::manifest::MANIFEST_NAME;

/// Why there is no export. What was written of it is removed as far as that goes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The directory holds a whole export.
    #[error("{} holds an export already: name another directory, or remove it", directory.display())]
    Exists {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory holds something else, or an export that did not come to its end.
    #[error(
        "{} is not empty, and what is in it is no whole export: name another directory, or remove it",
        directory.display()
    )]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The tenant was erased while it was exported.
    #[error("{0}")]
    Tenant(#[from] TenantError),
    /// The store cannot be read at all.
    #[error("{0}")]
    Source(#[from] SourceError),
}

impl ExportError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExportError {
        let path = path.to_owned();
        move |source| ExportError::Io { doing, path, source }
    }
}

/// Why a directory cannot be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no manifest: the export did not come to its end, or this is something else.
    #[error("{} has no {MANIFEST_NAME}: it is no export, or one that did not come to its end", directory.display())]
    NoManifest {
        /// The directory.
        directory: PathBuf,
    },
    /// The manifest is none that this version knows.
    #[error("{}: {what}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

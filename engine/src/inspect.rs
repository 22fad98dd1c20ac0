//! Inspect: what one file of a store holds, in tables for people. Blocks, log segments, manifests and catalogues are
//! known by their contents, wherever they lie. A sealed block that lies in its store is opened with the store's own keys;
//! of another one its frame alone is shown.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_block::{BlockError, BlockIdentity, MetricBlock, SectionInfo};
use annals_model::{BlockContent, BlockId, BlockMeta, Day, KeyId, TenantNumber};
use annals_vfs::{Sealed, Vfs};
use annals_wal::FrameSummary;

use crate::backup::{Snapshot, decode_numbers};
use crate::catalog::Catalogue;
use crate::check_block::AnyBlock;
use crate::file_keys::{DestroyedKeys, decode_destroyed, is_all};
use crate::files::read_whole;
use crate::key_file::{KeyFile, KeyState};
use crate::key_store::KeyName;
use crate::keys::{self, KeyHolder, TenantKeys};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::options::Encryption;
use crate::receipt::hex;
use crate::recover::catalogue_files;
use crate::twin::{self, Role, TwinContent, TwinError};

/// The most log frames that are listed one by one.
const FRAMES_LISTED_MAX: usize = 200;

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the file is.
    pub title: String,
    /// Names and values, in the order in which they should be shown.
    pub facts: Vec<(String, String)>,
    /// Lists of parts.
    pub tables: Vec<Table>,
    /// What is wrong with it.
    pub findings: Vec<String>,
}

/// A list of parts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it lists.
    pub title: String,
    /// Column names.
    pub columns: Vec<String>,
    /// As many cells per row as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// Why a file cannot be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The disk refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It does not begin like any file of a store.
    #[error("{}: neither a block, a log segment, a manifest nor a catalogue", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// It begins like a block and cannot be opened.
    #[error("{0}")]
    Block(String),
    /// It begins like a manifest or catalogue and cannot be read.
    #[error("{0}")]
    Twin(TwinError),
    /// It begins like a log segment and cannot be read.
    #[error("{0}")]
    Log(annals_wal::WalError),
}

/// Looks into one file.
pub fn inspect(vfs: Arc<dyn Vfs>, path: &Path) -> Result<Inspection, InspectError> {
    let shared = vfs;
    let vfs = &*shared;
    let io = |source| InspectError::Io { path: path.to_owned(), source };
    let mut magic = [0; 8];
    let length = vfs.open(path).and_then(|file| file.read_at(&mut magic, 0)).map_err(io)?;
    if magic.get(..length).is_some_and(|start| start == twin::MAGIC) {
        return inspect_twin(&read_whole(vfs, path).map_err(io)?, path);
    }
    if path.extension().is_some_and(|extension| extension == "seg") {
        return inspect_segment(vfs, path);
    }
    if magic.get(..length).is_none_or(|start| start != annals_block::MAGIC) {
        return Err(InspectError::Unknown { path: path.to_owned() });
    }
    let bytes = vfs.open(path).and_then(Sealed::positioned).map_err(io)?;
    inspect_block(&shared, bytes, path)
}

/// The keys of the store that a block's file lies in; none where there is no such store, or it has no such key.
fn keys_beside(vfs: &Arc<dyn Vfs>, path: &Path, tenant: TenantNumber) -> Option<TenantKeys> {
    // <root>/t/<n>/b/<block>
    let layout = Layout::new(path.ancestors().nth(4)?);
    let store = catalogue_files(&layout).load(&**vfs).ok()??.root;
    let key_store = Encryption::Files.key_store(vfs, &layout);
    let holder = KeyHolder { name: KeyName { store, tenant }, store: key_store.as_deref() };
    keys::load(&**vfs, &layout, holder).ok()
}

fn facts<const N: usize>(pairs: [(&str, String); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn columns<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

fn inspect_block(vfs: &Arc<dyn Vfs>, bytes: Sealed, path: &Path) -> Result<Inspection, InspectError> {
    let name = path.display().to_string();
    // Opened under an identity that no block has: the refusal says which one it is.
    let nobody = BlockIdentity {
        tenant: TenantNumber(u32::MAX),
        id: BlockId { day: Day(i32::MAX), content: BlockContent::RawMetrics, sequence: u64::MAX },
    };
    let identity = match MetricBlock::open(bytes.clone(), nobody, &name) {
        Err(BlockError::WrongIdentity { found, .. }) => found,
        Err(error) => return Err(InspectError::Block(error.to_string())),
        Ok(block) => BlockIdentity { tenant: nobody.tenant, id: block.meta().id },
    };
    let opened = |error: BlockError| InspectError::Block(error.to_string());
    let block = AnyBlock::open(bytes.clone(), identity, &name).map_err(opened)?;
    // What the keys do not open is shown as far as it goes without them.
    let keys = keys_beside(vfs, path, identity.tenant);
    let (block, locked) = match keys.map(|keys| block.unlock(&keys)) {
        Some(Ok(block)) => (block, false),
        Some(Err(_)) | None => (AnyBlock::open(bytes, identity, &name).map_err(opened)?, true),
    };
    let mut inspection = match block {
        AnyBlock::Metrics(block) => {
            let mut inspection = of_block("block of raw metrics", identity, block.meta(), block.key());
            inspection.findings = block.verify().iter().map(ToString::to_string).collect();
            inspection.tables.push(sections(&block.sections(), block.meta()));
            if let Ok(used) = block.codecs() {
                inspection.tables.push(Table {
                    title: "codecs".to_owned(),
                    columns: columns(["codec", "chunks", "samples", "bytes", "bytes/sample"]),
                    rows: used
                        .iter()
                        .map(|u| {
                            let each = per(u.bytes, u.samples);
                            vec![
                                u.codec.to_owned(),
                                u.chunks.to_string(),
                                u.samples.to_string(),
                                u.bytes.to_string(),
                                each,
                            ]
                        })
                        .collect(),
                });
            }
            if let Ok(names) = block.label_values(annals_model::METRIC_NAME) {
                inspection.facts.push(("metrics".to_owned(), names.len().to_string()));
            }
            inspection
        }
        AnyBlock::Rollups(block) => {
            let title = format!("block of rollups of {}", identity.id.content.word());
            let mut inspection = of_block(&title, identity, block.meta(), block.key());
            inspection.findings = block.verify().iter().map(ToString::to_string).collect();
            inspection.tables.push(sections(&block.sections(), block.meta()));
            inspection
        }
        AnyBlock::Signals(block) => {
            let mut inspection = of_block("block of raw signals", identity, block.meta(), block.key());
            inspection.findings = block.verify().iter().map(ToString::to_string).collect();
            inspection.tables.push(sections(&block.sections(), block.meta()));
            if let Ok(kinds) = block.kinds() {
                inspection.tables.push(Table {
                    title: "signal kinds".to_owned(),
                    columns: columns(["kind", "fields"]),
                    rows: kinds
                        .iter()
                        .map(|kind| {
                            let fields: Vec<&str> = kind.fields.iter().map(|field| &*field.name).collect();
                            vec![kind.name.to_string(), fields.join(", ")]
                        })
                        .collect(),
                });
            }
            inspection
        }
    };
    let mut sealed = inspection.facts.iter_mut().filter(|(name, value)| name == "sealed" && value != "no");
    if let (true, Some((_, sealed))) = (locked, sealed.next()) {
        sealed.push_str(", which is not beside it: only its frame was read");
    }
    Ok(inspection)
}

fn of_block(title: &str, identity: BlockIdentity, meta: &BlockMeta, key: Option<KeyId>) -> Inspection {
    Inspection {
        title: title.to_owned(),
        facts: facts([
            ("id", identity.id.to_string()),
            ("tenant number", identity.tenant.to_string()),
            ("sealed", key.map_or_else(|| "no".to_owned(), |key| format!("with key {key}"))),
            ("day", identity.id.day.to_string()),
            ("after", meta.time.start.to_string()),
            ("up to", meta.time.end.to_string()),
            ("log records", format!("after {} up to {}", meta.lsns.after, meta.lsns.through)),
            ("level", meta.level.to_string()),
            ("series", meta.series.to_string()),
            ("rows", meta.rows.to_string()),
            ("bytes", meta.bytes.to_string()),
            ("bytes/row", per(meta.bytes, meta.rows)),
        ]),
        tables: Vec::new(),
        findings: Vec::new(),
    }
}

fn sections(sections: &[SectionInfo], meta: &BlockMeta) -> Table {
    Table {
        title: "sections".to_owned(),
        columns: columns(["section", "offset", "bytes", "unpacked", "bytes/row"]),
        rows: sections
            .iter()
            .map(|s| {
                let each = per(s.bytes, meta.rows);
                vec![
                    s.name.to_owned(),
                    s.offset.to_string(),
                    s.bytes.to_string(),
                    s.plain_bytes.to_string(),
                    each,
                ]
            })
            .collect(),
    }
}

fn per(bytes: u64, count: u64) -> String {
    if count == 0 { "-".to_owned() } else { format!("{:.3}", bytes as f64 / count as f64) }
}

fn inspect_twin(bytes: &[u8], path: &Path) -> Result<Inspection, InspectError> {
    let (role, TwinContent { generation, root, content, half_damaged, .. }) =
        twin::decode_any(bytes, path.to_owned()).map_err(InspectError::Twin)?;
    let common = [("generation", generation.to_string()), ("store", hex(&root))];
    let undecodable = || {
        let what = "whole, and it does not decode".to_owned();
        InspectError::Twin(TwinError::Corrupt { path: path.to_owned(), what })
    };
    let mut inspection = match role {
        Role::Catalogue => of_catalogue(&Catalogue::decode(&content).ok_or_else(undecodable)?),
        Role::Manifest => of_manifest(&Manifest::decode(&content).ok_or_else(undecodable)?),
        Role::Keys => of_keys(&KeyFile::decode(&content).ok_or_else(undecodable)?),
        Role::DestroyedKeys => of_destroyed(&decode_destroyed(&content).ok_or_else(undecodable)?),
        Role::Snapshot => of_snapshot(&Snapshot::decode(&content, root).ok_or_else(undecodable)?),
        Role::Erased => of_erased(&decode_numbers(&content).ok_or_else(undecodable)?),
    };
    inspection.facts.splice(0..0, facts(common));
    inspection.findings.extend(half_damaged);
    Ok(inspection)
}

fn of_catalogue(catalogue: &Catalogue) -> Inspection {
    let rows =
        catalogue.tenants.iter().map(|(number, id)| vec![number.to_string(), id.to_string()]).collect();
    Inspection {
        title: "catalogue".to_owned(),
        facts: facts([("next tenant number", catalogue.next.to_string())]),
        tables: vec![
            Table { title: "tenants".to_owned(), columns: columns(["number", "id"]), rows },
            Table {
                title: "erased, and not removed yet".to_owned(),
                columns: columns(["number"]),
                rows: catalogue.erased.iter().map(|number| vec![number.to_string()]).collect(),
            },
        ],
        findings: Vec::new(),
    }
}

fn of_snapshot(snapshot: &Snapshot) -> Inspection {
    let tenants = snapshot.tenants.iter().map(|tenant| {
        let generations = [tenant.manifest, tenant.keys].map(|generation| generation.to_string());
        [tenant.number.to_string(), tenant.id.to_string()].into_iter().chain(generations).collect()
    });
    let files = snapshot.files.iter().map(|(name, entry)| vec![name.clone(), entry.bytes.to_string()]);
    Inspection {
        title: "snapshot of a backup".to_owned(),
        facts: facts([
            ("taken", snapshot.taken.to_string()),
            ("continues snapshot", snapshot.continues.to_string()),
            ("log through", snapshot.durable.to_string()),
        ]),
        tables: vec![
            Table {
                title: "tenants".to_owned(),
                columns: columns(["number", "id", "manifest", "keys"]),
                rows: tenants.collect(),
            },
            Table { title: "files".to_owned(), columns: columns(["name", "bytes"]), rows: files.collect() },
        ],
        findings: snapshot.faults.clone(),
    }
}

fn of_erased(numbers: &BTreeSet<TenantNumber>) -> Inspection {
    Inspection {
        title: "erased tenants of a backup".to_owned(),
        facts: Vec::new(),
        tables: vec![Table {
            title: "files gone".to_owned(),
            columns: columns(["number"]),
            rows: numbers.iter().map(|number| vec![number.to_string()]).collect(),
        }],
        findings: Vec::new(),
    }
}

fn of_manifest(manifest: &Manifest) -> Inspection {
    let rows = manifest
        .blocks
        .iter()
        .map(|block| {
            vec![
                block.id.to_string(),
                block.level.to_string(),
                block.series.to_string(),
                block.rows.to_string(),
                block.bytes.to_string(),
                format!("{}-{}", block.lsns.after, block.lsns.through),
            ]
        })
        .collect();
    Inspection {
        title: "manifest".to_owned(),
        facts: facts([
            ("tenant", manifest.id.to_string()),
            ("plan", manifest.plan.name.clone()),
            ("created", manifest.created.to_string()),
            ("life", manifest.life.to_string()),
            ("records in blocks up to", manifest.data_floor.to_string()),
            ("records needed after", manifest.replay_from.to_string()),
            ("series numbering", manifest.epoch.to_string()),
            ("bytes of batch ids and metrics", manifest.remembered.metrics.len().to_string()),
            ("bytes of bounded names", manifest.remembered.signals.len().to_string()),
        ]),
        tables: vec![Table {
            title: if manifest.life.erased().is_none() { "blocks" } else { "blocks that go" }.to_owned(),
            columns: columns(["block", "level", "series", "rows", "bytes", "records"]),
            rows,
        }],
        findings: Vec::new(),
    }
}

fn of_keys(file: &KeyFile) -> Inspection {
    let rows = file
        .keys
        .iter()
        .map(|key| {
            let (class, state) = (key.class.word().to_owned(), key.state.word().to_owned());
            let until = if key.state == KeyState::Active { String::new() } else { key.until.to_string() };
            vec![key.id.to_string(), class, state, key.created.to_string(), until]
        })
        .collect();
    Inspection {
        title: "keys of a tenant".to_owned(),
        facts: facts([("sealed", if file.sealed { "yes" } else { "no" }.to_owned())]),
        tables: vec![Table {
            title: "keys".to_owned(),
            columns: columns(["key", "class", "state", "created", "until"]),
            rows,
        }],
        findings: Vec::new(),
    }
}

fn of_destroyed(destroyed: &DestroyedKeys) -> Inspection {
    let row = |(name, &through): (&KeyName, &KeyId)| {
        let store = name.store.iter().map(|byte| format!("{byte:02x}")).collect();
        let through =
            if is_all(through) { "all: it was erased".to_owned() } else { format!("up to {through}") };
        vec![store, name.tenant.to_string(), through]
    };
    Inspection {
        title: "destroyed keys".to_owned(),
        facts: Vec::new(),
        tables: vec![Table {
            title: "tenants of which keys were destroyed".to_owned(),
            columns: columns(["store", "tenant number", "keys"]),
            rows: destroyed.iter().map(row).collect(),
        }],
        findings: Vec::new(),
    }
}

fn inspect_segment(vfs: &dyn Vfs, path: &Path) -> Result<Inspection, InspectError> {
    let mut rows = Vec::new();
    let mut findings = Vec::new();
    let summary = annals_wal::inspect(vfs, path, &mut |frame| match frame {
        FrameSummary::Sound { offset, frame_type, kind, lsn, durable, payload_bytes } => {
            if rows.len() < FRAMES_LISTED_MAX {
                rows.push(vec![
                    offset.to_string(),
                    format!("{frame_type:?}").to_lowercase(),
                    kind.to_string(),
                    lsn.to_string(),
                    durable.to_string(),
                    payload_bytes.to_string(),
                ]);
            }
        }
        FrameSummary::Bad { offset, kind, lsns } => {
            let records = lsns.map_or_else(String::new, |lsns| format!(", records {lsns}"));
            findings.push(format!("offset {offset}: {kind}{records}"));
        }
    })
    .map_err(InspectError::Log)?;
    if summary.fault.is_some() && summary.records == 0 {
        findings.push("its header cannot be used: no record of it can be read".to_owned());
    }
    let listed = rows.len();
    Ok(Inspection {
        title: "log segment".to_owned(),
        facts: facts([
            ("number", summary.number.to_string()),
            ("bytes", summary.file_bytes.to_string()),
            ("used", summary.end.to_string()),
            ("first record", summary.first.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string())),
            ("last record", summary.last.to_string()),
            ("known durable", summary.durable.to_string()),
            ("records", summary.records.to_string()),
        ]),
        tables: vec![Table {
            title: format!("the first {listed} frames"),
            columns: columns(["offset", "type", "kind", "record", "durable", "payload bytes"]),
            rows,
        }],
        findings,
    })
}

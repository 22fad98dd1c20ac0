//! The audit log: who, without being the tenant, read what of a tenant, and why. An entry is durable before anything that
//! it tells of is handed out.
//!
//! `<root>/audit/<number>.log`, numbered from 1, are texts of one entry a line, fields apart by tabs; within a field `\`, tab
//! and line ends are written `\\`, `\t`, `\n` and `\r`. The first line of a file:
//!
//! | field | notes |
//! |---|---|
//! | `annals audit 1` | the version of this format |
//! | chain | the hash that its first entry goes on from; before the first entry of all, 64 zeros |
//!
//! Then, each:
//!
//! | field | notes |
//! |---|---|
//! | number | counts all entries, from 1 |
//! | time | milliseconds |
//! | tenant | its id |
//! | operator, reason | as they gave them |
//! | action | what was asked for: `query`, `range`, `explain`, `signals`, `count`, `report`, `sites`, `series`, `note` |
//! | what | the expression, matchers or site, and the times |
//! | hash | SHA-256, hexadecimal: of the hash before (as it is written) and this line's other fields, tabs included |
//!
//! So no entry can be changed, taken out or put in without changing all that come after; who keeps the last hash
//! (`annals audit verify` prints it) sees that too, and whether the end was cut off.
//!
//! A file is never written again after a write or sync of it failed, nor by another process: the next entry begins a file.
//! That file first repeats the last entry of the one before, the only one that may not be durable there. One process writes
//! at a time, under a lock that is held for one entry.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::{TenantId, Timestamp};
use annals_vfs::sync::Mutex;
use annals_vfs::{Clock, File, LockError, Vfs};
use aws_lc_rs::digest;

use crate::layout::Layout;
use crate::receipt::hex;

const TITLE: &str = "annals audit 1";
const NONE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ENDING: &str = ".log";
/// A file that is larger takes no more entries.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A name, and a reason, are as long at most, in characters.
const WORDS_MAX: usize = 200;
/// What is asked for is cut here, in bytes: queries may be of any length, and one entry must not fill a file.
const WHAT_BYTES_MAX: usize = 64 << 10;
/// A file is read up to here: its last entry may pass the limit for one more.
const READ_BYTES_MAX: u64 = FILE_BYTES_MAX + 8 * WHAT_BYTES_MAX as u64;

/// Who reads a tenant's data without being the tenant, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    name: String,
    reason: String,
}

/// Why an operator is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {field} of an operator must be a line of 1 to {WORDS_MAX} characters")]
pub struct InvalidOperator {
    /// Which one: name or reason.
    pub field: &'static str,
}

impl Operator {
    /// An operator of that name, for that reason; each a line of 1 to 200 characters.
    pub fn new(name: &str, reason: &str) -> Result<Operator, InvalidOperator> {
        let line = |field: &'static str, text: &str| {
            let text = text.trim();
            let fits = (1..=WORDS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
            if fits { Ok(text.to_owned()) } else { Err(InvalidOperator { field }) }
        };
        Ok(Operator { name: line("name", name)?, reason: line("reason", reason)? })
    }
}

/// Why an entry could not be written. Nothing was read then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Another process writes at this moment.
    #[error("the audit log is being written by another process: {0}; try again")]
    Busy(LockError),
    /// The disk refused.
    #[error("cannot {doing} the audit log {}: {source}; nothing is read that is not written down", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl AuditError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
        move |source| AuditError::Io { doing, path: path.to_owned(), source }
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counts all entries, from 1.
    pub number: u64,
    /// When.
    pub time: Timestamp,
    /// Whose data.
    pub tenant: String,
    /// Who.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// What kind of reading.
    pub action: String,
    /// The expression, matchers or site, and the times.
    pub what: String,
}

/// All of an audit log, as it is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditTrail {
    /// The entries, oldest first, as far as each can be read.
    pub entries: Vec<AuditEntry>,
    /// The hash of each.
    pub hashes: Vec<String>,
    /// What was changed, taken out, or cannot be read: file, line, and what is wrong.
    pub findings: Vec<String>,
    /// Ends of files that were being written when a process or machine ended: never answered, no harm.
    pub notes: Vec<String>,
}

/// The audit log of a store, for one process.
pub(crate) struct AuditLog {
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    directory: PathBuf,
    /// The file that this process writes; `None` before its first entry and after a failure.
    open: Mutex<Option<Open>>,
}

struct Open {
    number: u64,
    file: Box<dyn File>,
    bytes: u64,
    end: End,
}

/// Where the chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    number: u64,
    hash: String,
}

impl AuditLog {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, clock: Arc<dyn Clock>, directory: PathBuf) -> AuditLog {
        AuditLog { vfs, clock, directory, open: Mutex::new(None) }
    }

    /// Writes that `operator` reads `what` of a tenant; durable when this returns.
    pub(crate) fn write(
        &self,
        operator: &Operator,
        tenant: &TenantId,
        action: &str,
        what: &str,
    ) -> Result<(), AuditError> {
        let mut open = self.open.lock();
        self.create()?;
        let lock = self.directory.join("LOCK");
        let _guard = self.vfs.lock(&lock, &operator.name).map_err(|error| match error {
            held @ LockError::Held { .. } => AuditError::Busy(held),
            LockError::Io { path, source } => AuditError::Io { doing: "lock", path, source },
        })?;
        let last = files(&*self.vfs, &self.directory)
            .map_err(AuditError::io("list", &self.directory))?
            .last()
            .copied();
        // Whoever else has begun a file meanwhile has chained it to this one.
        let ours = open.take().filter(|ours| Some(ours.number) == last && ours.bytes < FILE_BYTES_MAX);
        let (time, tenant) = (self.clock.now_ms().to_string(), tenant.to_string());
        let what = cut(what);
        let line = |end: &End| {
            let number = end.number.saturating_add(1);
            let fields =
                [&number.to_string(), &time, &tenant, &operator.name, &operator.reason, action, what];
            let text = fields.map(escape).join("\t");
            let hash = chained(&end.hash, &text);
            (format!("{text}\t{hash}\n"), End { number, hash })
        };
        *open = Some(match ours {
            Some(ours) => {
                let (text, end) = line(&ours.end);
                let path = self.path(ours.number);
                ours.file.write_at(text.as_bytes(), ours.bytes).map_err(AuditError::io("write", &path))?;
                ours.file.sync().map_err(AuditError::io("sync", &path))?;
                Open { bytes: ours.bytes.saturating_add(text.len() as u64), end, ..ours }
            }
            None => {
                let repeated = last.map(|last| self.last_link(last)).transpose()?.flatten();
                let (chain, repeated, before) =
                    repeated.unwrap_or_else(|| (NONE.to_owned(), String::new(), End::default()));
                let number = last.unwrap_or(0).saturating_add(1);
                let (text, end) = line(&before);
                let text = format!("{TITLE}\t{chain}\n{repeated}{text}");
                let path = self.path(number);
                let file = self.vfs.create(&path).map_err(AuditError::io("create", &path))?;
                file.write_at(text.as_bytes(), 0).map_err(AuditError::io("write", &path))?;
                file.sync().map_err(AuditError::io("sync", &path))?;
                self.vfs.sync_dir(&self.directory).map_err(AuditError::io("sync", &self.directory))?;
                Open { number, file, bytes: text.len() as u64, end }
            }
        });
        Ok(())
    }

    /// Makes the directory, where this is the first entry of all.
    fn create(&self) -> Result<(), AuditError> {
        let failed = |doing| AuditError::io(doing, &self.directory);
        match self.vfs.create_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            created => created.map_err(failed("create"))?,
        }
        let synced = self.directory.parent().map_or(Ok(()), |root| self.vfs.sync_dir(root));
        if synced.is_err() {
            // A name that was not synced must not be taken for one that was by whoever comes next.
            let _ = self.vfs.remove_dir(&self.directory);
        }
        synced.map_err(failed("sync the name of"))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(file_name(number))
    }

    /// The last entry of a file and those before it: what it goes on from, its line, and where it leaves the chain.
    fn last_link(&self, last: u64) -> Result<Option<(String, String, End)>, AuditError> {
        for number in (1..=last).rev() {
            let path = self.path(number);
            let text = match read(&*self.vfs, &path) {
                // That it is missing is for `audit_trail` to tell: what comes must be chained to something.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.map_err(AuditError::io("read", &path))?,
            };
            let last = Lines::of(&text).and_then(|lines| lines.filter_map(|(_, link)| link.ok()).last());
            if let Some(link) = last {
                return Ok(Some((link.before.to_owned(), format!("{}\n", link.line), link.end)));
            }
        }
        Ok(None)
    }
}

impl Default for End {
    fn default() -> End {
        End { number: 0, hash: NONE.to_owned() }
    }
}

/// An entry in its place.
struct Link<'t> {
    /// The hash that it goes on from.
    before: &'t str,
    line: &'t str,
    entry: AuditEntry,
    end: End,
}

/// Reads the lines of a file.
struct Lines<'t> {
    chain: &'t str,
    /// The hash that the next line goes on from.
    before: &'t str,
    lines: std::iter::Enumerate<std::str::SplitInclusive<'t, char>>,
}

/// Why a line is no entry.
enum BadLine {
    /// It has no end: it was being written.
    Cut,
    /// It is not what was written there.
    Changed,
}

impl<'t> Lines<'t> {
    /// `None` where there is no first line as this build writes it.
    fn of(text: &'t str) -> Option<Lines<'t>> {
        let mut lines = text.split_inclusive('\n').enumerate();
        let (_, first) = lines.next()?;
        let chain = first.strip_suffix('\n')?.strip_prefix(TITLE)?.strip_prefix('\t')?;
        Some(Lines { chain, before: chain, lines })
    }
}

impl<'t> Iterator for Lines<'t> {
    /// The number of the line, from 1, and its entry.
    type Item = (usize, Result<Link<'t>, BadLine>);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, line) = self.lines.next()?;
        let Some(line) = line.strip_suffix('\n') else { return Some((at + 1, Err(BadLine::Cut))) };
        let before = self.before;
        let link = parse(line, before).map(|(entry, end)| Link { before, line, entry, end });
        // What follows a line that was changed is chained to what stood there.
        self.before = line.rsplit('\t').next().unwrap_or_default();
        Some((at + 1, link.ok_or(BadLine::Changed)))
    }
}

/// Reads the audit log of the store in a directory, and checks that it is as it was written. It needs no key, and neither
/// an intact store nor one that is closed.
pub fn audit_trail(vfs: &dyn Vfs, root: &Path) -> Result<AuditTrail, AuditError> {
    let directory = &Layout::new(root).audit;
    let numbers = match files(vfs, directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        numbers => numbers.map_err(AuditError::io("list", directory))?,
    };
    let mut trail = AuditTrail::default();
    // Where the chain stood after each entry, and before all.
    let mut ends = vec![End::default()];
    for number in numbers {
        let path = directory.join(file_name(number));
        let name = path.display();
        let text = match read(vfs, &path) {
            Ok(text) => text,
            Err(error) => {
                trail.findings.push(format!("{name}: it cannot be read: {error}"));
                continue;
            }
        };
        let Some(lines) = Lines::of(&text) else {
            if text.contains('\n') {
                trail.findings.push(format!("{name}, line 1: it is no audit log as this build knows them"));
            } else {
                trail.notes.push(format!("{name}: it was never finished, and nothing was read by it"));
            }
            continue;
        };
        // It repeats one entry, so it goes on from the last or the one before.
        let at = ends.len().saturating_sub(2);
        let known = ends.get(at..).unwrap_or_default().iter().any(|end| end.hash == lines.chain);
        if !known {
            let what =
                "it does not go on from the file before: entries between them were changed or taken out";
            trail.findings.push(format!("{name}, line 1: {what}"));
        }
        for (line, link) in lines {
            match link {
                Ok(Link { entry, end, .. }) => {
                    let last = ends.last().map_or(0, |end| end.number);
                    if ends.last() == Some(&end) {
                        // Repeated.
                        continue;
                    }
                    if known && end.number != last.saturating_add(1) {
                        let number = end.number;
                        trail.findings.push(format!("{name}, line {line}: entry {number} follows on {last}"));
                    }
                    ends.push(end);
                    trail.entries.push(entry);
                }
                Err(BadLine::Cut) => {
                    let what = "it was never finished, and nothing was read by it";
                    trail.notes.push(format!("{name}, line {line}: {what}"));
                }
                Err(BadLine::Changed) => {
                    let what = "it is not the entry that was written here";
                    trail.findings.push(format!("{name}, line {line}: {what}"));
                }
            }
        }
    }
    trail.hashes = ends.into_iter().skip(1).map(|end| end.hash).collect();
    Ok(trail)
}

/// The entry of a line that goes on from a hash, and where that leaves the chain.
fn parse(line: &str, before: &str) -> Option<(AuditEntry, End)> {
    let (text, hash) = line.rsplit_once('\t')?;
    if chained(before, text) != hash {
        return None;
    }
    let fields: Vec<String> = text.split('\t').map(unescape).collect();
    let [number, time, tenant, operator, reason, action, what] = fields.try_into().ok()?;
    let (number, time) = (number.parse().ok()?, Timestamp(time.parse().ok()?));
    let end = End { number, hash: hash.to_owned() };
    Some((AuditEntry { number, time, tenant, operator, reason, action, what }, end))
}

fn chained(before: &str, text: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before.as_bytes());
    context.update(text.as_bytes());
    hex(context.finish().as_ref())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> String {
    let (mut plain, mut letters) = (String::with_capacity(text.len()), text.chars());
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                other => other.unwrap_or('\\'),
            },
            plain => plain,
        });
    }
    plain
}

fn cut(what: &str) -> &str {
    let end = what.floor_char_boundary(WHAT_BYTES_MAX);
    what.get(..end).unwrap_or_default()
}

fn file_name(number: u64) -> String {
    format!("{number:08}{ENDING}")
}

/// The numbers of the files, ascending. Whatever else lies there is not of this log.
fn files(vfs: &dyn Vfs, directory: &Path) -> io::Result<Vec<u64>> {
    let number = |name: &str| -> Option<u64> {
        let number = name.strip_suffix(ENDING)?.parse().ok()?;
        (file_name(number) == name).then_some(number)
    };
    let mut numbers: Vec<u64> = vfs.list(directory)?.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn read(vfs: &dyn Vfs, path: &Path) -> io::Result<String> {
    let file = vfs.open(path)?;
    let bytes = file.len()?.min(READ_BYTES_MAX);
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let count = file.read_at(&mut text, 0)?;
    text.truncate(count);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

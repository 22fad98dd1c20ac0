//! What is granted to whom, and the file that holds it.
//!
//! `<root>/access/list-<generation>` is a text, its first line `annals access 1 <SHA-256 of the rest, hexadecimal>`, the rest
//! TOML: a table `[[token]]` or `[[site]]` each. The highest generation is the one that holds; it is written whole, under a lock, and
//! those before it are removed. A file that is not as it was written grants nothing.
//!
//! A token is `annals_<id>_<secret>`: 12 and 64 hexadecimal digits. What is stored of the secret is its SHA-256: with 256
//! random bits there is nothing to guess, so a hash that is slow on purpose would only slow down every request.
//!
//! Of a site's secret nothing is stored: it follows from the tenant's identity key, the site and the key's id
//! ([`annals::Tenant::site_secret`]). So whoever holds this file cannot sign, and an erasure ends every secret of its tenant.
//!
//! A tenant is named by its id and its number. Ids are given again after an erasure, numbers never: a token does not
//! outlive its tenant.
//!
//! The file is no part of a backup: restoring one must not bring back what was revoked.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::{Clock, Draft, Entropy, LockError, Vfs, publish};
use annals::{SiteName, TenantId, TenantNumber, Timestamp, Zeroizing};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

const TITLE: &str = "annals access 1 ";
const NAME: &str = "list-";
/// The largest list: some 200,000 tokens.
const LIST_BYTES_MAX: u64 = 64 << 20;
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 6;
/// What begins every token, so that one that has leaked into a text is found.
pub(crate) const TOKEN_PREFIX: &str = "annals_";

/// What a token of a tenant gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Writes metrics.
    Ingest,
    /// Reads metrics and reports.
    Viewer,
    /// Reads reports.
    Report,
    /// All of that.
    Manager,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Ingest, Role::Viewer, Role::Report, Role::Manager];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Viewer => "viewer",
            Role::Report => "report",
            Role::Manager => "manager",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Grant {
    /// A role with one tenant.
    Tenant {
        /// Its id.
        tenant: String,
        /// Its number.
        number: u32,
        /// The role.
        role: Role,
    },
    /// Reading any tenant, for a reason that is given with each request.
    Operator {
        /// Who.
        operator: String,
    },
}

impl Grant {
    /// A role with a tenant.
    #[must_use]
    pub fn tenant(id: &TenantId, number: TenantNumber, role: Role) -> Grant {
        Grant::Tenant { tenant: id.to_string(), number: number.0, role }
    }
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Token {
    /// Names it: not secret.
    pub id: String,
    /// What it is for.
    #[serde(flatten)]
    pub grant: Grant,
    /// When it was made, in milliseconds.
    pub created: i64,
    /// From when on it is no longer taken, in milliseconds; a rotation sets this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<i64>,
    /// SHA-256 of its secret, hexadecimal.
    hash: String,
}

/// The key of a site's secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SiteKey {
    /// Names it, 32 hexadecimal digits: not secret.
    pub id: String,
    /// The tenant's id.
    pub tenant: String,
    /// The tenant's number.
    pub number: u32,
    /// The site.
    pub site: String,
    /// When it was made, in milliseconds.
    pub created: i64,
    /// From when on it is no longer taken, in milliseconds; a rotation sets this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<i64>,
}

impl SiteKey {
    /// Its id, for [`annals::Tenant::site_secret`]; that of no key where it is none.
    #[must_use]
    pub fn id_bytes(&self) -> [u8; 16] {
        crate::signed::bytes(&self.id).unwrap_or_default()
    }
}

/// A token that was just made. Its text is shown once and stored nowhere.
#[non_exhaustive]
pub struct NewToken {
    /// Names it.
    pub id: String,
    /// What a client sends.
    pub text: Zeroizing<String>,
}

/// All that is granted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessList {
    /// Tokens, oldest first.
    #[serde(default, rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// Keys of sites, oldest first.
    #[serde(default, rename = "site", skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteKey>,
    /// Where each id is in those lists.
    #[serde(skip)]
    places: HashMap<String, usize>,
}

/// Why the list cannot be used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
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
    /// Another process changes it at this moment.
    #[error("tokens are being changed by another process: {0}; try again")]
    Busy(LockError),
    /// It is not as it was written.
    #[error("{}: {what}; nobody is let in by it: put the file back, or remove it and make new tokens", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// There is no token of that id.
    #[error("there is no token `{0}`; `annals token list` shows them")]
    NoToken(String),
    /// There is no key of that id.
    #[error("there is no key `{0}` of a site; `annals site list` shows them")]
    NoSite(String),
    /// The site has a key, or two during a rotation.
    #[error("site `{site}` has {live} live keys; {next}")]
    LiveKeys {
        /// The site.
        site: String,
        /// How many.
        live: usize,
        /// What to do.
        next: &'static str,
    },
    /// No randomness.
    #[error("cannot draw a secret: {0}")]
    Entropy(io::Error),
}

/// Where the list lies.
pub struct AccessStore {
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    directory: PathBuf,
}

impl AccessStore {
    /// The list of the store at `root`.
    #[must_use]
    pub fn new(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        root: &Path,
    ) -> AccessStore {
        AccessStore { vfs, clock, entropy, directory: root.join("access") }
    }

    /// The newest generation; 0 where there is no list yet.
    pub(crate) fn generation(&self) -> Result<u64, AccessError> {
        match self.vfs.list(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(self.io("list", source)),
            Ok(entries) => {
                Ok(entries.iter().filter_map(|entry| generation_of(&entry.name)).max().unwrap_or(0))
            }
        }
    }

    /// What is granted now.
    pub fn load(&self) -> Result<AccessList, AccessError> {
        // Whoever changes it removes the one before: that is looked at again.
        for _ in 0..3 {
            let generation = self.generation()?;
            match self.load_generation(generation) {
                Err(AccessError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                loaded => return loaded,
            }
        }
        self.load_generation(self.generation()?)
    }

    pub(crate) fn load_generation(&self, generation: u64) -> Result<AccessList, AccessError> {
        if generation == 0 {
            return Ok(AccessList::default());
        }
        let path = self.path(generation);
        let io = |doing| {
            let path = path.clone();
            move |source| AccessError::Io { doing, path, source }
        };
        let file = self.vfs.open(&path).map_err(io("open"))?;
        let length = file.len().map_err(io("read"))?;
        let damaged = |what| AccessError::Damaged { path: path.clone(), what };
        if length > LIST_BYTES_MAX {
            return Err(damaged("it is larger than any list"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0).map_err(io("read"))?;
        bytes.truncate(read);
        let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let (first, rest) = text.split_once('\n').ok_or_else(|| damaged("it has no first line"))?;
        let check = first.strip_prefix(TITLE).ok_or_else(|| damaged("its first line is not known"))?;
        if check != sha256(rest.as_bytes()) {
            return Err(damaged("it is not what was written there"));
        }
        let mut list: AccessList = toml::from_str(rest).map_err(|_| damaged("a newer version wrote it"))?;
        let tokens = list.tokens.iter().map(|token| &token.id).enumerate();
        let sites = list.sites.iter().map(|site| &site.id).enumerate();
        list.places = tokens.chain(sites).map(|(place, id)| (id.clone(), place)).collect();
        Ok(list)
    }

    /// Makes a token.
    pub fn create_token(&self, grant: Grant) -> Result<NewToken, AccessError> {
        self.change(|list, now| self.add_token(list, grant, now))
    }

    /// Makes another token for the same, and ends the one that is there after `overlap_ms`.
    pub fn rotate_token(&self, id: &str, overlap_ms: i64) -> Result<NewToken, AccessError> {
        self.change(|list, now| {
            let old = list.tokens.iter_mut().find(|token| token.id == id);
            let old = old.ok_or_else(|| AccessError::NoToken(id.to_owned()))?;
            let ends = now.0.saturating_add(overlap_ms.max(0));
            old.ends = Some(old.ends.map_or(ends, |earlier| earlier.min(ends)));
            let grant = old.grant.clone();
            self.add_token(list, grant, now)
        })
    }

    /// Takes a token back.
    pub fn revoke_token(&self, id: &str) -> Result<(), AccessError> {
        self.change(|list, _| {
            let before = list.tokens.len();
            list.tokens.retain(|token| token.id != id);
            if list.tokens.len() == before { Err(AccessError::NoToken(id.to_owned())) } else { Ok(()) }
        })
    }

    /// Makes the first key of a site.
    pub fn create_site(
        &self,
        tenant: &TenantId,
        number: TenantNumber,
        site: &SiteName,
    ) -> Result<SiteKey, AccessError> {
        self.change(|list, now| {
            let next = "rotate one: annals site rotate ID";
            list.allow_site(tenant.as_str(), site.as_str(), now, 0, next)?;
            self.add_site(list, (tenant.as_str(), number.0, site.as_str()), now)
        })
    }

    /// Makes another key for the same site, and ends the one that is there after `overlap_ms`.
    pub fn rotate_site(&self, id: &str, overlap_ms: i64) -> Result<SiteKey, AccessError> {
        self.change(|list, now| {
            let old = list.sites.iter().find(|site| site.id == id).cloned();
            let old = old.ok_or_else(|| AccessError::NoSite(id.to_owned()))?;
            let next = "a rotation is under way; it ends by itself, or revoke one: annals site revoke ID";
            list.allow_site(&old.tenant, &old.site, now, 1, next)?;
            for site in list.sites.iter_mut().filter(|site| site.id == id) {
                site.ends = Some(now.0.saturating_add(overlap_ms.max(0)));
            }
            self.add_site(list, (&old.tenant, old.number, &old.site), now)
        })
    }

    /// Takes a key of a site back.
    pub fn revoke_site(&self, id: &str) -> Result<(), AccessError> {
        self.change(|list, _| {
            let before = list.sites.len();
            list.sites.retain(|site| site.id != id);
            if list.sites.len() == before { Err(AccessError::NoSite(id.to_owned())) } else { Ok(()) }
        })
    }

    fn add_site(
        &self,
        list: &mut AccessList,
        (tenant, number, site): (&str, u32, &str),
        now: Timestamp,
    ) -> Result<SiteKey, AccessError> {
        let mut id = [0; 16];
        self.entropy.fill(&mut id).map_err(AccessError::Entropy)?;
        let (tenant, site) = (tenant.to_owned(), site.to_owned());
        let key = SiteKey { id: hex(&id), tenant, number, site, created: now.0, ends: None };
        list.sites.push(key.clone());
        Ok(key)
    }

    fn add_token(
        &self,
        list: &mut AccessList,
        grant: Grant,
        now: Timestamp,
    ) -> Result<NewToken, AccessError> {
        let (mut id, mut secret) = ([0; ID_BYTES], Zeroizing::new([0; SECRET_BYTES]));
        self.entropy.fill(&mut id).map_err(AccessError::Entropy)?;
        self.entropy.fill(&mut *secret).map_err(AccessError::Entropy)?;
        let (id, secret) = (hex(&id), Zeroizing::new(hex(&*secret)));
        let text = Zeroizing::new(format!("{TOKEN_PREFIX}{id}_{}", *secret));
        let hash = sha256(secret.as_bytes());
        list.tokens.push(Token { id: id.clone(), grant, created: now.0, ends: None, hash });
        Ok(NewToken { id, text })
    }

    /// Changes the list under its lock; it is durable when this returns. Tokens that have ended go.
    fn change<T>(
        &self,
        edit: impl FnOnce(&mut AccessList, Timestamp) -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        match self.vfs.create_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                created.map_err(|source| self.io("create", source))?;
                let root = self.directory.parent().unwrap_or(&self.directory);
                self.vfs.sync_dir(root).map_err(|source| self.io("sync the name of", source))?;
            }
        }
        let lock = self.vfs.lock(&self.directory.join("LOCK"), "a change of tokens");
        let _guard = lock.map_err(|error| match error {
            held @ LockError::Held { .. } => AccessError::Busy(held),
            LockError::Io { path, source } => AccessError::Io { doing: "lock", path, source },
        })?;
        let (generation, now) = (self.generation()?, Timestamp(self.clock.now_ms()));
        let mut list = self.load_generation(generation)?;
        let result = edit(&mut list, now)?;
        list.tokens.retain(|token| is_live(token.ends, now));
        list.sites.retain(|site| is_live(site.ends, now));
        let body =
            toml::to_string(&list).map_err(|error| self.io("write", io::Error::other(error.to_string())))?;
        let text = format!("{TITLE}{}\n{body}", sha256(body.as_bytes()));
        let next = generation.saturating_add(1);
        let draft = self.directory.join("draft");
        match self.vfs.unlink(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.io("clear the draft in", error));
            }
            _ => {}
        }
        let directory = self.directory.clone();
        let file = Draft { draft, directory, name: format!("{NAME}{next}"), bytes: text.as_bytes() };
        publish(&*self.vfs, &[file]).map_err(|error| self.io("write the list in", error.into_source()))?;
        // One that stays is older, and is not read.
        for entry in self.vfs.list(&self.directory).unwrap_or_default() {
            if generation_of(&entry.name).is_some_and(|old| old < next) {
                let _ = self.vfs.unlink(&self.directory.join(&entry.name));
            }
        }
        Ok(result)
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.directory.join(format!("{NAME}{generation}"))
    }

    fn io(&self, doing: &'static str, source: io::Error) -> AccessError {
        AccessError::Io { doing, path: self.directory.clone(), source }
    }
}

impl AccessList {
    /// The token that a text is, at this time. As much is computed for one that is not there.
    pub(crate) fn token(&self, text: &str, now: Timestamp) -> Option<&Token> {
        let (id, secret) =
            text.strip_prefix(TOKEN_PREFIX).and_then(|rest| rest.split_once('_')).unwrap_or_default();
        let place = self.places.get(id).and_then(|place| self.tokens.get(*place));
        let found = place.filter(|token| token.id == id);
        let hash = sha256(secret.as_bytes());
        let stored = found.map_or(NOBODY, |token| token.hash.as_str());
        let right = verify_slices_are_equal(hash.as_bytes(), stored.as_bytes()).is_ok();
        found.filter(|token| right && is_live(token.ends, now))
    }

    /// The key of a site of that id, at this time.
    pub(crate) fn site(&self, id: &[u8; 16], now: Timestamp) -> Option<&SiteKey> {
        let id = hex(id);
        let place = self.places.get(&id).and_then(|place| self.sites.get(*place));
        place.filter(|site| site.id == id && is_live(site.ends, now))
    }

    /// Refuses another key where the site has more live ones than this.
    fn allow_site(
        &self,
        tenant: &str,
        site: &str,
        now: Timestamp,
        most: usize,
        next: &'static str,
    ) -> Result<(), AccessError> {
        let own = |key: &&SiteKey| key.tenant == tenant && key.site == site && is_live(key.ends, now);
        let live = self.sites.iter().filter(own).count();
        let site = site.to_owned();
        if live > most { Err(AccessError::LiveKeys { site, live, next }) } else { Ok(()) }
    }
}

/// No text has this hash.
const NOBODY: &str = "################################################################";

fn is_live(ends: Option<i64>, now: Timestamp) -> bool {
    ends.is_none_or(|ends| ends > now.0)
}

fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix(NAME)?.parse().ok()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::vfs::{SimClock, SimEntropy, SimVfs};

    fn store() -> (Arc<SimVfs>, Arc<SimClock>, AccessStore) {
        let (vfs, clock) = (Arc::new(SimVfs::new()), Arc::new(SimClock::new(1_790_000_000_000)));
        vfs.create_dir("/data".as_ref()).expect("memory");
        let entropy = Arc::new(SimEntropy::new(1));
        let access = AccessStore::new(vfs.clone(), clock.clone(), entropy, "/data".as_ref());
        (vfs, clock, access)
    }

    fn viewer() -> Grant {
        Grant::tenant(&TenantId::new("acme").expect("valid"), TenantNumber(1), Role::Viewer)
    }

    #[test]
    fn a_token_is_known_by_its_text_and_not_stored() {
        let (vfs, clock, access) = store();
        let token = access.create_token(viewer()).expect("made");
        let list = access.load().expect("read");
        let now = Timestamp(clock.now_ms());
        assert_eq!(list.token(&token.text, now).map(|token| &token.grant), Some(&viewer()));
        let (known, secret) = token.text.rsplit_once('_').expect("three parts");
        let other = format!("{known}_{}", "0".repeat(64));
        for wrong in [&other, "", "annals_", known, secret, &format!("{}0", *token.text)] {
            assert_eq!(list.token(wrong, now), None, "{wrong}");
        }
        let path = access.path(access.generation().expect("listed"));
        let file = vfs.open(&path).expect("there");
        let mut bytes = vec![0; file.len().expect("known") as usize];
        file.read_at(&mut bytes, 0).expect("read");
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.contains(&token.id) && !text.contains(secret), "{text}");
    }

    #[test]
    fn a_rotation_leaves_two_for_its_overlap_and_a_revocation_none() {
        let (_, clock, access) = store();
        let old = access.create_token(viewer()).expect("made");
        let new = access.rotate_token(&old.id, 60_000).expect("made");
        let known =
            |text: &str| access.load().expect("read").token(text, Timestamp(clock.now_ms())).is_some();
        assert!(known(&old.text) && known(&new.text));
        clock.advance_ms(60_000);
        assert!(!known(&old.text) && known(&new.text));
        access.revoke_token(&new.id).expect("there");
        assert!(!known(&new.text));
        assert!(matches!(access.revoke_token(&new.id), Err(AccessError::NoToken(_))));
        assert_eq!(access.load().expect("read").tokens, []);
    }

    #[test]
    fn a_site_has_one_key_and_two_during_a_rotation() {
        let (_, clock, access) = store();
        let (tenant, site) = (TenantId::new("acme").expect("valid"), SiteName::new("shop").expect("valid"));
        let create = || access.create_site(&tenant, TenantNumber(1), &site);
        let old = create().expect("made");
        assert!(matches!(create(), Err(AccessError::LiveKeys { live: 1, .. })));
        let new = access.rotate_site(&old.id, 60_000).expect("made");
        assert!(matches!(access.rotate_site(&new.id, 0), Err(AccessError::LiveKeys { live: 2, .. })));
        let known = |key: &SiteKey| {
            access.load().expect("read").site(&key.id_bytes(), Timestamp(clock.now_ms())).is_some()
        };
        assert!(known(&old) && known(&new));
        clock.advance_ms(60_000);
        assert!(!known(&old) && known(&new));
        access.revoke_site(&new.id).expect("there");
        assert!(!known(&new));
        assert!(matches!(access.revoke_site(&new.id), Err(AccessError::NoSite(_))));
    }

    #[test]
    fn a_list_that_was_changed_lets_nobody_in() {
        let (vfs, _, access) = store();
        access.create_token(viewer()).expect("made");
        let path = access.path(access.generation().expect("listed"));
        let file = vfs.open(&path).expect("there");
        let length = file.len().expect("known");
        let mut bytes = vec![0; length as usize];
        file.read_at(&mut bytes, 0).expect("read");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            vfs.unlink(&path).expect("there");
            vfs.create(&path).expect("made").write_at(&changed, 0).expect("memory");
            assert!(matches!(access.load(), Err(AccessError::Damaged { .. })), "byte {at}");
        }
    }
}

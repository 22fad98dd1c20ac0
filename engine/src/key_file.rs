//! A tenant's key file: which keys it has, what each may still be used for, and its data keys, wrapped.
//!
//! Content of the twin file `t/<n>/keys-<gen>` (see [`crate::twin`]), numbers in LEB128:
//!
//! | field    | type | notes                                                                              |
//! |----------|------|------------------------------------------------------------------------------------|
//! | `sealed` | u8   | 1 where the tenant's data is sealed, 0 where it never was                          |
//! | `keys`   | list | id (u32), class (u8), state (u8), created (i64, milliseconds), until (i64), secret (blob) |
//!
//! Classes: 1 identity, 2 metrics, 3 signals, 4 wrapping; states: 1 active, 2 old, 3 destroyed. Each class has one active
//! key; ids count from 1 and are never used again, so that the file names every key that the tenant ever had. `until` is not
//! there for an active key; by then an old one is to be out of use, since then a destroyed one is.
//!
//! A secret is 32 random bytes: as the key store wrapped it under the active wrapping key, with `annals data key 1`, the
//! key's id and class as context; as it is where the tenant is not sealed. Wrapping keys are in the key store, not here, and
//! a destroyed key has none: their secrets are empty.

use std::path::Path;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{KeyId, Timestamp};
use annals_vfs::Entropy;
use zeroize::Zeroizing;

use crate::key_store::KeyStore;
use crate::keys::{KeyError, KeyHolder};
use crate::seal::Secret;
use crate::twin::TwinError;

const CONTEXT: &[u8] = b"annals data key 1";

/// What a key protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyClass {
    /// What pseudonyms and digests of batches are made with. It opens nothing, and stays as long as the tenant.
    Identity = 1,
    /// Metrics: samples, rollups, names of series.
    Metrics = 2,
    /// Raw signals.
    Signals = 3,
    /// The data keys themselves. It is in the key store.
    Wrapping = 4,
}

/// What a key may still be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// All that is new is sealed with it.
    Active = 1,
    /// It opens what it sealed, until that is written anew.
    Old = 2,
    /// It is gone.
    Destroyed = 3,
}

/// A key as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyEntry {
    pub(crate) id: KeyId,
    pub(crate) class: KeyClass,
    pub(crate) state: KeyState,
    pub(crate) created: Timestamp,
    /// By when an old one is out of use; since when a destroyed one is.
    pub(crate) until: Timestamp,
    pub(crate) secret: Vec<u8>,
}

/// The content of a key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    pub(crate) sealed: bool,
    pub(crate) keys: Vec<KeyEntry>,
}

impl KeyClass {
    /// All of them.
    pub const ALL: [KeyClass; 4] =
        [KeyClass::Identity, KeyClass::Metrics, KeyClass::Signals, KeyClass::Wrapping];

    /// The class of that number on disk.
    pub(crate) fn from_tag(tag: u8) -> Option<KeyClass> {
        KeyClass::ALL.into_iter().find(|&known| known as u8 == tag)
    }

    /// Its name in listings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            KeyClass::Identity => "identity",
            KeyClass::Metrics => "metrics",
            KeyClass::Signals => "signals",
            KeyClass::Wrapping => "wrapping",
        }
    }
}

impl KeyState {
    const ALL: [KeyState; 3] = [KeyState::Active, KeyState::Old, KeyState::Destroyed];

    /// Its name in listings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::Old => "old",
            KeyState::Destroyed => "destroyed",
        }
    }
}

impl KeyEntry {
    fn is_data(&self) -> bool {
        self.class != KeyClass::Wrapping && self.state != KeyState::Destroyed
    }

    /// What its secret is wrapped for.
    fn context(&self) -> Vec<u8> {
        [CONTEXT, &self.id.0.to_le_bytes(), &[self.class as u8]].concat()
    }
}

/// A key store, and whose data keys are wrapped there under which key.
#[derive(Clone, Copy)]
pub(crate) struct Wrapper<'a> {
    store: &'a dyn KeyStore,
    holder: KeyHolder<'a>,
    key: KeyId,
    /// Named in errors.
    path: &'a Path,
}

impl<'a> Wrapper<'a> {
    /// The one of a file that is sealed.
    fn of(file: &KeyFile, path: &'a Path, holder: KeyHolder<'a>) -> Result<Wrapper<'a>, KeyError> {
        let store = holder.store.ok_or_else(|| KeyError::NoKeyStore { path: path.to_owned() })?;
        let key = file.active(KeyClass::Wrapping).map(|key| key.id);
        let key = key.ok_or_else(|| KeyError::lacks_key(path))?;
        Ok(Wrapper { store, holder, key, path })
    }

    pub(crate) fn unwrap(&self, key: &KeyEntry) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let opened = self.store.unwrap(self.holder.name, self.key, &key.context(), &key.secret);
        opened.map_err(|source| KeyError::Store { path: self.path.to_owned(), source })
    }

    fn wrap(&self, key: &mut KeyEntry, secret: &[u8], entropy: &dyn Entropy) -> Result<(), KeyError> {
        let wrapped = self.store.wrap(self.holder.name, self.key, &key.context(), secret, entropy);
        key.secret = wrapped.map_err(|source| KeyError::Store { path: self.path.to_owned(), source })?;
        Ok(())
    }
}

impl KeyFile {
    /// The keys of a new tenant: sealed where there is a key store, which gets its wrapping key.
    pub(crate) fn draw(
        path: &Path,
        holder: KeyHolder<'_>,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<KeyFile, KeyError> {
        let mut file = KeyFile { sealed: holder.store.is_some(), keys: Vec::new() };
        let Some(store) = holder.store else {
            let mut identity = file.next(KeyClass::Identity, now);
            identity.secret = Secret::draw(entropy).map_err(failed(path))?.bytes().to_vec();
            file.keys.push(identity);
            return Ok(file);
        };
        let data = [KeyClass::Identity, KeyClass::Metrics, KeyClass::Signals];
        let key = KeyId(data.len() as u32 + 1);
        store
            .create(holder.name, key, entropy)
            .map_err(|source| KeyError::Store { path: path.to_owned(), source })?;
        let wrapper = Wrapper { store, holder, key, path };
        for class in data {
            file.add(class, wrapper, entropy, now)?;
        }
        file.keys.push(file.next(KeyClass::Wrapping, now));
        Ok(file)
    }

    /// An active key with the next id.
    fn next(&self, class: KeyClass, now: Timestamp) -> KeyEntry {
        let id = KeyId(self.keys.last().map_or(0, |last| last.id.0).saturating_add(1));
        KeyEntry { id, class, state: KeyState::Active, created: now, until: Timestamp(0), secret: Vec::new() }
    }

    /// Adds a new data key.
    fn add(
        &mut self,
        class: KeyClass,
        wrapper: Wrapper<'_>,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<(), KeyError> {
        let mut key = self.next(class, now);
        wrapper.wrap(&mut key, Secret::draw(entropy).map_err(failed(wrapper.path))?.bytes(), entropy)?;
        self.keys.push(key);
        Ok(())
    }

    pub(crate) fn active(&self, class: KeyClass) -> Option<&KeyEntry> {
        self.keys.iter().find(|key| key.class == class && key.state == KeyState::Active)
    }

    /// The keys that are not used for anything new, and are not gone.
    pub(crate) fn old(&self) -> impl Iterator<Item = &KeyEntry> {
        self.keys.iter().filter(|key| key.state == KeyState::Old)
    }

    /// Its data keys' wrapper; `None` where it is not sealed.
    pub(crate) fn wrapper<'a>(
        &self,
        path: &'a Path,
        holder: KeyHolder<'a>,
    ) -> Result<Option<Wrapper<'a>>, KeyError> {
        self.sealed.then(|| Wrapper::of(self, path, holder)).transpose()
    }

    /// The same with new active keys of these classes, where it is sealed. Those of before are old, until `until` at the
    /// latest; a new wrapping key is durable in the key store when this returns, and wraps all data keys.
    pub(crate) fn rotated(
        mut self,
        path: &Path,
        holder: KeyHolder<'_>,
        classes: &[KeyClass],
        entropy: &dyn Entropy,
        (now, until): (Timestamp, Timestamp),
    ) -> Result<KeyFile, KeyError> {
        let Some(mut wrapper) = self.wrapper(path, holder)? else { return Ok(self) };
        for key in self.keys.iter_mut().filter(|key| classes.contains(&key.class)) {
            match key.state {
                KeyState::Active => (key.state, key.until) = (KeyState::Old, until),
                // What was asked for last holds for all that is old.
                KeyState::Old => key.until = key.until.min(until),
                KeyState::Destroyed => {}
            }
        }
        if classes.contains(&KeyClass::Wrapping) {
            let next = self.next(KeyClass::Wrapping, now);
            let created = wrapper.store.create(holder.name, next.id, entropy);
            created.map_err(|source| KeyError::Store { path: path.to_owned(), source })?;
            let before = std::mem::replace(&mut wrapper.key, next.id);
            self.keys.push(next);
            self.wrap_again(Wrapper { key: before, ..wrapper }, wrapper, entropy)?;
        }
        for class in [KeyClass::Metrics, KeyClass::Signals] {
            if classes.contains(&class) {
                self.add(class, wrapper, entropy, now)?;
            }
        }
        Ok(self)
    }

    fn wrap_again(
        &mut self,
        from: Wrapper<'_>,
        to: Wrapper<'_>,
        entropy: &dyn Entropy,
    ) -> Result<(), KeyError> {
        for key in self.keys.iter_mut().filter(|key| key.is_data()) {
            let secret = from.unwrap(key)?;
            to.wrap(key, &secret, entropy)?;
        }
        Ok(())
    }

    /// The same without these old keys.
    pub(crate) fn without(mut self, gone: &[KeyId], now: Timestamp) -> KeyFile {
        for key in self.keys.iter_mut().filter(|key| key.state == KeyState::Old && gone.contains(&key.id)) {
            (key.state, key.until) = (KeyState::Destroyed, now);
            key.secret.clear();
        }
        self
    }

    /// The same keys, wrapped for another holder: of a tenant of another store, or under another number. The holder's key
    /// store gets a wrapping key of the id that is active here, and none of the old ones.
    pub(crate) fn rewrapped(
        mut self,
        path: &Path,
        from: KeyHolder<'_>,
        to: KeyHolder<'_>,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<KeyFile, KeyError> {
        let Some(old) = self.wrapper(path, from)? else { return Ok(self) };
        let new = Wrapper::of(&self, path, to)?;
        let created = new.store.create(to.name, new.key, entropy);
        created.map_err(|source| KeyError::Store { path: path.to_owned(), source })?;
        self.wrap_again(old, new, entropy)?;
        let others = self.old().filter(|key| key.class == KeyClass::Wrapping);
        let others: Vec<KeyId> = others.map(|key| key.id).collect();
        Ok(self.without(&others, now))
    }

    /// The same with the data keys of an older generation that are gone by now: for what was sealed with them. They are old,
    /// until `until`. Of a file whose wrapping key is gone there is nothing to be had.
    pub(crate) fn with_keys_of(
        &mut self,
        older: &KeyFile,
        path: &Path,
        holder: KeyHolder<'_>,
        entropy: &dyn Entropy,
        until: Timestamp,
    ) -> Result<(), KeyError> {
        let Some(to) = self.wrapper(path, holder)? else { return Ok(()) };
        let Some(from) = older.wrapper(path, holder)? else { return Ok(()) };
        for key in self.keys.iter_mut().filter(|key| key.state == KeyState::Destroyed) {
            let had = older.keys.iter().find(|had| had.id == key.id && had.class == key.class);
            if let Some(had) = had.filter(|had| had.is_data()) {
                let Ok(secret) = from.unwrap(had) else { return Ok(()) };
                (key.state, key.until) = (KeyState::Old, until);
                to.wrap(key, &secret, entropy)?;
            }
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.sealed)];
        out.put_varint(self.keys.len() as u64);
        for key in &self.keys {
            out.put_u32(key.id.0);
            out.put_u8(key.class as u8);
            out.put_u8(key.state as u8);
            out.put_i64(key.created.0);
            if key.state != KeyState::Active {
                out.put_i64(key.until.0);
            }
            out.put_blob(&key.secret);
        }
        out
    }

    /// Decodes a key file's content; `None` where it is not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<KeyFile> {
        let mut cursor = Cursor::new(bytes);
        let sealed = match cursor.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let count = cursor.count(15)?;
        let mut keys: Vec<KeyEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = KeyId(cursor.u32()?);
            let (class, state) = (KeyClass::from_tag(cursor.u8()?)?, cursor.u8()?);
            let state = KeyState::ALL.into_iter().find(|&known| known as u8 == state)?;
            let created = Timestamp(cursor.i64()?);
            let until = if state == KeyState::Active { Timestamp(0) } else { Timestamp(cursor.i64()?) };
            let secret = cursor.blob()?.to_vec();
            let after = keys.last().map_or(KeyId::NONE, |last| last.id);
            let rival = |key: &KeyEntry| {
                key.class == class && key.state == KeyState::Active && state == KeyState::Active
            };
            if id <= after || keys.iter().any(rival) {
                return None;
            }
            keys.push(KeyEntry { id, class, state, created, until, secret });
        }
        cursor.is_empty().then_some(KeyFile { sealed, keys })
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> KeyError + '_ {
    |source| KeyError::File(TwinError::io(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_held() {
        let entry = |id, class, state, until, secret: &[u8]| KeyEntry {
            id: KeyId(id),
            class,
            state,
            created: Timestamp(5),
            until: Timestamp(until),
            secret: secret.to_vec(),
        };
        let file = KeyFile {
            sealed: true,
            keys: vec![
                entry(1, KeyClass::Identity, KeyState::Active, 0, b"abc"),
                entry(2, KeyClass::Metrics, KeyState::Destroyed, 6, b""),
                entry(4, KeyClass::Wrapping, KeyState::Old, 8, b""),
                entry(7, KeyClass::Metrics, KeyState::Active, 0, b"d"),
            ],
        };
        let expected = [
            &b"\x01\x04"[..],
            b"\x01\0\0\0\x01\x01\x05\0\0\0\0\0\0\0\x03abc",
            b"\x02\0\0\0\x02\x03\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x00",
            b"\x04\0\0\0\x04\x02\x05\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x00",
            b"\x07\0\0\0\x02\x01\x05\0\0\0\0\0\0\0\x01d",
        ]
        .concat();
        assert_eq!(file.encode(), expected);
        assert_eq!(KeyFile::decode(&expected), Some(file.clone()));
        for length in 0..expected.len() {
            assert_eq!(KeyFile::decode(&expected[..length]), None, "cut at {length}");
        }
        let twice = KeyFile { keys: vec![file.keys[0].clone(), file.keys[0].clone()], ..file.clone() };
        assert_eq!(KeyFile::decode(&twice.encode()), None, "one id twice");
        let mut rival = file.keys[3].clone();
        rival.id = KeyId(8);
        let rivals = KeyFile { keys: vec![file.keys[3].clone(), rival], ..file };
        assert_eq!(KeyFile::decode(&rivals.encode()), None, "two active keys of one class");
    }
}

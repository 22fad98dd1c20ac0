//! A host's own key store.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::vfs::Entropy;
use annals::{KeyId, KeyName, KeyStanding, KeyStore, KeyStoreError, PublicKey, Zeroizing};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

/// By key and ticket, context and secret.
type Tickets = BTreeMap<(KeyName, KeyId, Vec<u8>), (Vec<u8>, Vec<u8>)>;

/// A key service in memory: a wrapped secret is a ticket for it.
#[derive(Default)]
pub(crate) struct Service {
    tickets: Mutex<Tickets>,
    /// Of each tenant, up to which key they are destroyed; all of them at the end.
    gone: Mutex<BTreeMap<KeyName, KeyId>>,
    keys: Mutex<Vec<(KeyName, KeyId)>>,
    pub(crate) down: AtomicBool,
}

const ALL: KeyId = KeyId(u32::MAX);

impl Service {
    fn live(&self, name: KeyName, key: KeyId) -> Result<(), KeyStoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(KeyStoreError::Unavailable { why: "the service is down".to_owned() });
        }
        match self.gone.lock().expect("no panic before").get(&name) {
            Some(&ALL) => Err(KeyStoreError::Destroyed),
            Some(&through) if key <= through => Err(KeyStoreError::Retired),
            _ if self.keys.lock().expect("no panic before").contains(&(name, key)) => Ok(()),
            _ => Err(KeyStoreError::Missing { why: "never made".to_owned() }),
        }
    }

    /// All secrets that were ever wrapped.
    pub(crate) fn secrets(&self) -> Vec<Vec<u8>> {
        self.tickets.lock().expect("no panic before").values().map(|(_, secret)| secret.clone()).collect()
    }

    /// Whose keys there are or were, one after the other.
    pub(crate) fn names(&self) -> Vec<KeyName> {
        self.keys.lock().expect("no panic before").iter().map(|(name, _)| *name).collect()
    }

    /// The keys of which there is something.
    pub(crate) fn live_keys(&self) -> Vec<KeyId> {
        let keys = self.keys.lock().expect("no panic before").clone();
        keys.into_iter().filter(|&(name, key)| self.live(name, key).is_ok()).map(|(_, key)| key).collect()
    }
}

impl KeyStore for Service {
    fn create(&self, name: KeyName, key: KeyId, _: &dyn Entropy) -> Result<(), KeyStoreError> {
        match self.live(name, key) {
            Err(KeyStoreError::Missing { .. }) => {
                self.keys.lock().expect("no panic before").push((name, key));
                Ok(())
            }
            live => live,
        }
    }

    fn wrap(
        &self,
        name: KeyName,
        key: KeyId,
        context: &[u8],
        secret: &[u8],
        _: &dyn Entropy,
    ) -> Result<Vec<u8>, KeyStoreError> {
        self.live(name, key)?;
        let mut tickets = self.tickets.lock().expect("no panic before");
        let ticket = format!("ticket {}", tickets.len()).into_bytes();
        tickets.insert((name, key, ticket.clone()), (context.to_vec(), secret.to_vec()));
        Ok(ticket)
    }

    fn unwrap(
        &self,
        name: KeyName,
        key: KeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        self.live(name, key)?;
        match self.tickets.lock().expect("no panic before").get(&(name, key, wrapped.to_vec())) {
            Some((known, secret)) if known == context => Ok(Zeroizing::new(secret.clone())),
            _ => Err(KeyStoreError::Mismatch { why: "no such ticket".to_owned() }),
        }
    }

    fn retire(&self, name: KeyName, through: KeyId) -> Result<(), KeyStoreError> {
        let mut gone = self.gone.lock().expect("no panic before");
        let before = gone.entry(name).or_insert(through);
        *before = (*before).max(through);
        Ok(())
    }

    fn destroy(&self, name: KeyName) -> Result<(), KeyStoreError> {
        self.gone.lock().expect("no panic before").insert(name, ALL);
        Ok(())
    }

    fn standing(&self, name: KeyName) -> Result<KeyStanding, KeyStoreError> {
        let keys = self.keys.lock().expect("no panic before").clone();
        let newest = keys.iter().filter(|(owner, _)| *owner == name).map(|(_, key)| *key).max();
        match self.live(name, newest.unwrap_or(KeyId::NONE)) {
            Ok(()) => Ok(KeyStanding::Present),
            Err(KeyStoreError::Missing { .. } | KeyStoreError::Retired) => Ok(KeyStanding::Absent),
            Err(KeyStoreError::Destroyed) => Ok(KeyStanding::Destroyed),
            Err(error) => Err(error),
        }
    }

    fn signer(&self, _: [u8; 16], _: &dyn Entropy) -> Result<PublicKey, KeyStoreError> {
        let mut public = PublicKey([0; 32]);
        public.0.copy_from_slice(signing_key().public_key().as_ref());
        Ok(public)
    }

    fn sign(&self, _: [u8; 16], receipt: &[u8]) -> Result<[u8; 64], KeyStoreError> {
        Ok(signing_key().sign(receipt).as_ref().try_into().expect("64 bytes"))
    }
}

fn signing_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a seed")
}

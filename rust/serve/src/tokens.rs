//! Bearer tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain::Hash;

use super::scope::Scope;
use super::settings::TokenSettings;

/// Returns the BLAKE3 hash of a token, which the settings store.
pub fn hash_of_token(token: &str) -> Hash {
    Hash::of(token.as_bytes())
}

/// A known token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) name: String,
    hash: blake3::Hash,
    scopes: Vec<Scope>,
    devices: Vec<String>,
}

impl Token {
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.scopes.iter().copied()
    }

    /// Returns true if it is for some devices only.
    pub(super) fn is_limited(&self) -> bool {
        !self.devices.is_empty()
    }

    /// Returns true if it may send records of a device.
    pub(super) fn may_send(&self, device_id: &str) -> bool {
        self.may(Scope::Ingest)
            && (self.devices.is_empty() || self.devices.iter().any(|device| device == device_id))
    }
}

/// The known tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Arc<Token>>);

impl Tokens {
    pub(super) fn new(settings: &BTreeMap<String, TokenSettings>) -> Tokens {
        let token = |(name, token): (&String, &TokenSettings)| Token {
            name: name.clone(),
            hash: token.hash.0.into(),
            scopes: token.scopes.clone(),
            devices: token.devices.clone(),
        };
        Tokens(settings.iter().map(token).map(Arc::new).collect())
    }

    /// Finds a token by its text. Hashes are compared in constant time.
    pub(super) fn find(&self, text: &str) -> Option<Arc<Token>> {
        let hash = blake3::hash(text.as_bytes());
        self.0.iter().find(|token| token.hash == hash).cloned()
    }

    /// Returns true if any token has this scope.
    pub(super) fn has(&self, scope: Scope) -> bool {
        self.0.iter().any(|token| token.may(scope))
    }
}

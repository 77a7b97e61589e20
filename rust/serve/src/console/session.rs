//! Sessions of browsers, in the memory of this process: they end with it, and so do those of a token that was removed
//! from the settings.
//!
//! The cookie has 256 random bits and nothing else. The process keeps their hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use edgesentry_chain::Hash;

use crate::tokens::Token;

/// Sessions at once, over all tokens.
const MAX_SESSIONS: usize = 1024;
/// Sessions of one token at once. A further one ends the one that was not used for the longest time.
const MAX_SESSIONS_PER_TOKEN: usize = 64;

/// The names of the cookie. A browser accepts the first one only over HTTPS, for this host alone.
const SECURE_NAME: &str = "__Host-eds-console";
const PLAIN_NAME: &str = "eds-console";

/// The identity of a session: the hash of the cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SessionId(Hash);

/// A session that is in use.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) token: Arc<Token>,
}

struct Kept {
    token: Arc<Token>,
    began: Instant,
    used: Instant,
}

/// The sessions of a console.
pub(super) struct Sessions {
    idle: Duration,
    longest: Duration,
    secure: bool,
    kept: Mutex<HashMap<SessionId, Kept>>,
}

impl Sessions {
    pub(super) fn new(idle: Duration, longest: Duration, secure: bool) -> Sessions {
        Sessions { idle, longest, secure, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SessionId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self, kept: &Kept) -> bool {
        kept.began.elapsed() >= self.longest || kept.used.elapsed() >= self.idle
    }

    /// Begins a session, and returns the `Set-Cookie` header with its secret.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn begin(&self, token: &Arc<Token>) -> Result<HeaderValue, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let secret = hex::encode(secret);
        let mut kept = self.kept();
        kept.retain(|_, session| !self.has_ended(session));
        let of_token = |session: &Kept| Arc::ptr_eq(&session.token, token);
        let mine = kept.values().filter(|session| of_token(session)).count();
        let unused = |only_mine: bool| {
            let all = kept.iter().filter(|(_, session)| !only_mine || of_token(session));
            all.min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
        };
        let gone = if mine >= MAX_SESSIONS_PER_TOKEN {
            unused(true)
        } else if kept.len() >= MAX_SESSIONS {
            unused(false)
        } else {
            None
        };
        if let Some(gone) = gone {
            kept.remove(&gone);
        }
        let now = Instant::now();
        let session = Kept { token: Arc::clone(token), began: now, used: now };
        kept.insert(SessionId(Hash::of(secret.as_bytes())), session);
        Ok(self.cookie(&secret, self.longest.as_secs()))
    }

    /// Returns the session of a request, and notes that it is used.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Session> {
        let session = self.of_open_page(headers)?;
        if let Some(kept) = self.kept().get_mut(&session.id) {
            kept.used = Instant::now();
        }
        Some(session)
    }

    /// Returns the session of a request that an open page makes by itself. It does not count as a use: an open page does not
    /// keep a session alive.
    pub(super) fn of_open_page(&self, headers: &HeaderMap) -> Option<Session> {
        let id = self.id_of(headers)?;
        let mut kept = self.kept();
        let session = kept.get(&id)?;
        if self.has_ended(session) {
            kept.remove(&id);
            return None;
        }
        Some(Session { id, token: Arc::clone(&session.token) })
    }

    /// Returns true if a session has not ended. It does not count as a use.
    pub(super) fn holds(&self, id: SessionId) -> bool {
        self.kept().get(&id).is_some_and(|session| !self.has_ended(session))
    }

    /// Ends the session of a request, and returns the header that removes its cookie.
    pub(super) fn end(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(id) = self.id_of(headers) {
            self.kept().remove(&id);
        }
        self.cookie("", 0)
    }

    /// Forgets sessions that have ended.
    pub(super) fn tidy(&self) {
        self.kept().retain(|_, session| !self.has_ended(session));
    }

    fn name(&self) -> &'static str {
        if self.secure { SECURE_NAME } else { PLAIN_NAME }
    }

    fn id_of(&self, headers: &HeaderMap) -> Option<SessionId> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, secret) = pairs.find(|(name, _)| *name == self.name())?;
        Some(SessionId(Hash::of(secret.as_bytes())))
    }

    fn cookie(&self, secret: &str, seconds: u64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text =
            format!("{}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.name());
        let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        // Not in a log of headers.
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tokens::Tokens;

    const LONG: Duration = Duration::from_secs(3600);

    fn token(name: &str) -> Arc<Token> {
        let settings = crate::settings::TokenSettings {
            hash: crate::hash_of_token(name),
            scopes: vec![crate::Scope::Read],
            devices: Vec::new(),
        };
        Tokens::new(&BTreeMap::from([(name.to_owned(), settings)])).find(name).unwrap()
    }

    fn sent(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("other=1; {pair}").parse().unwrap());
        headers
    }

    #[test]
    fn a_session_is_found_by_its_cookie_until_it_ends() {
        let sessions = Sessions::new(LONG, LONG, true);
        let cookie = sessions.begin(&token("a")).unwrap();
        let text = cookie.to_str().unwrap();
        assert!(
            text.starts_with("__Host-eds-console=") && text.ends_with("HttpOnly; SameSite=Strict; Secure"),
            "{text}"
        );
        assert!(text.contains("; Path=/;") && cookie.is_sensitive());
        let headers = sent(&cookie);
        let session = sessions.of(&headers).unwrap();
        assert_eq!(session.token.name, "a");
        assert!(sessions.holds(session.id));
        assert!(sessions.end(&headers).to_str().unwrap().contains("Max-Age=0"));
        assert!(sessions.of(&headers).is_none() && !sessions.holds(session.id));
        assert!(Sessions::new(LONG, LONG, true).of(&headers).is_none());
    }

    #[test]
    fn sessions_expire_and_are_forgotten() {
        for (idle, longest) in [(Duration::ZERO, LONG), (LONG, Duration::ZERO)] {
            let sessions = Sessions::new(idle, longest, false);
            let headers = sent(&sessions.begin(&token("a")).unwrap());
            assert!(sessions.of(&headers).is_none());
            sessions.begin(&token("a")).unwrap();
            sessions.tidy();
            assert!(sessions.kept().is_empty());
        }
    }

    #[test]
    fn an_open_page_does_not_prolong_a_session() {
        let sessions = Sessions::new(LONG, LONG, false);
        let headers = sent(&sessions.begin(&token("a")).unwrap());
        let id = sessions.of(&headers).unwrap().id;
        let used = |sessions: &Sessions| sessions.kept()[&id].used;
        let before = used(&sessions);
        assert_eq!(sessions.of_open_page(&headers).unwrap().id, id);
        assert!(sessions.holds(id));
        assert_eq!(used(&sessions), before);
        sessions.of(&headers).unwrap();
        assert!(used(&sessions) > before);
    }

    #[test]
    fn the_sessions_of_one_token_are_bounded_and_displace_no_others() {
        let sessions = Sessions::new(LONG, LONG, false);
        let (a, b) = (token("a"), token("b"));
        let other = sent(&sessions.begin(&b).unwrap());
        let first = sent(&sessions.begin(&a).unwrap());
        for _ in 0..MAX_SESSIONS_PER_TOKEN {
            sessions.begin(&a).unwrap();
        }
        assert!(sessions.of(&first).is_none() && sessions.of(&other).is_some());
        assert_eq!(sessions.kept().len(), MAX_SESSIONS_PER_TOKEN + 1);
    }

    #[test]
    fn all_sessions_are_bounded() {
        let sessions = Sessions::new(LONG, LONG, false);
        let tokens: Vec<_> = (0..20).map(|number| token(&number.to_string())).collect();
        for at in 0..MAX_SESSIONS + 100 {
            sessions.begin(&tokens[at % tokens.len()]).unwrap();
        }
        assert_eq!(sessions.kept().len(), MAX_SESSIONS);
    }
}

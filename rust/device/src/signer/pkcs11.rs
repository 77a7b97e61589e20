//! Keys in tokens: smart cards, USB tokens, hardware security modules, by PKCS#11.
//!
//! A thread of its own speaks with the token, because a call of its library cannot be ended: a token that hangs costs one
//! thread, and callers get an error after [`SIGNING_TIMEOUT`]. It keeps a session, and opens another one if the token
//! was removed in between. After a wrong PIN it never logs in again: each attempt brings the token nearer to its lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use edgesentry_chain::{PublicKey, Signed, Signer, SignerError, verify_signature};

use super::{MAX_MESSAGE_BYTES, MAX_SIGNING_TIMEOUT, PIN_VARIABLE, Pin, Pkcs11Uri, SIGNING_TIMEOUT};

/// The curve of new keys, by its object identifier 1.3.101.112 and by its name. Tokens know one or both.
const CURVES: [&[u8]; 2] = [b"\x06\x03\x2b\x65\x70", b"\x13\x0cedwards25519"];
/// The time that a token has to close a session.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);
/// The libraries of this process. Each is initialized once and stays: other users of it in this process may need it. Each
/// has a lock of its own, so that one that hangs while it starts holds up no token of another.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Mutex<Option<Pkcs11>>>>> = Mutex::new(BTreeMap::new());

/// A private key in a token.
pub struct Pkcs11Signer {
    name: String,
    key: PublicKey,
    /// None on drop.
    requests: Option<SyncSender<Request>>,
    /// Ends with the thread, and so with its session.
    ended: Mutex<Receiver<()>>,
    timeout: Duration,
    /// One request at a time.
    turn: Mutex<()>,
    /// The process of the thread that speaks with the token.
    process: u32,
}

/// A message to sign, until a time.
struct Request {
    message: Vec<u8>,
    until: Instant,
    answer: SyncSender<Result<[u8; 64], SignerError>>,
}

impl std::fmt::Debug for Pkcs11Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Signer")
            .field("uri", &self.name)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Pkcs11Signer {
    /// Finds a key in a token, and logs in if the token requires it. The PIN is the given one, that of the file in
    /// the URI, or that of the environment variable [`PIN_VARIABLE`].
    ///
    /// # Errors
    /// No token or no key matches, or several do; the PIN is wrong; the library cannot be loaded.
    pub fn open(uri: Pkcs11Uri, pin: Option<Pin>) -> Result<Pkcs11Signer, SignerError> {
        let name = uri.to_string();
        let pin = pin_of(&uri, pin);
        let (requests, waiting) = sync_channel(1);
        let (opened, answer) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let work = move || {
            let mut token = Token::new(uri, pin);
            let connected = token.connect().map(|open| open.key);
            let is_connected = connected.is_ok();
            // A caller that waits no more has dropped the requests.
            let _ = opened.send(connected);
            if is_connected {
                token.serve(&waiting);
            }
            drop(token);
            drop(end);
        };
        start_thread(&name, work)?;
        let key = received(&name, SIGNING_TIMEOUT, &answer)?;
        Ok(Pkcs11Signer {
            name,
            key,
            requests: Some(requests),
            ended: Mutex::new(ended),
            timeout: SIGNING_TIMEOUT,
            turn: Mutex::new(()),
            process: std::process::id(),
        })
    }

    /// Returns the same signer with another time for each signature.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Pkcs11Signer {
        self.timeout = timeout.min(MAX_SIGNING_TIMEOUT);
        self
    }
}

impl Signer for Pkcs11Signer {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        if message.len() > MAX_MESSAGE_BYTES {
            let problem = format!("a message of {} bytes is too long to sign", message.len());
            return Err(SignerError::lasting(&*self.name, problem));
        }
        if self.process != std::process::id() {
            let problem = "it was opened before fork(); open it again in this process";
            return Err(SignerError::lasting(&*self.name, problem));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, answer) = sync_channel(1);
        let request =
            Request { message: message.to_vec(), until: Instant::now() + self.timeout, answer: sender };
        let Some(requests) = &self.requests else { return Err(gone(&self.name)) };
        match requests.try_send(request) {
            Ok(()) => received(&self.name, self.timeout, &answer),
            Err(TrySendError::Full(_)) => {
                Err(SignerError::passing(&*self.name, "the token has not yet responded to earlier requests"))
            }
            Err(TrySendError::Disconnected(_)) => Err(gone(&self.name)),
        }
    }
}

impl Drop for Pkcs11Signer {
    /// Waits until the session is closed, for a short time: the library may end together with the process.
    fn drop(&mut self) {
        self.requests = None;
        if self.process == std::process::id() {
            let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(CLOSING_TIMEOUT);
        }
    }
}

/// Makes an Ed25519 key in a token, and returns its public key. The private key cannot leave the token. `id` is its id
/// in the token if the URI has none.
///
/// # Errors
/// The URI has no label (`object`), the token has an object with this label or id, or it cannot make the key.
pub fn generate(uri: &Pkcs11Uri, pin: Option<Pin>, id: &[u8]) -> Result<PublicKey, SignerError> {
    let (uri, name, id) = (uri.clone(), uri.to_string(), id.to_vec());
    let pin = pin_of(&uri, pin);
    let (sender, answer) = sync_channel(1);
    let work = move || {
        let mut token = Token::new(uri, pin);
        let made = token.generate(&id);
        drop(token);
        let _ = sender.send(made);
    };
    start_thread(&name, work)?;
    received(&name, SIGNING_TIMEOUT, &answer)
}

fn pin_of(uri: &Pkcs11Uri, pin: Option<Pin>) -> Option<Pin> {
    pin.or_else(|| uri.pin_file.clone().map(Pin::File)).or_else(Pin::from_environment)
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SignerError> {
    let started = thread::Builder::new().name("pkcs11".to_owned()).spawn(work);
    started.map(drop).map_err(|error| SignerError::passing(name, format!("cannot start a thread: {error}")))
}

fn received<T>(
    name: &str,
    timeout: Duration,
    answer: &Receiver<Result<T, SignerError>>,
) -> Result<T, SignerError> {
    match answer.recv_timeout(timeout) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => {
            Err(SignerError::passing(name, format!("the token gave no answer in {} s", timeout.as_secs())))
        }
        Err(RecvTimeoutError::Disconnected) => Err(gone(name)),
    }
}

fn gone(name: &str) -> SignerError {
    SignerError::lasting(name, "the thread that speaks with the token has panicked; please report it")
}

/// A token, on the thread that speaks with it.
struct Token {
    uri: Pkcs11Uri,
    name: String,
    pin: Option<Pin>,
    open: Option<Open>,
    /// The public key, which never changes.
    key: Option<PublicKey>,
    /// The error after which no PIN is tried again.
    refused: Option<SignerError>,
}

/// A session with the handle of the private key.
struct Open {
    session: Session,
    private: ObjectHandle,
    key: PublicKey,
}

impl Token {
    fn new(uri: Pkcs11Uri, pin: Option<Pin>) -> Token {
        Token { name: uri.to_string(), uri, pin, open: None, key: None, refused: None }
    }

    fn lasting(&self, problem: impl Into<String>) -> SignerError {
        SignerError::lasting(&*self.name, problem)
    }

    fn passing(&self, problem: impl Into<String>) -> SignerError {
        SignerError::passing(&*self.name, problem)
    }

    /// Converts an error of the library, which has no secret.
    fn failed(&self, error: &TokenError) -> SignerError {
        match error {
            TokenError::Pkcs11(RvError::DeviceRemoved | RvError::TokenNotPresent, _) => {
                self.passing("the token was removed; attach it, and the next signature finds it")
            }
            TokenError::Pkcs11(code, function) => {
                self.passing(format!("{function:?} of the token: {code:?}"))
            }
            other => self.lasting(format!("the library of the token: {other}")),
        }
    }

    fn serve(&mut self, requests: &Receiver<Request>) {
        for request in requests {
            // The caller does not wait any more.
            if request.until > Instant::now() {
                let _ = request.answer.send(self.sign(&request.message));
            }
        }
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        // A session may have ended since: the token was removed and attached, or its service started again.
        if let Some(open) = &self.open {
            match open.sign(message) {
                Ok(signature) => return self.signature(&signature),
                Err(_) => self.open = None,
            }
        }
        let signature = self.connect()?.sign(message);
        match signature {
            Ok(signature) => self.signature(&signature),
            Err(error) => {
                self.open = None;
                Err(self.failed(&error))
            }
        }
    }

    fn signature(&self, signature: &[u8]) -> Result<[u8; 64], SignerError> {
        let wrong = || self.lasting(format!("expected a signature of 64 bytes, got {}", signature.len()));
        signature.try_into().map_err(|_| wrong())
    }

    /// Opens a session and finds the key.
    fn connect(&mut self) -> Result<&Open, SignerError> {
        self.open = None;
        let session = self.session(false)?;
        let (private, key) = self.find(&session)?;
        if *self.key.get_or_insert(key) != key {
            return Err(self.lasting("the token now has another key under this name; nothing was signed"));
        }
        Ok(self.open.insert(Open { session, private, key }))
    }

    /// Opens a session, logged in if the token requires it.
    fn session(&mut self, writes: bool) -> Result<Session, SignerError> {
        let path = self.uri.module_path.as_deref();
        let path = path.ok_or_else(|| {
            self.lasting("name the library of the token: module-path in the URI, or the option for it")
        })?;
        let module = self.module(path)?;
        let slot = self.slot(&module)?;
        let opened = if writes { module.open_rw_session(slot) } else { module.open_ro_session(slot) };
        let session = opened.map_err(|error| self.failed(&error))?;
        self.login(&module, slot, &session)?;
        Ok(session)
    }

    fn module(&self, path: &Path) -> Result<Pkcs11, SignerError> {
        if !path.is_absolute() {
            return Err(self.lasting(format!("{}: expected the absolute path of a library", path.display())));
        }
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = Arc::clone(modules.entry(path.to_owned()).or_default());
        drop(modules);
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match &*loaded {
            Some(module) => module.clone(),
            None => Pkcs11::new(path).map_err(|error| {
                self.lasting(format!("{}: cannot load the library of the token: {error}", path.display()))
            })?,
        };
        // Each time: another user of the library in this process may have ended it.
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(loaded.insert(module).clone())
    }

    fn slot(&self, module: &Pkcs11) -> Result<Slot, SignerError> {
        let uri = &self.uri;
        let (mut found, mut labels) = (Vec::new(), Vec::new());
        for slot in module.get_slots_with_token().map_err(|error| self.failed(&error))? {
            // The token of the slot may just have been removed.
            let Ok(token) = module.get_token_info(slot) else { continue };
            if !token.token_initialized() {
                continue;
            }
            let is = |wanted: &Option<String>, actual: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == actual)
            };
            let matches = is(&uri.token, token.label())
                && is(&uri.manufacturer, token.manufacturer_id())
                && is(&uri.model, token.model())
                && is(&uri.serial, token.serial_number())
                && uri.slot_id.is_none_or(|wanted| wanted == slot.id());
            if matches {
                found.push(slot);
            }
            labels.push(format!("{:?}", token.label()));
        }
        match found[..] {
            [slot] => Ok(slot),
            [] if labels.is_empty() => Err(self.passing("no token is attached")),
            [] => Err(self.passing(format!("no attached token matches; there are {}", labels.join(", ")))),
            _ => Err(self.lasting(format!(
                "{} tokens match; add token=LABEL, serial=NUMBER or slot-id=NUMBER to the URI",
                found.len()
            ))),
        }
    }

    fn login(&mut self, module: &Pkcs11, slot: Slot, session: &Session) -> Result<(), SignerError> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let token = module.get_token_info(slot).map_err(|error| self.failed(&error))?;
        if !token.login_required() {
            return Ok(());
        }
        if token.user_pin_locked() {
            return Err(self.lasting("the PIN is locked; unlock it with the program of the token"));
        }
        if token.user_pin_final_try() {
            let problem = "one attempt is left for the PIN, and it is not used up here; log in with the program of the token";
            return Err(self.lasting(problem));
        }
        let pin = match &self.pin {
            Some(pin) => {
                let pin = pin.reveal().map_err(|error| self.lasting(error.to_string()))?;
                Some(AuthPin::new(pin.reveal().into()))
            }
            None if token.protected_authentication_path() => None,
            None => {
                return Err(self.lasting(format!(
                    "the token requires a PIN; name its file (pin-source=file:PATH in the URI), or set {PIN_VARIABLE}"
                )));
            }
        };
        let refused = match session.login(UserType::User, pin.as_ref()) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => return Ok(()),
            Err(TokenError::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                "the PIN is wrong; it is not tried again here, so that the token does not lock it; correct it and start again"
            }
            Err(TokenError::Pkcs11(RvError::PinLocked, _)) => {
                "the PIN is locked; unlock it with the program of the token"
            }
            Err(TokenError::Pkcs11(RvError::PinExpired | RvError::UserPinNotInitialized, _)) => {
                "the PIN must be set first, with the program of the token"
            }
            Err(error) => return Err(self.failed(&error)),
        };
        let refused = self.lasting(refused);
        self.refused = Some(refused.clone());
        Err(refused)
    }

    /// Returns the attributes of the objects that the URI names.
    fn named(&self, class: ObjectClass) -> Vec<Attribute> {
        let mut template = vec![Attribute::Class(class)];
        template.extend(self.uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
        template.extend(self.uri.id.clone().map(Attribute::Id));
        template
    }

    /// Finds the private key, and its public key.
    fn find(&self, session: &Session) -> Result<(ObjectHandle, PublicKey), SignerError> {
        let failed = |error: TokenError| self.failed(&error);
        let mut template = self.named(ObjectClass::PRIVATE_KEY);
        template.push(Attribute::KeyType(KeyType::EC_EDWARDS));
        let private = match session.find_objects(&template).map_err(failed)?[..] {
            [private] => private,
            [] => {
                return Err(self.lasting(
                    "the token has no Ed25519 private key of this name; eds keygen --pkcs11 makes one",
                ));
            }
            ref found => {
                return Err(self.lasting(format!(
                    "{} private keys match; add object=LABEL or id=%HEX to the URI",
                    found.len()
                )));
            }
        };
        let wanted = [AttributeType::Id, AttributeType::AlwaysAuthenticate, AttributeType::EcPoint];
        let (mut id, mut point) = (None, None);
        for attribute in session.get_attributes(private, &wanted).map_err(failed)? {
            match attribute {
                Attribute::Id(bytes) => id = Some(bytes),
                Attribute::EcPoint(bytes) => point = point_of(&bytes),
                Attribute::AlwaysAuthenticate(true) => {
                    return Err(self.lasting(
                        "the key requires the PIN for each signature, which is not supported; use a program that signs",
                    ));
                }
                _ => {}
            }
        }
        // Few tokens give the point of a private key; the public key beside it has the same id.
        let point = match point {
            Some(point) => Some(point),
            None => self.public_point(session, id)?,
        };
        let point = point.ok_or_else(|| {
            self.lasting(
                "the token has no Ed25519 public key beside the private key; put it there, with the same id",
            )
        })?;
        let key = PublicKey::from_bytes(point).map_err(|error| self.lasting(error.to_string()))?;
        Ok((private, key))
    }

    fn public_point(&self, session: &Session, id: Option<Vec<u8>>) -> Result<Option<[u8; 32]>, SignerError> {
        let failed = |error: TokenError| self.failed(&error);
        let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
        match id.filter(|id| !id.is_empty()) {
            Some(id) => template.push(Attribute::Id(id)),
            None => template = self.named(ObjectClass::PUBLIC_KEY),
        }
        template.push(Attribute::KeyType(KeyType::EC_EDWARDS));
        let mut points = Vec::new();
        for public in session.find_objects(&template).map_err(failed)? {
            for attribute in session.get_attributes(public, &[AttributeType::EcPoint]).map_err(failed)? {
                if let Attribute::EcPoint(bytes) = attribute {
                    points.extend(point_of(&bytes));
                }
            }
        }
        points.dedup();
        match points[..] {
            [] => Ok(None),
            [point] => Ok(Some(point)),
            _ => Err(self.lasting(
                "the token has several public keys beside the private key; give them different ids",
            )),
        }
    }

    fn generate(&mut self, id: &[u8]) -> Result<PublicKey, SignerError> {
        let Some(label) = self.uri.object.clone() else {
            return Err(self.lasting("a new key needs a label: add object=LABEL to the URI"));
        };
        let session = self.session(true)?;
        let id = self.uri.id.clone().unwrap_or_else(|| id.to_vec());
        for same in [Attribute::Label(label.clone().into_bytes()), Attribute::Id(id.clone())] {
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                let found = session.find_objects(&[Attribute::Class(class), same.clone()]);
                if !found.map_err(|error| self.failed(&error))?.is_empty() {
                    return Err(
                        self.lasting("the token has a key with this label or id, and it is not replaced")
                    );
                }
            }
        }
        let common = [
            Attribute::Token(true),
            Attribute::KeyType(KeyType::EC_EDWARDS),
            Attribute::Label(label.into_bytes()),
            Attribute::Id(id),
        ];
        let private = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ];
        let private = [&common[..], &private].concat();
        let mut last = None;
        for curve in CURVES {
            let public =
                [Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(curve.to_vec())];
            let public = [&common[..], &public].concat();
            match session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private) {
                Ok((_, private)) => {
                    let (_, key) = self.find(&session)?;
                    // A key that does not sign shows now, not at the first record.
                    let message = b"edgesentry: a test of a new key";
                    let signature = Open { session, private, key }.sign(message);
                    let signature = self.signature(&signature.map_err(|error| self.failed(&error))?)?;
                    if !verify_signature(&Signed { key: &key, message, signature: &signature }) {
                        return Err(self.lasting("the token has made a key, and its signatures do not hold"));
                    }
                    return Ok(key);
                }
                Err(error) => last = Some(error),
            }
        }
        let problem = match last {
            Some(TokenError::Pkcs11(RvError::MechanismInvalid, _)) => {
                return Err(self.lasting("the token cannot make Ed25519 keys (CKM_EC_EDWARDS_KEY_PAIR_GEN)"));
            }
            Some(error) => error,
            None => TokenError::NotSupported,
        };
        Err(self.failed(&problem))
    }
}

impl Open {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let pure = EddsaParams::new(EddsaSignatureScheme::Pure);
        self.session.sign(&Mechanism::Eddsa(pure), self.private, message)
    }
}

/// Returns the 32 bytes of a point: as they are, or as a DER octet or bit string.
fn point_of(bytes: &[u8]) -> Option<[u8; 32]> {
    let point = bytes.strip_prefix(b"\x04\x20").or_else(|| bytes.strip_prefix(b"\x03\x21\x00"));
    match point {
        Some(point) if bytes.len() != 32 => point.try_into().ok(),
        _ => bytes.try_into().ok(),
    }
}

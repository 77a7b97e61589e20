//! The border to C: every pointer is read and written here, and nowhere else.
//!
//! Invariants:
//!
//! 1. A [`Border`] exists only while an exported function runs, and only [`enter`] makes one. Its caller passes on the
//!    promise of the C caller: each pointer is null, or valid for the size that is passed with it, until the function
//!    returns; memory that is written overlaps no other argument.
//! 2. Null is never dereferenced: a null pointer with a size other than 0 is a failure.
//! 3. No reference to memory of the caller outlives the `Border`, and none allows writing: bytes are copied out.
//! 4. No panic leaves [`enter`].
//! 5. Memory that is only written may be uninitialized: it is never read.
//! 6. A handle was made by [`Border::give`], and is used by no other call when [`Border::take`] gets it.
//! 7. A function of the caller returns normally, and is called while an exported function runs that got it, or got the
//!    outbox that has it: one that sends on the thread of this function, one that signs on any thread.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use edgesentry_chain::canonical::Output;
use edgesentry_chain::{PublicKey, Signer, SignerError};

use crate::codes::{
    EDGESENTRY_BUFFER_TOO_SMALL, EDGESENTRY_INTERNAL, EDGESENTRY_INVALID_ARGUMENT, EDGESENTRY_OK, Status,
};
use crate::last_error::{clear, fail, with};

/// A structure of C, valid for any content.
///
/// # Safety
/// The type is `repr(C)`, has only integers, arrays of them and pointers, and if it is [`VERSIONED`](Plain::VERSIONED)
/// begins with its size as `u32`.
pub(crate) unsafe trait Plain: Copy {
    /// Whether it begins with its size.
    const VERSIONED: bool;
}

// SAFETY: integers, arrays and pointers; the versioned ones begin with `struct_size`.
unsafe impl Plain for crate::types::Record {
    const VERSIONED: bool = true;
}
// SAFETY: as above.
unsafe impl Plain for crate::types::Chain {
    const VERSIONED: bool = true;
}
// SAFETY: as above.
unsafe impl Plain for crate::types::Head {
    const VERSIONED: bool = false;
}
// SAFETY: as above.
unsafe impl Plain for crate::types::Key {
    const VERSIONED: bool = false;
}
// SAFETY: as above.
unsafe impl Plain for crate::types::Finding {
    const VERSIONED: bool = false;
}
// SAFETY: as above, and a pointer to a function, for which null is `None`.
unsafe impl Plain for crate::types::Signer {
    const VERSIONED: bool = true;
}
// SAFETY: as above.
unsafe impl Plain for crate::types::UpdateCheck {
    const VERSIONED: bool = true;
}
// SAFETY: as above.
unsafe impl Plain for crate::types::Update {
    const VERSIONED: bool = true;
}
// SAFETY: an integer.
unsafe impl Plain for usize {
    const VERSIONED: bool = false;
}
// SAFETY: an integer.
unsafe impl Plain for u32 {
    const VERSIONED: bool = false;
}

// SAFETY: an integer.
unsafe impl Plain for u64 {
    const VERSIONED: bool = false;
}
// SAFETY: a pointer.
#[cfg(feature = "outbox")]
unsafe impl Plain for *mut crate::outbox_types::Outbox {
    const VERSIONED: bool = false;
}
// SAFETY: a pointer.
#[cfg(feature = "pkcs11")]
unsafe impl Plain for *mut crate::token_exports::Token {
    const VERSIONED: bool = false;
}
// SAFETY: a pointer.
unsafe impl Plain for *mut crate::signer_exports::PrivateKey {
    const VERSIONED: bool = false;
}
// SAFETY: integers and pointers; it begins with `struct_size`.
#[cfg(feature = "outbox")]
unsafe impl Plain for crate::outbox_types::Service {
    const VERSIONED: bool = true;
}
// SAFETY: integers.
#[cfg(feature = "outbox")]
unsafe impl Plain for crate::outbox_types::Flushed {
    const VERSIONED: bool = false;
}
// SAFETY: integers and pointers.
#[cfg(feature = "outbox")]
unsafe impl Plain for crate::outbox_types::Request {
    const VERSIONED: bool = false;
}

/// The largest structure of a later version that is read.
const MAX_STRUCT_BYTES: usize = 4096;

/// The permission to use the pointers of one call.
pub(crate) struct Border(());

/// Runs an exported function. A panic ends it with `EDGESENTRY_INTERNAL`.
///
/// # Safety
/// The pointers that `work` passes to the [`Border`] are arguments of an exported function, or fields of them, with
/// their sizes; invariant 1.
pub(crate) unsafe fn enter(work: impl FnOnce(&Border) -> Result<(), Status>) -> Status {
    clear();
    let border = Border(());
    // Nothing of the work is used after a panic.
    match catch_unwind(AssertUnwindSafe(|| work(&border))) {
        Ok(Ok(())) => EDGESENTRY_OK,
        Ok(Err(status)) => status,
        Err(_) => fail(EDGESENTRY_INTERNAL, format_args!("a bug in EdgeSentry, please report it")),
    }
}

fn invalid(name: &str, problem: &str) -> Status {
    fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("{name}: {problem}"))
}

/// Checks that memory of `count` values can exist at the address.
fn check<T>(name: &str, pointer: *const T, count: usize) -> Result<(), Status> {
    if pointer.is_null() {
        return Err(invalid(name, "is null"));
    }
    if !pointer.is_aligned() {
        return Err(invalid(name, "is not aligned"));
    }
    match count.checked_mul(size_of::<T>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(invalid(name, "is larger than the memory")),
    }
}

impl Border {
    /// Returns bytes of the caller; null stands for no bytes.
    pub(crate) fn bytes<'b>(
        &'b self,
        name: &str,
        pointer: *const u8,
        size: usize,
    ) -> Result<&'b [u8], Status> {
        if size == 0 {
            return Ok(&[]);
        }
        check(name, pointer, size)?;
        // SAFETY: invariant 1; not null, and the size fits.
        Ok(unsafe { std::slice::from_raw_parts(pointer, size) })
    }

    /// Returns an array of the caller: a key, a seed or a hash.
    pub(crate) fn array<'b, const N: usize>(
        &'b self,
        name: &str,
        pointer: *const u8,
        size: usize,
    ) -> Result<&'b [u8; N], Status> {
        let bytes = self.bytes(name, pointer, size)?;
        bytes.try_into().map_err(|_| {
            fail(EDGESENTRY_INVALID_ARGUMENT, format_args!("{name}: expected {N} bytes, got {size}"))
        })
    }

    /// Returns text of the caller.
    pub(crate) fn text<'b>(
        &'b self,
        name: &str,
        pointer: *const c_char,
        size: usize,
    ) -> Result<&'b str, Status> {
        let bytes = self.bytes(name, pointer.cast(), size)?;
        std::str::from_utf8(bytes).map_err(|_| invalid(name, "is not UTF-8"))
    }

    /// Returns a copy of a structure.
    pub(crate) fn read<T: Plain>(&self, name: &str, pointer: *const T) -> Result<T, Status> {
        check(name, pointer, 1)?;
        if T::VERSIONED {
            self.check_version(name, pointer)?;
        }
        // SAFETY: invariant 1; not null, aligned, and any content is valid.
        Ok(unsafe { pointer.read() })
    }

    /// Checks a structure that is written later, so that a call fails before it does anything.
    pub(crate) fn check_structure<T: Plain>(&self, name: &str, pointer: *mut T) -> Result<(), Status> {
        check(name, pointer, 1)?;
        if T::VERSIONED { self.check_version(name, pointer).map(drop) } else { Ok(()) }
    }

    /// Like [`Border::read`]; `None` for null.
    pub(crate) fn read_optional<T: Plain>(&self, name: &str, pointer: *const T) -> Result<Option<T>, Status> {
        if pointer.is_null() { Ok(None) } else { self.read(name, pointer).map(Some) }
    }

    /// Checks that a structure is of this version, or of a later one whose further fields are zero.
    fn check_version<T: Plain>(&self, name: &str, pointer: *const T) -> Result<usize, Status> {
        // SAFETY: the trait promises that the structure begins with its size; invariant 1.
        let size = unsafe { pointer.cast::<u32>().read() } as usize;
        let own = size_of::<T>();
        if !(own..=MAX_STRUCT_BYTES).contains(&size) || !size.is_multiple_of(align_of::<T>()) {
            let text = format_args!("{name}: struct_size is {size}, and this library expects {own}");
            return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
        }
        // SAFETY: invariant 1; the caller says that the structure has `size` bytes.
        let rest = unsafe { pointer.cast::<u8>().add(own) };
        if self.bytes(name, rest, size - own)?.iter().any(|byte| *byte != 0) {
            return Err(invalid(name, "has fields of a later version of the library"));
        }
        Ok(size)
    }

    /// Passes each structure of an array to `each`. The distance between versioned ones is the size of the first.
    pub(crate) fn each<T: Plain>(
        &self,
        name: &str,
        first: *const T,
        count: usize,
        mut each: impl FnMut(T) -> Result<(), Status>,
    ) -> Result<(), Status> {
        if count == 0 {
            return Ok(());
        }
        check(name, first, count)?;
        let stride = if T::VERSIONED { self.check_version(name, first)? } else { size_of::<T>() };
        match count.checked_mul(stride) {
            Some(bytes) if isize::try_from(bytes).is_ok() => {}
            _ => return Err(invalid(name, "is larger than the memory")),
        }
        for at in 0..count {
            // SAFETY: invariant 1; the array has `count` structures of `stride` bytes.
            let pointer = unsafe { first.byte_add(at * stride) };
            if T::VERSIONED && self.check_version(name, pointer)? != stride {
                return Err(invalid(name, "has structures of different sizes"));
            }
            each(self.read(name, pointer)?)?;
        }
        Ok(())
    }

    /// Writes a structure. The size and further fields of a versioned one stay as the caller has set them.
    pub(crate) fn write<T: Plain>(&self, name: &str, pointer: *mut T, value: T) -> Result<(), Status> {
        check(name, pointer, 1)?;
        let skipped = if T::VERSIONED {
            self.check_version(name, pointer)?;
            size_of::<u32>()
        } else {
            0
        };
        let from = (&raw const value).cast::<u8>();
        // SAFETY: invariant 1; both have the size of T, and `value` is on our stack.
        unsafe {
            pointer
                .cast::<u8>()
                .add(skipped)
                .copy_from_nonoverlapping(from.add(skipped), size_of::<T>() - skipped);
        }
        Ok(())
    }

    /// Writes the element `at` of an array that the caller says has more than `at` elements.
    pub(crate) fn write_at<T: Plain>(
        &self,
        name: &str,
        first: *mut T,
        at: usize,
        value: T,
    ) -> Result<(), Status> {
        check(name, first, at.saturating_add(1))?;
        // SAFETY: invariant 1; the array has an element `at`.
        self.write(name, unsafe { first.add(at) }, value)
    }

    /// Returns a buffer of the caller. Null stands for a buffer of no bytes.
    pub(crate) fn buffer<'b>(
        &'b self,
        name: &'static str,
        pointer: *mut u8,
        capacity: usize,
    ) -> Result<Target<'b>, Status> {
        if capacity > 0 {
            check(name, pointer, capacity)?;
        }
        Ok(Target { _border: self, name, pointer, capacity, size: 0 })
    }

    /// Returns a buffer of the caller for exactly `N` bytes.
    pub(crate) fn exactly<'b, const N: usize>(
        &'b self,
        name: &'static str,
        pointer: *mut u8,
        size: usize,
    ) -> Result<Target<'b>, Status> {
        if size != N {
            let text = format_args!("{name}: expected a buffer of {N} bytes, got {size}");
            return Err(fail(EDGESENTRY_INVALID_ARGUMENT, text));
        }
        self.buffer(name, pointer, size)
    }
}

impl Border {
    /// Gives a value to the caller, and returns its handle.
    pub(crate) fn give<T>(&self, pointer: *mut *mut T, value: T) -> Result<*mut c_void, Status>
    where
        *mut T: Plain,
    {
        check("handle", pointer, 1)?;
        let given = Box::into_raw(Box::new(value));
        self.write("handle", pointer, given)?;
        Ok(given.cast())
    }

    /// Returns the value of a handle.
    pub(crate) fn handle<'b, T: Sync>(&'b self, name: &str, handle: *const T) -> Result<&'b T, Status> {
        check(name, handle, 1)?;
        // SAFETY: invariant 6.
        Ok(unsafe { &*handle })
    }

    /// Takes a value back; `None` for null.
    pub(crate) fn take<T>(&self, handle: *mut T) -> Option<T> {
        if handle.is_null() || !handle.is_aligned() {
            return None;
        }
        // SAFETY: invariant 6.
        Some(*unsafe { Box::from_raw(handle) })
    }
}

/// A key behind a function of the caller.
pub(crate) struct CallbackSigner {
    key: PublicKey,
    sign: unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut u8) -> i32,
    context: *mut c_void,
}

// SAFETY: invariant 7: the function may be called on any thread.
unsafe impl Send for CallbackSigner {}
// SAFETY: as above; an outbox signs on one thread at a time.
unsafe impl Sync for CallbackSigner {}

impl CallbackSigner {
    /// Returns the signer of a structure. The function is called later only as invariant 7 says.
    pub(crate) fn read(
        border: &Border,
        pointer: *const crate::types::Signer,
    ) -> Result<CallbackSigner, Status> {
        let given = border.read("signer", pointer)?;
        crate::records::reserved("signer", given.reserved)?;
        let key = crate::records::public_key(given.public_key)?;
        let sign = given.sign.ok_or_else(|| invalid("signer", "sign is null"))?;
        Ok(CallbackSigner { key, sign, context: given.context })
    }
}

impl Signer for CallbackSigner {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        clear();
        let mut signature = [0; 64];
        // SAFETY: invariant 7; the buffers live until the call returns.
        let result =
            unsafe { (self.sign)(self.context, message.as_ptr(), message.len(), signature.as_mut_ptr()) };
        if result == 0 {
            return Ok(signature);
        }
        // The function may have called this library, such as edgesentry_pkcs11_sign.
        let reason = with(|text| String::from_utf8_lossy(text).into_owned());
        let problem = match reason.is_empty() {
            true => format!("its function returned {result}; nothing was signed"),
            false => format!("its function returned {result}; nothing was signed: {reason}"),
        };
        Err(SignerError::passing("the signer", problem))
    }
}

/// The function of a caller that sends requests.
#[cfg(feature = "outbox")]
pub(crate) struct Callback<'b> {
    _border: &'b Border,
    send: unsafe extern "C" fn(*mut c_void, *mut crate::outbox_types::Request) -> i32,
    context: *mut c_void,
}

// SAFETY: invariant 7: the runtime of the outbox runs on the thread of the exported function.
#[cfg(feature = "outbox")]
unsafe impl Send for Callback<'_> {}
// SAFETY: as above.
#[cfg(feature = "outbox")]
unsafe impl Sync for Callback<'_> {}

#[cfg(feature = "outbox")]
impl<'b> Callback<'b> {
    pub(crate) fn new(
        border: &'b Border,
        send: unsafe extern "C" fn(*mut c_void, *mut crate::outbox_types::Request) -> i32,
        context: *mut c_void,
    ) -> Callback<'b> {
        Callback { _border: border, send, context }
    }

    /// Sends a body, and returns status and body of the response; `None` if there is none.
    pub(crate) fn post(&self, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut response = vec![0; crate::outbox::MAX_RESPONSE_BYTES];
        let mut request = crate::outbox_types::Request {
            struct_size: size_of::<crate::outbox_types::Request>() as u32,
            http_status: 0,
            body: body.as_ptr(),
            body_size: body.len(),
            response: response.as_mut_ptr(),
            response_capacity: response.len(),
            response_size: 0,
        };
        // SAFETY: invariant 7; the buffers live until the call returns.
        let result = unsafe { (self.send)(self.context, &raw mut request) };
        response.truncate(request.response_size);
        let status = u16::try_from(request.http_status).ok()?;
        (result == 0).then_some((status, response))
    }
}

/// Copies text with a final zero byte, as much as fits.
///
/// # Safety
/// `out` is null, or valid for `capacity` bytes.
pub(crate) unsafe fn copy_text(text: &[u8], out: *mut u8, capacity: usize) {
    if out.is_null() || capacity == 0 {
        return;
    }
    let mut fitting = text.len().min(capacity - 1);
    // A character is not cut.
    while text.get(fitting).is_some_and(|byte| byte & 0xc0 == 0x80) {
        fitting -= 1;
    }
    // SAFETY: `fitting` is below `capacity`.
    unsafe {
        out.copy_from(text.as_ptr(), fitting);
        out.add(fitting).write(0);
    }
}

/// A buffer of the caller, which is only written. Bytes that do not fit are dropped: check the size before.
pub(crate) struct Target<'b> {
    _border: &'b Border,
    name: &'static str,
    pointer: *mut u8,
    capacity: usize,
    size: usize,
}

impl Target<'_> {
    /// Checks that `size` bytes fit.
    pub(crate) fn expect(&self, size: usize) -> Result<(), Status> {
        if size <= self.capacity {
            return Ok(());
        }
        let (name, capacity) = (self.name, self.capacity);
        let text = format_args!("{name}: needs {size} bytes, and the buffer has {capacity}");
        Err(fail(EDGESENTRY_BUFFER_TOO_SMALL, text))
    }
}

impl Output for Target<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) {
        let fitting = bytes.len().min(self.capacity.saturating_sub(self.size));
        if fitting > 0 {
            // SAFETY: invariant 1; `size + fitting` is at most `capacity`. `copy_from` allows the bytes to overlap.
            unsafe { self.pointer.add(self.size).copy_from(bytes.as_ptr(), fitting) };
        }
        self.size = self.size.saturating_add(bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        with(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn a_panic_does_not_cross_the_border() {
        // SAFETY: no pointer is used.
        let status = unsafe { enter(|_| panic!("a bug")) };
        assert_eq!((status, text().as_str()), (EDGESENTRY_INTERNAL, "a bug in EdgeSentry, please report it"));
        // SAFETY: no pointer is used.
        assert_eq!(unsafe { enter(|_| Ok(())) }, EDGESENTRY_OK);
        assert_eq!(text(), "");
    }

    #[test]
    fn pointers_that_cannot_be_valid_are_refused() {
        let work = |border: &Border| {
            let numbers = [7u32; 4];
            let odd = numbers.as_ptr().cast::<u8>().wrapping_add(1);
            assert_eq!(border.bytes("x", std::ptr::null(), 0), Ok(&[][..]));
            assert_eq!(border.bytes("x", std::ptr::null(), 1), Err(EDGESENTRY_INVALID_ARGUMENT));
            assert_eq!(text(), "x: is null");
            assert_eq!(border.bytes("x", odd, usize::MAX), Err(EDGESENTRY_INVALID_ARGUMENT));
            assert_eq!(text(), "x: is larger than the memory");
            assert_eq!(border.read("x", odd.cast::<u32>()), Err(EDGESENTRY_INVALID_ARGUMENT));
            assert_eq!(text(), "x: is not aligned");
            assert_eq!(border.read("x", numbers.as_ptr()), Ok(7));
            let many = border.each("x", numbers.as_ptr(), usize::MAX, |_| Ok(()));
            assert_eq!(many, Err(EDGESENTRY_INVALID_ARGUMENT));
            assert_eq!(border.array::<4>("x", odd, 5), Err(EDGESENTRY_INVALID_ARGUMENT));
            assert_eq!(text(), "x: expected 4 bytes, got 5");
            Ok(())
        };
        // SAFETY: each pointer is null, checked before it is used, or points to `numbers`.
        assert_eq!(unsafe { enter(work) }, EDGESENTRY_OK);
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let long = "ä".repeat(300);
        assert_eq!(fail(EDGESENTRY_INTERNAL, format_args!("x{long}y")), EDGESENTRY_INTERNAL);
        assert_eq!(text(), format!("x{}", "ä".repeat(255)));
        for capacity in 0..=6 {
            let mut out = [0xaa; 6];
            // SAFETY: the buffer has at least `capacity` bytes.
            unsafe { copy_text("aä€".as_bytes(), out.as_mut_ptr(), capacity) };
            let expected: &[u8] = match capacity {
                0 => b"",
                1 => b"\0",
                2 | 3 => b"a\0",
                4..=6 => b"a\xc3\xa4\0",
                _ => unreachable!(),
            };
            assert_eq!(&out[..expected.len()], expected);
            assert!(out[expected.len().max(capacity)..].iter().all(|byte| *byte == 0xaa));
        }
    }
}

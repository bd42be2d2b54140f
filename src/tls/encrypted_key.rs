//! Private keys in PEM that are encrypted with a password: PKCS#8 (`ENCRYPTED PRIVATE KEY`) and OpenSSL's older form (`Proc-Type: 4,ENCRYPTED`).
//!
//! AWS-LC, which does the cryptography of rustls, reads both as OpenSSL does. Its Rust interface does not have that function, its C
//! interface has.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys as sys;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// Returns whether a key in PEM needs a password.
pub fn is_encrypted(pem: &[u8]) -> bool {
    const MARKS: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];

    MARKS.iter().any(|mark| memchr::memmem::find(pem, mark).is_some())
}

/// Decrypts the first private key in PEM. `None` if there is none, or the password is wrong.
pub fn decrypt(pem: &[u8], password: &[u8]) -> Option<PrivatePkcs8KeyDer<'static>> {
    let length = pem.len().try_into().ok()?;
    let mut password = password;
    // SAFETY: the buffer is `length` bytes long and outlives the reader, which only reads it. `supply` gets the pointer to `password`, which
    // outlives the call. Each pointer that is returned is checked, and owned by the guard that frees it once.
    let key = unsafe {
        let reader = Owned::new(sys::BIO_new_mem_buf(pem.as_ptr().cast(), length), |reader| _ = sys::BIO_free(reader))?;
        let userdata: *mut c_void = ptr::from_mut(&mut password).cast();
        let key = sys::PEM_read_bio_PrivateKey(reader.0, ptr::null_mut(), Some(supply), userdata);
        Owned::new(key, |key| sys::EVP_PKEY_free(key))
    };
    // SAFETY: the queue belongs to this thread. An error left in it would be reported by a later call.
    unsafe { sys::ERR_clear_error() };
    encoded(&key?)
}

/// A pointer to an object of AWS-LC that this is the only owner of, and the function that frees it.
struct Owned<T>(*mut T, unsafe fn(*mut T));

impl<T> Owned<T> {
    fn new(pointer: *mut T, free: unsafe fn(*mut T)) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer, free))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is that of an object which this owns, and nothing uses it afterwards.
        unsafe { self.1(self.0) }
    }
}

/// Returns a key as PKCS#8.
fn encoded(key: &Owned<sys::EVP_PKEY>) -> Option<PrivatePkcs8KeyDer<'static>> {
    const USUAL: usize = 2048;

    let mut builder = MaybeUninit::<sys::CBB>::uninit();
    let (mut data, mut length) = (ptr::null_mut(), 0);
    // SAFETY: `CBB_init` initialises the builder, and the others are called only then. `CBB_finish` passes on a buffer of `length` bytes,
    // which is copied and freed once; without it `CBB_cleanup` frees what the builder holds.
    unsafe {
        if sys::CBB_init(builder.as_mut_ptr(), USUAL) != 1 {
            return None;
        }
        let is_written = sys::EVP_marshal_private_key(builder.as_mut_ptr(), key.0) == 1
            && sys::CBB_finish(builder.as_mut_ptr(), &raw mut data, &raw mut length) == 1;
        if !is_written || data.is_null() {
            sys::CBB_cleanup(builder.as_mut_ptr());
            return None;
        }
        let copy = std::slice::from_raw_parts(data, length).to_vec();
        // Overwrites the buffer as well.
        sys::OPENSSL_free(data.cast());
        Some(copy.into())
    }
}

/// Copies the password into AWS-LC's buffer, and returns its length; `-1` if it is too long.
unsafe extern "C" fn supply(buffer: *mut c_char, size: c_int, _: c_int, userdata: *mut c_void) -> c_int {
    // SAFETY: `decrypt` passes a pointer to a slice, which outlives the call.
    let password: &[u8] = unsafe { *userdata.cast::<&[u8]>() };
    match c_int::try_from(password.len()) {
        Ok(length) if length <= size => {
            // SAFETY: the buffer has room for `size` bytes, and is not the password's memory.
            unsafe { ptr::copy_nonoverlapping(password.as_ptr(), buffer.cast(), password.len()) };
            length
        }
        _ => -1,
    }
}

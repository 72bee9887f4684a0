//! What comes over the border from C: pointers that may be null, and structs of another version's size.
//!
//! The types here stand in the parameters of exported functions and in the structs of the header. Nothing in Rust makes one
//! that is not null, so that one that is not null was a C program's, which keeps the header's word of it: that it points to what its
//! type says, for as long as the call takes. All `unsafe` code of the library is in this file.
#![allow(unsafe_code)]

use crate::fault::{Fail, Fault};
use std::ffi::{CStr, c_char};
use std::mem::{MaybeUninit, size_of};
use std::ptr;

/// A text: null, or bytes up to a zero.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Text(*const c_char);

/// Values that are read: null, or as many as a number beside it says.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Values<T>(*const T);

/// Bytes that are written: null, or as many as a number beside it says.
#[repr(transparent)]
pub struct Room(*mut u8);

/// A struct that is read: null, or one that begins with its size.
#[repr(transparent)]
pub struct In<T>(*const T);

/// A struct that is written: null, or one that begins with its size.
#[repr(transparent)]
pub struct Out<T>(*mut T);

/// Where a new object goes.
pub type Place<'a, T> = Option<&'a mut MaybeUninit<*mut T>>;

/// A struct of the header.
///
/// # Safety
/// It is `repr(C)`, begins with its size as a `usize`, and all of its fields are of types that have a value for any bytes, as numbers
/// and pointers do.
pub unsafe trait Grows: Copy {
    /// Its name in the header.
    const NAME: &'static str;
    /// Its fields' names, with where each begins and ends.
    const FIELDS: &'static [(&'static str, usize, usize)];
}

/// No struct of the header comes near it: a size that was never set is most often more.
const MOST: usize = 1 << 12;

impl Default for Text {
    fn default() -> Self {
        Self(ptr::null())
    }
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self(ptr::null())
    }
}

impl Text {
    /// A text that lasts as long as a C program may look at it.
    pub const fn of(text: &CStr) -> Self {
        Self(text.as_ptr())
    }

    /// The text, if there is one; `what` names it.
    pub fn get(&self, what: &str) -> Result<Option<&str>, Fault> {
        if self.0.is_null() {
            return Ok(None);
        }
        // SAFETY: it is not null, so it is a C program's, of bytes up to a zero that stay while the call lasts.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(Some).map_err(|_| Fault::usage(format!("{what} is not UTF-8")))
    }

    /// The text that must be there.
    pub fn required(&self, what: &str) -> Result<&str, Fault> {
        self.get(what)?.ok_or_else(|| null(what))
    }
}

impl<T> Values<T> {
    /// Whether there are none.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The values, if there are any: `len` of them, as the caller says.
    pub fn get(&self, len: usize, what: &str) -> Result<Option<&[T]>, Fault> {
        if self.0.is_null() {
            return if len == 0 { Ok(None) } else { Err(null(what)) };
        }
        if len > isize::MAX as usize / size_of::<T>() {
            return Err(Fault::usage(format!("{what}: {len} values are more than memory has")));
        }
        // SAFETY: it is not null, so it is a C program's, which says that as many values are there, and stay while the call lasts.
        Ok(Some(unsafe { std::slice::from_raw_parts(self.0, len) }))
    }
}

impl Room {
    /// The bytes, `len` of them as the caller says.
    pub fn get(&mut self, len: usize, what: &str) -> Result<&mut [u8], Fault> {
        if self.0.is_null() {
            return Err(null(what));
        }
        if len > isize::MAX as usize {
            return Err(Fault::usage(format!("{what}: {len} bytes are more than memory has")));
        }
        // What is there may never have been written: zeros are.
        // SAFETY: it is not null, so it is a C program's, which says that there is room for as many bytes, of which nobody else
        // makes use while the call lasts.
        unsafe {
            ptr::write_bytes(self.0, 0, len);
            Ok(std::slice::from_raw_parts_mut(self.0, len))
        }
    }
}

/// The size that a struct says it has.
///
/// # Safety
/// `at` is not null, and points to a struct that begins with its size.
unsafe fn size<T: Grows>(at: *const T) -> Result<usize, Fault> {
    // SAFETY: as promised above.
    let size = unsafe { at.cast::<usize>().read_unaligned() };
    if (size_of::<usize>()..=MOST).contains(&size) {
        return Ok(size);
    }
    Err(Fault::usage(format!("{0}.size is {size}: set it to sizeof({0}) first", T::NAME)))
}

impl<T: Grows> In<T> {
    /// What the caller's struct says, on top of `value`: fields that the caller's version of it lacks stay as they are there, and
    /// what this version does not know must be zero. All of `value` if the pointer is null.
    pub fn over(&self, mut value: T) -> Result<T, Fault> {
        if self.0.is_null() {
            return Ok(value);
        }
        // SAFETY: it is not null, so it points to a struct that begins with its size.
        let size = unsafe { size(self.0)? };
        let known = size_of::<T>().min(size);
        if let Some((name, ..)) = T::FIELDS.iter().find(|(_, from, to)| (from + 1..*to).contains(&size)) {
            return Err(Fault::usage(format!("{0}.size is {size}, within {name}: set it to sizeof({0})", T::NAME)));
        }
        // SAFETY: the caller's struct has `size` bytes; `known` of them are within `value` too, and any bytes are a value of it.
        let beyond = unsafe {
            ptr::copy_nonoverlapping(self.0.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
            std::slice::from_raw_parts(self.0.cast::<u8>().add(known), size - known)
        };
        if beyond.iter().any(|byte| *byte != 0) {
            return Err(Fault::usage(format!(
                "{}.size is {size}, and a field is set that this version of the library, which knows {known} bytes, does not have: \
                 leave it zero, or use a newer library",
                T::NAME
            )));
        }
        Ok(value)
    }
}

impl<T: Grows> Out<T> {
    /// Fills the caller's struct, as far as its version of it goes; what this version does not know becomes zero.
    pub fn fill(&mut self, value: &T) -> Result<(), Fault> {
        if self.0.is_null() {
            return Err(null(T::NAME));
        }
        // SAFETY: it is not null, so it points to a struct that begins with its size, and has as many bytes for this call to write;
        // the first of them, the size, stay.
        unsafe {
            let size = size(self.0)?;
            let (first, known) = (size_of::<usize>(), size_of::<T>().min(size));
            let (from, to) = ((&raw const *value).cast::<u8>(), self.0.cast::<u8>());
            ptr::copy_nonoverlapping(from.add(first), to.add(first), known - first);
            ptr::write_bytes(to.add(known), 0, size - known);
        }
        Ok(())
    }

    /// [`Self::fill`], if the caller wants to know.
    pub fn fill_if_wanted(&mut self, value: &T) -> Result<(), Fault> {
        if self.0.is_null() { Ok(()) } else { self.fill(value) }
    }
}

/// The object that must be there.
pub fn required<'a, T>(object: Option<&'a T>, what: &str) -> Result<&'a T, Fault> {
    object.ok_or_else(|| null(what))
}

/// Puts a new object where the caller wants it: null first, so that after an error nothing is there.
pub fn put<T>(out: Place<'_, T>, make: impl FnOnce() -> Result<T, Fault>) -> Result<(), Fault> {
    let out = out.ok_or_else(|| null("where the new object goes"))?;
    out.write(ptr::null_mut());
    out.write(Box::into_raw(Box::new(make()?)));
    Ok(())
}

fn null(what: &str) -> Fault {
    Fault::new(Fail::Usage, format!("{what} is null"))
}

/// Structs of the header, each with its size first.
macro_rules! structs {
    ($($(#[$about:meta])* $name:ident as $in_c:literal { $($(#[$of:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        pub struct $name {
            /// Its bytes, as its owner knows it.
            pub size: usize,
            $($(#[$of])* pub $field: $type,)*
        }

        // SAFETY: `repr(C)`, with its size first; the types of its fields are asked for below.
        #[allow(unsafe_code)]
        unsafe impl $crate::border::Grows for $name {
            const NAME: &'static str = $in_c;
            const FIELDS: &'static [(&'static str, usize, usize)] = &[$({
                let from = std::mem::offset_of!($name, $field);
                (stringify!($field), from, from + $crate::border::bytes::<$type>())
            },)*];
        }
    )*};
}
pub(crate) use structs;

/// Bytes of a plain value.
pub const fn bytes<T: Plain>() -> usize {
    size_of::<T>()
}

/// Types that have a value for any bytes.
///
/// # Safety
/// As said.
pub unsafe trait Plain {}
// SAFETY: numbers.
unsafe impl Plain for usize {}
// SAFETY: numbers.
unsafe impl Plain for u64 {}
// SAFETY: numbers.
unsafe impl Plain for f64 {}
// SAFETY: pointers, which are looked at before they are used.
unsafe impl Plain for Text {}
// SAFETY: pointers, which are looked at before they are used.
unsafe impl<T> Plain for Values<T> {}

//! What may be given as a key or value: bytes, which are passed on as they are, or text and slices, which are copied.

use bytes::Bytes;

/// Something that is a key or a value.
pub trait IntoBytes {
    /// Its bytes; copied only when they are borrowed.
    fn into_bytes(self) -> Bytes;
}

macro_rules! owned {
    ($($type:ty),+) => {
        $(impl IntoBytes for $type {
            fn into_bytes(self) -> Bytes {
                self.into()
            }
        })+
    };
}

owned!(Bytes, Vec<u8>, String);

macro_rules! borrowed {
    ($($type:ty),+) => {
        $(impl IntoBytes for &$type {
            fn into_bytes(self) -> Bytes {
                Bytes::copy_from_slice(self.as_ref())
            }
        })+
    };
}

borrowed!([u8], Vec<u8>, str, String);

impl IntoBytes for &Bytes {
    fn into_bytes(self) -> Bytes {
        self.clone()
    }
}

impl<const N: usize> IntoBytes for &[u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

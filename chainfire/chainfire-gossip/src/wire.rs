//! Reading and writing bytes that came from or go to the network: bounded, and never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BufMut;

/// The bytes are not what they should be. Which byte is of no interest: the packet is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet")]
pub(crate) struct Malformed;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn addr(&mut self) -> Result<SocketAddr, Malformed> {
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(Malformed),
        };
        Ok(SocketAddr::new(ip, self.u16()?))
    }

    /// Text of at most 255 bytes.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u8()?);
        std::str::from_utf8(self.take(length)?).map_err(|_utf8| Malformed)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Bytes that [`put_addr`] writes.
pub(crate) fn addr_bytes(addr: SocketAddr) -> usize {
    if addr.is_ipv4() { 7 } else { 19 }
}

pub(crate) fn put_addr(out: &mut impl BufMut, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16(addr.port());
}

/// Writes text of at most 255 bytes; more is cut at 255, which no validated value reaches.
pub(crate) fn put_text(out: &mut impl BufMut, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.put_u8(length);
    out.put_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_written() {
        for addr in ["10.0.0.1:7946", "[fe80::1]:1"] {
            let addr = addr.parse::<SocketAddr>().unwrap();
            let mut bytes = Vec::new();
            put_addr(&mut bytes, addr);
            assert_eq!(bytes.len(), addr_bytes(addr));
            let mut reader = Reader(&bytes);
            assert_eq!(reader.addr(), Ok(addr));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        assert_eq!(Reader(&[4, 10, 0]).addr(), Err(Malformed));
        assert_eq!(Reader(&[5]).addr(), Err(Malformed));
        assert_eq!(Reader(&[3, b'a']).text(), Err(Malformed));
        assert_eq!(Reader(&[1, 0xff]).text(), Err(Malformed));
        assert_eq!(Reader(&[0]).end(), Err(Malformed));
    }
}

//! A DNS client of plain packets, since what goes over the wire is what is tested.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype,
        iana::{Class, Rcode},
        zonefile_fmt::{DisplayKind, ZonefileFmt as _},
    },
    rdata::AllRecordData,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A reply in the form that tests compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) rcode: Rcode,
    pub(crate) truncated: bool,
    /// Data of the answer section in presentation form, sorted.
    pub(crate) data: Vec<String>,
}

/// A query without EDNS.
pub(crate) fn query(id: u16, name: &str, rtype: &str) -> Vec<u8> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    let mut question = message.question();
    let name: Name<Vec<u8>> = name.parse().unwrap();
    question.push((name, rtype.parse::<Rtype>().unwrap(), Class::IN)).unwrap();
    question.into_message().into_octets()
}

/// Reads a reply.
pub(crate) fn read(reply: &[u8]) -> Reply {
    let message = Message::from_octets(reply).unwrap();
    let header = message.header();
    let answer = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
    let text = |record: Result<domain::base::Record<_, AllRecordData<&[u8], _>>, _>| {
        record.unwrap().data().display_zonefile(DisplayKind::Simple).to_string()
    };
    let mut data: Vec<String> = if header.tc() { Vec::new() } else { answer.map(text).collect() };
    data.sort();
    Reply { rcode: header.rcode(), truncated: header.tc(), data }
}

/// Asks over UDP, from a socket of its own.
pub(crate) fn udp(server: SocketAddr, name: &str, rtype: &str) -> Reply {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    // A connected socket takes answers only from the address that was asked.
    socket.connect(server).unwrap();
    socket.send(&query(7, name, rtype)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..2], [0, 7]);
    read(&buffer[..length])
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Tcp(pub(crate) TcpStream);

impl Tcp {
    pub(crate) fn connect(server: SocketAddr) -> Tcp {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Tcp(stream)
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap();
        self.0.write_all(&[&length.to_be_bytes(), message].concat()).unwrap();
    }

    /// The next message; `None` when the server has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 2];
        match self.0.read_exact(&mut length) {
            Ok(()) => (),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message).unwrap();
        Some(message)
    }

    pub(crate) fn ask(&mut self, name: &str, rtype: &str) -> Reply {
        self.send(&query(9, name, rtype));
        read(&self.receive().unwrap())
    }
}

//! Frames as servers, relays and broken devices send them, for the tests of this module's files.

use std::net::Ipv4Addr;

use crate::net::MacAddress;

pub const XID: u32 = 0x1234_5678;
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const OFFERED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);

pub fn server_mac() -> MacAddress {
    MacAddress::local([0x52, 0, 0, 0, 0, 1])
}

pub fn client_mac() -> MacAddress {
    MacAddress::local([0x02, 0, 0, 0, 0, 0x42])
}

/// The headers around a reply; the default is what a healthy server sends.
#[derive(Clone)]
pub struct Wrapping {
    pub tags: Vec<(u16, u16)>,
    pub source: Ipv4Addr,
    pub ip_options: Vec<u8>,
    pub fragment: u16,
    pub total_length: Option<u16>,
    pub source_port: u16,
    pub destination_port: u16,
    pub udp_length: Option<u16>,
    pub udp_checksum: u16,
    pub padding: usize,
}

impl Default for Wrapping {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            source: SERVER,
            ip_options: Vec::new(),
            fragment: 0,
            total_length: None,
            source_port: 67,
            destination_port: 68,
            udp_length: None,
            udp_checksum: 0xbeef,
            padding: 0,
        }
    }
}

impl Wrapping {
    pub fn around(&self, message: &[u8]) -> Vec<u8> {
        let header_length = 20 + self.ip_options.len();
        let total_length = (header_length + 8 + message.len()) as u16;
        let mut ip = vec![0x40 | (header_length / 4) as u8, 0];
        ip.extend(self.total_length.unwrap_or(total_length).to_be_bytes());
        ip.extend([0, 1]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([64, 17, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend([255; 4]);
        ip.extend(&self.ip_options);
        let checksum = ip.chunks(2).fold(0, |sum: u32, word| {
            let sum = sum + (u32::from(word[0]) << 8) + u32::from(word[1]);
            (sum & 0xffff) + (sum >> 16)
        });
        ip[10..12].copy_from_slice(&(!(checksum as u16)).to_be_bytes());

        let mut frame = [[0xff; 6], server_mac().octets()].concat();
        for (ethertype, control) in &self.tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend([0x08, 0x00]);
        frame.extend(ip);
        frame.extend(self.source_port.to_be_bytes());
        frame.extend(self.destination_port.to_be_bytes());
        frame.extend(self.udp_length.unwrap_or(8 + message.len() as u16).to_be_bytes());
        frame.extend(self.udp_checksum.to_be_bytes());
        frame.extend(message);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

/// A BOOTREPLY without options for [`client_mac`], [`XID`] and [`OFFERED`].
pub fn bare_reply() -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    message.extend(XID.to_be_bytes());
    message.extend([0, 0, 0x80, 0, 0, 0, 0, 0]);
    message.extend(OFFERED.octets());
    message.extend([0; 8]);
    message.extend(client_mac().octets());
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message
}

/// [`bare_reply`] with options, ended.
pub fn reply(options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = bare_reply();
    message.extend(encode(options));
    message.push(255);
    message
}

pub fn encode(options: &[(u8, &[u8])]) -> Vec<u8> {
    options.iter().flat_map(|(code, data)| [&[*code, data.len() as u8][..], data].concat()).collect()
}

/// The options of a complete offer.
pub const OFFER: &[(u8, &[u8])] = &[
    (53, &[2]),
    (54, &[10, 77, 0, 1]),
    (51, &[0, 0, 0x0e, 0x10]),
    (58, &[0, 0, 0x07, 0x08]),
    (59, &[0, 0, 0x0c, 0x4e]),
    (1, &[255, 255, 255, 0]),
    (3, &[10, 77, 0, 1]),
    (6, &[10, 77, 0, 1, 10, 77, 0, 2]),
];

/// A frame with a complete offer.
pub fn offer_frame() -> Vec<u8> {
    Wrapping::default().around(&reply(OFFER))
}

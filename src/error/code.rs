//! The one table of error codes; the README's is checked against it.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal,)+) => {
        /// A stable error number (CNI spec section "Error": 1-99 are the spec's, from 100 on ours).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Code { $($(#[doc = $doc])+ $name = $value,)+ }

        impl Code {
            /// All codes, ascending, as the README's table lists them.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The code with this number.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| *code as u32 == number)
            }

            /// What the code means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// the config's cniVersion is not supported, or cannot express the result
    IncompatibleVersion = 1,
    /// a config key has a value that this plugin does not support
    UnsupportedField = 2,
    /// a CNI_ environment variable is missing or malformed
    Environment = 4,
    /// reading standard input or writing the result failed
    Io = 5,
    /// standard input is not the JSON it should be
    Decode = 6,
    /// the network config is invalid
    InvalidConfig = 7,
    /// CNI_NETNS is no network namespace, is gone, or is the plugin's own
    InvalidNetns = 8,
    /// a passing condition: the same operation for this container is still running
    TryAgainLater = 11,
    /// STATUS: ADD cannot be served
    NotAvailable = 50,
    /// STATUS: ADD can be served, but existing attachments may have limited connectivity
    LimitedConnectivity = 51,
    /// the bridge does not exist on this node
    BridgeMissing = 100,
    /// the named interface is not a bridge
    NotABridge = 101,
    /// the bridge is down
    BridgeDown = 102,
    /// VLANs were asked for, but the bridge does not filter VLANs
    VlanFilteringOff = 103,
    /// the VLAN is not allowed on any uplink of the bridge
    VlanNotOnUplink = 104,
    /// the bridge has no port that leads off the node
    NoUplink = 105,
    /// the bridge's uplinks have no carrier
    UplinkNoCarrier = 106,
    /// the interface already exists in the container
    InterfaceExists = 107,
    /// the bridge has no free port left (the kernel's limit of 1024 counts port 0, which is never used)
    PortLimit = 108,
    /// the MAC address is the node's own, or in use on another local port of the bridge
    DuplicateMac = 109,
    /// no DHCP server answers on this segment
    NoOffer = 110,
    /// the DHCP server answers other MACs, not this one
    MacDenied = 111,
    /// the node's firewall drops bridged frames
    BridgedFramesDropped = 112,
    /// a DHCP server answered that is not in the list of allowed ones
    RogueServer = 113,
    /// the offered address is outside the expected subnets
    WrongSubnet = 114,
    /// a port of the bridge is not forwarding yet (STP)
    NotForwarding = 115,
    /// DHCP replies were seen, but none was a valid offer
    BadReplies = 116,
    /// frames that leave by an uplink come back by it: a loop, or a switch that reflects them
    FramesComeBack = 117,
    /// other VLANs are heard on the wire, but none of the attachment's: the switch port does not carry it
    VlanNotOnWire = 118,
    /// nftables refused the rules
    Nftables = 120,
    /// the IPAM plugin failed
    Ipam = 121,
    /// the deadline expired
    Deadline = 122,
    /// the node's state no longer matches the attachment
    CheckFailed = 123,
    /// a kernel call failed
    Kernel = 124,
    /// cleanup was incomplete
    CleanupFailed = 125,
    /// the operation was aborted by a DEL or a signal
    Aborted = 126,
    /// a DHCP server answered, but granted the container no lease
    NoLease = 130,
    /// nobody on the node would renew the lease, and the config demands it
    NoAgent = 131,
    /// the record of a lease could not be written
    Record = 132,
    /// the node's policy does not allow this network to this namespace
    Policy = 140,
    /// the node's policy cannot be read or is not right, so nothing is attached
    PolicyUnusable = 141,
    /// internal error: please report it
    Internal = 999,
}

package ip

// Counters of a Host. All are numbers of frames or packets.
type Counters struct {
	// Frames that were dropped.
	FramesShort     uint64 // no room for an IPv4 or ARP packet
	FramesLong      uint64 // longer than any IPv4 packet
	FramesForeign   uint64 // for the Ethernet address of somebody else
	FramesMulticast uint64
	FramesType      uint64 // neither IPv4 nor ARP
	FramesSource    uint64 // from a group address

	// ARP.
	ARPIn            uint64
	ARPBad           uint64 // not for Ethernet and IPv4, or senseless addresses
	ARPIgnored       uint64 // nothing to learn and nothing to answer, or ARP is disabled
	ARPConflicts     uint64 // somebody else claims our address
	ARPRequestsOut   uint64
	ARPRepliesOut    uint64
	ARPAnnouncements uint64
	ARPChanged       uint64 // a neighbour has a new Ethernet address
	ARPFailed        uint64 // nobody answered
	ARPEvicted       uint64 // entries that made room for others
	ARPQueueDropped  uint64 // packets that waited for an Ethernet address, and lost their place or waited in vain

	// IPv4, received.
	PacketsIn     uint64
	BadHeader     uint64 // version, lengths
	BadSum        uint64
	BadOptions    uint64
	SourceRouted  uint64
	BadSource     uint64 // an address that cannot be a sender here
	NotForUs      uint64
	BadBroadcast  uint64 // to our address by way of a link-level broadcast
	UnknownProto  uint64
	FragmentsIn   uint64
	FragmentsBad  uint64 // lengths that do not fit, or beyond 65535 bytes
	Overlaps      uint64 // datagrams given up because their fragments contradict each other
	FragmentsLate uint64 // of datagrams that were given up
	Timeouts      uint64 // datagrams that were not complete in time
	Crowded       uint64 // datagrams given up in favour of others
	Reassembled   uint64

	// IPv4, sent.
	PacketsOut   uint64
	FragmentsOut uint64
	Looped       uint64 // to addresses of our own
	NoBuffer     uint64 // no room in the device or the way back
	MTULowered   uint64
	MTUIgnored   uint64 // claims about the MTU that lower nothing
	MTUForgotten uint64
	PathsFilled  uint64 // paths looked up
	ICMPIn       uint64
	ICMPBad      uint64 // too short, wrong checksum, or senseless
	ICMPIgnored  uint64 // of no interest: redirect, source quench, replies
	ICMPErrorsIn uint64 // passed on to a protocol
	EchoReplies  uint64
	UnreachOut   uint64
	TimeoutsOut  uint64
	ICMPLimited  uint64 // errors that the rate limit forbade
}

package udp

// Counters of a Table. All are numbers of datagrams.
type Counters struct {
	In          uint64
	Out         uint64
	BadHeader   uint64
	BadSum      uint64
	NoPort      uint64 // nobody listens there
	Queued      uint64 // not taken at once
	QueueFull   uint64 // dropped, because nobody took those before it
	ErrorsIn    uint64 // reported to a socket
	ErrorsStray uint64 // about what no connected socket has sent, or what passes by itself
	NoBuffer    uint64 // not sent, for want of room in the device
}

package tcp

// Times of the configuration are in nanoseconds.
const (
	millisecond int64 = 1e6
	second      int64 = 1e9
	minute            = 60 * second
)

// Config is how a Host works. A zero field stands for its default.
type Config struct {
	Secret     [16]byte // keys sequence numbers, timestamps, ports, cookies and the table; unpredictable in production
	Congestion string   // "cubic", the default, or "reno"
	Nagle      bool     // hold back small segments while data is unacknowledged (RFC 9293, 3.7.4)

	SendBuffer    int // bytes of a connection's send buffer at most; 1 MiB
	ReceiveBuffer int // bytes of its receive buffer, and so of its window, at most; 1 MiB
	Memory        int // bytes of all buffers together, at most; 1 GiB
	MSS           int // largest segment sent or announced; 0: as the MTU allows

	DelayedACK     int64 // 40 ms; negative: none is delayed
	MinRTO, MaxRTO int64 // 200 ms, 60 s
	ConnectTimeout int64 // of an active open; 3 min (MUST-23)
	UserTimeout    int64 // without progress of data sent; 5 min
	KeepIdle       int64 // silence before the first keepalive probe; 0: no probes (MUST-25)
	KeepInterval   int64 // between probes; 75 s
	KeepProbes     int   // unanswered before the connection dies; 9

	TimeWait       int64 // 2 MSL; 60 s
	FinWait        int64 // in FIN-WAIT-2 after Close; 60 s
	MaxTimeWait    int   // records; 16384
	MaxOrphans     int   // connections that live on after Close; 4096
	MaxConnections int   // 65536
	MaxEmbryos     int   // half-open connections of a listener; 1024. Beyond that, SYN cookies
	MaxBacklog     int   // caps the backlog of Listen; 4096
	NoCookies      bool  // drop instead
	NoTimestamps   bool
	NoSACK         bool
	NoScale        bool
	FirstPort      uint16 // of the ephemeral ports; 32768
	LastPort       uint16 // 60999
}

func (c *Config) setDefaults() {
	def(&c.SendBuffer, 1<<20)
	def(&c.ReceiveBuffer, 1<<20)
	def(&c.Memory, 1<<30)
	def(&c.DelayedACK, 40*millisecond)
	def(&c.MinRTO, 200*millisecond)
	def(&c.MaxRTO, 60*second)
	def(&c.ConnectTimeout, 3*minute)
	def(&c.UserTimeout, 5*minute)
	def(&c.KeepInterval, 75*second)
	def(&c.KeepProbes, 9)
	def(&c.TimeWait, 60*second)
	def(&c.FinWait, 60*second)
	def(&c.MaxTimeWait, 16384)
	def(&c.MaxOrphans, 4096)
	def(&c.MaxConnections, 65536)
	def(&c.MaxEmbryos, 1024)
	def(&c.MaxBacklog, 4096)
	def(&c.FirstPort, 32768)
	def(&c.LastPort, 60999)
}

func def[T int | int64 | uint16](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

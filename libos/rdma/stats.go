package rdma

// counters are those of the libOS, by their names in docs/counters.md.
type counters struct {
	Connected, Accepted, Rejected, BadHellos, Faults, Lingered, Keepalives uint64
	DataOut, DataIn, CreditMessages                                        uint64
	Requests, Grants, Writes, Declines, Declined                           uint64
	DatagramsOut, DatagramsIn, DatagramsDropped, DatagramsBad              uint64
	Resolves, Unresolved                                                   uint64
}

// Counters implements engine.Counting.
func (o *LibOS) Counters(visit func(name string, value uint64)) {
	s := &o.stats
	for _, c := range []struct {
		name  string
		value uint64
	}{
		{"connected", s.Connected}, {"accepted", s.Accepted}, {"rejected", s.Rejected}, {"bad_hellos", s.BadHellos},
		{"faults", s.Faults}, {"lingered", s.Lingered}, {"keepalives", s.Keepalives},
		{"data_out", s.DataOut}, {"data_in", s.DataIn}, {"credit_messages", s.CreditMessages},
		{"requests", s.Requests}, {"grants", s.Grants}, {"writes", s.Writes}, {"declines", s.Declines}, {"declined", s.Declined},
		{"datagrams_out", s.DatagramsOut}, {"datagrams_in", s.DatagramsIn}, {"datagrams_dropped", s.DatagramsDropped},
		{"datagrams_bad", s.DatagramsBad}, {"resolves", s.Resolves}, {"unresolved", s.Unresolved},
		{"buffers", uint64(o.bufs.used())}, {"datagram_buffers", uint64(o.dgram.used())},
		{"buffer_bytes", uint64(len(o.bufs.slabs)*slabBuffers*o.bufs.size + len(o.dgram.slabs)*slabBuffers*o.dgram.size)},
	} {
		visit("rdma."+c.name, c.value)
	}
	o.dev.Counters(visit)
}
